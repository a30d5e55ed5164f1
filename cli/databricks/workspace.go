package databricks

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/client"
)

const workspaceAPI = "/api/2.0/workspace/"

func workspaceCommands(connect Connector) []*cobra.Command {
	return []*cobra.Command{importCommand(connect), importDirCommand(connect), exportCommand(connect), exportDirCommand(connect)}
}

func importCommand(connect Connector) *cobra.Command {
	var file, content, format, language string
	overwrite := false
	c := &cobra.Command{
		Use: "import TARGET_PATH", Short: "Import a notebook or file", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in := map[string]any{"path": args[0], "content": content, "overwrite": overwrite}
			switch {
			case file != "":
				b, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				in["content"] = base64.StdEncoding.EncodeToString(b)
			case content == "":
				return errors.New("nothing to import: give --file")
			}
			if format != "" {
				in["format"] = strings.ToUpper(format)
			}
			if language != "" {
				in["language"] = strings.ToUpper(language)
			}
			cl, err := connect(c)
			if err != nil {
				return err
			}
			return cl.Do(c.Context(), "POST", workspaceAPI+"import", in, nil)
		},
	}
	c.Flags().StringVar(&file, "file", "", "the local file")
	c.Flags().StringVar(&content, "content", "", "what to import instead of a file, as base64")
	c.Flags().StringVar(&format, "format", "", "SOURCE (without it), AUTO, JUPYTER or RAW")
	c.Flags().StringVar(&language, "language", "", "PYTHON, SQL, SCALA or R, of source code without an extension")
	c.Flags().BoolVar(&overwrite, "overwrite", false, "replace what is there")
	c.MarkFlagsMutuallyExclusive("file", "content")
	return c
}

func importDirCommand(connect Connector) *cobra.Command {
	overwrite := false
	c := &cobra.Command{
		Use: "import-dir SOURCE_PATH TARGET_PATH", Short: "Import a local folder; notebooks are known by their header", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := connect(c)
			if err != nil {
				return err
			}
			return filepath.WalkDir(args[0], func(name string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				rest, err := filepath.Rel(args[0], name)
				if err != nil {
					return err
				}
				to := path.Join(args[1], filepath.ToSlash(rest))
				switch {
				case d.IsDir() && d.Name() == ".git":
					return fs.SkipDir
				case d.IsDir():
					return cl.Do(c.Context(), "POST", workspaceAPI+"mkdirs", map[string]any{"path": to}, nil)
				case !d.Type().IsRegular():
					fmt.Fprintf(c.ErrOrStderr(), "left out: %s is no regular file\n", name)
					return nil
				}
				if err := importFile(c.Context(), cl, name, to, overwrite); err != nil {
					return fmt.Errorf("import %s: %w", name, err)
				}
				fmt.Fprintf(c.OutOrStdout(), "%s -> %s\n", name, to)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&overwrite, "overwrite", false, "replace what is there")
	return c
}

// importFile streams a file into the workspace, whatever its size.
func importFile(ctx context.Context, cl *client.Client, name, to string, overwrite bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("/api/2.0/workspace-files/import-file%s?overwrite=%t", (&url.URL{Path: path.Join("/", to)}).EscapedPath(), overwrite)
	resp, err := cl.Send(ctx, "POST", address, f, info.Size())
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func exportCommand(connect Connector) *cobra.Command {
	var file, format string
	c := &cobra.Command{
		Use: "export SOURCE_PATH", Short: "Export a notebook or file, to standard output or --file", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := connect(c)
			if err != nil {
				return err
			}
			r, _, err := export(c.Context(), cl, args[0], format)
			if err != nil {
				return err
			}
			if file == "" {
				_, err = io.Copy(c.OutOrStdout(), r)
				return errors.Join(err, r.Close())
			}
			return errors.Join(local{}.write(c.Context(), file, r, true), r.Close())
		},
	}
	c.Flags().StringVar(&file, "file", "", "the local file to write")
	c.Flags().StringVar(&format, "format", "SOURCE", "SOURCE, JUPYTER or AUTO")
	return c
}

// export opens an object, and says how its file is called.
func export(ctx context.Context, cl *client.Client, name, format string) (r io.ReadCloser, file string, err error) {
	q := url.Values{"path": {name}, "format": {strings.ToUpper(format)}, "direct_download": {"true"}}
	resp, err := cl.Send(ctx, "GET", workspaceAPI+"export?"+q.Encode(), nil, -1)
	if err != nil {
		return nil, "", err
	}
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if file = params["filename"]; err != nil || file != path.Base(file) || file == "" || file == "." || file == ".." || file == "/" {
		file = path.Base(name) // the name is the server's word, and becomes a local file
	}
	return resp.Body, file, nil
}

func exportDirCommand(connect Connector) *cobra.Command {
	overwrite := false
	c := &cobra.Command{
		Use: "export-dir SOURCE_PATH TARGET_PATH", Short: "Export a folder; notebooks as source code", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := connect(c)
			if err != nil {
				return err
			}
			return exportDir(c, cl, args[0], args[1], overwrite)
		},
	}
	c.Flags().BoolVar(&overwrite, "overwrite", false, "replace local files")
	return c
}

func exportDir(c *cobra.Command, cl *client.Client, from, to string, overwrite bool) error {
	var out struct {
		Objects []wherry.Object `json:"objects"`
	}
	if err := cl.Do(c.Context(), "GET", workspaceAPI+"list?path="+url.QueryEscape(from), nil, &out); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, o := range out.Objects {
		base := path.Base(o.Path)
		if !filepath.IsLocal(base) {
			return fmt.Errorf("%s has a name that no local file may have", o.Path)
		}
		if o.Type == wherry.ObjectDirectory {
			if err := exportDir(c, cl, o.Path, filepath.Join(to, base), overwrite); err != nil {
				return err
			}
			continue
		}
		r, file, err := export(c.Context(), cl, o.Path, "SOURCE")
		if err != nil {
			return err
		}
		target := filepath.Join(to, file)
		if err := errors.Join(local{}.write(c.Context(), target, r, overwrite), r.Close()); err != nil {
			return fmt.Errorf("export %s: %w", o.Path, err)
		}
		fmt.Fprintf(c.OutOrStdout(), "%s -> %s\n", o.Path, target)
	}
	return nil
}
