package databricks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// FS is the group of file commands: volumes and DBFS by dbfs:/ paths, and files
// of this machine.
func FS(connect Connector) *cobra.Command {
	c := &cobra.Command{Use: "fs", Short: "Files of volumes and of DBFS"}
	c.AddCommand(fsList(connect), fsCat(connect), fsCopy(connect), fsRemove(connect), fsMkdir(connect))
	return c
}

func fsList(connect Connector) *cobra.Command {
	long, absolute := false, false
	c := &cobra.Command{
		Use: "ls DIR_PATH", Short: "List a folder", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			files, err := locate(c, connect, args[0])
			if err != nil {
				return err
			}
			entries, err := files.list(c.Context(), files.at)
			if err != nil {
				return err
			}
			for i := range entries {
				entries[i].Name = path.Base(entries[i].path)
				if absolute {
					entries[i].Name = files.show(entries[i].path)
				}
			}
			if isJSON(c) {
				return printJSON(c.OutOrStdout(), entries)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, e := range entries {
				if !long {
					fmt.Fprintln(w, e.Name)
					continue
				}
				kind := "FILE"
				if e.IsDir {
					kind = "DIRECTORY"
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", kind, e.Size, e.Modified.Format(time.RFC3339), e.Name)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVarP(&long, "long", "l", false, "with type, size and time")
	c.Flags().BoolVar(&absolute, "absolute", false, "with whole paths")
	return c
}

func fsCat(connect Connector) *cobra.Command {
	return &cobra.Command{
		Use: "cat FILE_PATH", Short: "Show a file", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			files, err := locate(c, connect, args[0])
			if err != nil {
				return err
			}
			r, err := files.open(c.Context(), files.at)
			if err != nil {
				return err
			}
			_, err = io.Copy(c.OutOrStdout(), r)
			return errors.Join(err, r.Close())
		},
	}
}

func fsMkdir(connect Connector) *cobra.Command {
	return &cobra.Command{
		Use: "mkdir DIR_PATH", Aliases: []string{"mkdirs"}, Short: "Make a folder and its parents", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			files, err := locate(c, connect, args[0])
			if err != nil {
				return err
			}
			return files.mkdir(c.Context(), files.at)
		},
	}
}

func fsRemove(connect Connector) *cobra.Command {
	recursive := false
	c := &cobra.Command{
		Use: "rm PATH", Short: "Remove a file or folder", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			files, err := locate(c, connect, args[0])
			if err != nil {
				return err
			}
			return remove(c.Context(), files, recursive)
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "a folder with what is in it")
	return c
}

func remove(ctx context.Context, files *location, recursive bool) error {
	dir, err := files.isDir(ctx, files.at)
	if err != nil {
		return err
	}
	if !dir || !recursive {
		return files.remove(ctx, files.at, dir)
	}
	entries, err := files.list(ctx, files.at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := remove(ctx, &location{fileSystem: files.fileSystem, at: e.path}, true); err != nil {
			return err
		}
	}
	return files.remove(ctx, files.at, true)
}

func fsCopy(connect Connector) *cobra.Command {
	recursive, overwrite := false, false
	c := &cobra.Command{
		Use: "cp SOURCE_PATH TARGET_PATH", Short: "Copy a file or folder, to, from or within the workspace", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := locate(c, connect, args[0])
			if err != nil {
				return err
			}
			to, err := locate(c, connect, args[1])
			if err != nil {
				return err
			}
			dir, err := from.isDir(c.Context(), from.at)
			if err != nil {
				return err
			}
			job := &copying{from: from, to: to, overwrite: overwrite, out: c.OutOrStdout()}
			switch {
			case dir && !recursive:
				return fmt.Errorf("%s is a folder: copy it with --recursive", args[0])
			case dir:
				return job.folder(c.Context(), from.at, to.at)
			}
			if into, err := to.isDir(c.Context(), to.at); err == nil && into {
				to.at = path.Join(to.at, path.Base(from.at))
			}
			return job.file(c.Context(), from.at, to.at)
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "a folder with what is in it")
	c.Flags().BoolVar(&overwrite, "overwrite", false, "replace files that are there")
	return c
}

// copying is one cp.
type copying struct {
	from, to  *location
	overwrite bool
	out       io.Writer
}

// folder copies what is in a folder into another, which is made.
func (j *copying) folder(ctx context.Context, from, to string) error {
	if err := j.to.mkdir(ctx, to); err != nil {
		return err
	}
	entries, err := j.from.list(ctx, from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		base := path.Base(e.path)
		if !filepath.IsLocal(base) || base == "." { // a name is the server's word
			return fmt.Errorf("%s has a name that no file may have", j.from.show(e.path))
		}
		target := path.Join(to, base)
		if e.IsDir {
			err = j.folder(ctx, e.path, target)
		} else {
			err = j.file(ctx, e.path, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *copying) file(ctx context.Context, from, to string) error {
	r, err := j.from.open(ctx, from)
	if err != nil {
		return err
	}
	if err := errors.Join(j.to.write(ctx, to, r, j.overwrite), r.Close()); err != nil {
		return fmt.Errorf("copy %s to %s: %w", j.from.show(from), j.to.show(to), err)
	}
	fmt.Fprintf(j.out, "%s -> %s\n", j.from.show(from), j.to.show(to))
	return nil
}

// entry is one file or folder of a listing.
type entry struct {
	Name     string    `json:"name"`
	IsDir    bool      `json:"is_directory"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"last_modified"`
	path     string
}

// fileSystem is where files are. Paths have slashes and are absolute, but for
// those of this machine.
type fileSystem interface {
	list(ctx context.Context, name string) ([]entry, error)
	isDir(ctx context.Context, name string) (bool, error)
	open(ctx context.Context, name string) (io.ReadCloser, error)
	write(ctx context.Context, name string, r io.Reader, overwrite bool) error
	mkdir(ctx context.Context, name string) error
	remove(ctx context.Context, name string, dir bool) error
	show(name string) string
}

// location is a path in a file system.
type location struct {
	fileSystem
	at string
}

// locate says where a path is: dbfs:/Volumes/… in a volume, dbfs:/… in DBFS, all
// else on this machine. /Volumes/… is a volume where this machine has no such
// file.
func locate(c *cobra.Command, connect Connector, name string) (*location, error) {
	at, remote := strings.CutPrefix(name, "dbfs:")
	if !remote && strings.HasPrefix(name, "/Volumes/") {
		_, err := os.Stat(name)
		remote = errors.Is(err, os.ErrNotExist)
	}
	if !remote {
		return &location{local{}, filepath.ToSlash(filepath.Clean(name))}, nil
	}
	if !strings.HasPrefix(at, "/") {
		return nil, fmt.Errorf("%s: write it as dbfs:/%s", name, at)
	}
	cl, err := connect(c)
	if err != nil {
		return nil, err
	}
	at = path.Clean(at)
	if at == "/Volumes" || strings.HasPrefix(at, "/Volumes/") {
		return &location{volumes{cl}, at}, nil
	}
	return &location{dbfs{cl}, at}, nil
}
