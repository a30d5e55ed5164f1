package cli

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
)

func ciDownloadCommand() *cobra.Command {
	o := &ciOptions{}
	var dir string
	c := &cobra.Command{
		Use: "download RUN [NAME...]", Short: "Download the artifacts of a run", Args: cobra.MinimumNArgs(1),
		Long:    "Each artifact goes into a folder of its name, one that is named alone into DIR itself. Nothing is overwritten.",
		Example: "  wherry ci download 12                  # all of them\n  wherry ci download 12 wheel --dir dist",
		RunE: func(c *cobra.Command, args []string) error {
			server, r, err := o.run(c, args[0])
			if err != nil {
				return err
			}
			wanted, err := r.wanted(args[1:])
			if err != nil {
				return err
			}
			d := &ciDownload{server: server, run: r.ID, dir: dir, alone: len(args) == 2, out: c.OutOrStdout()}
			if o.output == "json" {
				d.out = io.Discard
			}
			list, err := d.all(c.Context(), wanted)
			if err == nil && o.output == "json" {
				err = printJSON(c.OutOrStdout(), map[string]any{"run_id": r.ID, "artifacts": list})
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "where to, a folder that is made if it is not there")
	return o.add(c)
}

// wanted are the artifacts of the names, all if there are none.
func (r *ciRun) wanted(names []string) (list []ciArtifact, err error) {
	if len(r.Artifacts) == 0 {
		return nil, fmt.Errorf("run %d has no artifacts: `wherry ci show %d` lists them, and those whose time is over are gone", r.ID, r.ID)
	}
	if len(names) == 0 {
		return r.Artifacts, nil
	}
	var have []string
	for _, a := range r.Artifacts {
		have = append(have, a.Name)
		if slices.Contains(names, a.Name) {
			list = append(list, a)
		}
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return nil, fmt.Errorf("run %d has no artifact %q: it has %s", r.ID, name, strings.Join(have, ", "))
		}
	}
	return list, nil
}

// ciDownload is what a download needs.
type ciDownload struct {
	server *client.Client
	run    int64
	dir    string
	alone  bool      // into dir itself
	out    io.Writer // for progress
}

// downloaded is an artifact that was written.
type downloaded struct {
	Name  string   `json:"name"`
	Dir   string   `json:"dir"`
	Files []string `json:"files"` // below Dir
	Size  int64    `json:"size"`  // bytes of all files
	// LeftOut are links that lead nowhere in Dir.
	LeftOut []string `json:"left_out,omitempty"`
}

func (d *ciDownload) all(ctx context.Context, wanted []ciArtifact) ([]*downloaded, error) {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	list := []*downloaded{}
	for _, a := range wanted {
		fmt.Fprintf(d.out, "↓ %s, %d bytes\n", a.Name, a.Size)
		one, err := d.one(ctx, root, a)
		if err != nil {
			return list, fmt.Errorf("artifact %s: %w", a.Name, err)
		}
		for _, name := range one.LeftOut {
			fmt.Fprintf(d.out, "! %s is left out: it is a link that leads to nothing in %s\n", name, one.Dir)
		}
		fmt.Fprintf(d.out, "✓ %s: %d files, %d bytes, in %s\n", a.Name, len(one.Files), one.Size, one.Dir)
		list = append(list, one)
	}
	return list, nil
}

// one fetches an artifact whole, and writes its files then.
func (d *ciDownload) one(ctx context.Context, root *os.Root, a ciArtifact) (*downloaded, error) {
	to := &downloaded{Name: a.Name, Dir: d.dir, Files: []string{}}
	if !d.alone {
		if a.Name == "." || a.Name == ".." || strings.ContainsAny(a.Name, `"/:<>|*?\`) || strings.ContainsFunc(a.Name, unicode.IsControl) {
			return nil, fmt.Errorf("%q can not be the name of a folder: download it alone, by its name", a.Name)
		}
		if err := root.MkdirAll(a.Name, 0o755); err != nil {
			return nil, err
		}
		below, err := root.OpenRoot(a.Name)
		if err != nil {
			return nil, err
		}
		defer below.Close()
		root, to.Dir = below, filepath.Join(d.dir, a.Name)
	}
	tmp := ".wherry-download-" + rand.Text()
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := root.Remove(tmp); err != nil { // its bytes are there until it is closed
		return nil, err
	}
	if err := d.fetch(ctx, a, f); err != nil {
		return nil, err
	}
	return to, to.write(ctx, root, f)
}

func (d *ciDownload) fetch(ctx context.Context, a ciArtifact, f *os.File) error {
	res, err := d.server.Send(ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d/artifacts/%s", d.run, url.PathEscape(a.Name)), nil, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), res.Body); err != nil {
		return fmt.Errorf("the download broke off, try again: %w", err)
	}
	if hex.EncodeToString(h.Sum(nil)) != a.SHA256 {
		return errors.New("the download broke off, or it was replaced meanwhile: try again")
	}
	return nil
}

// write writes the files of a packed artifact below root: all of them or, if one
// can not be written, none.
func (to *downloaded) write(ctx context.Context, root *os.Root, f io.ReadSeeker) error {
	err := each(f, func(h *tar.Header, _ io.Reader) error {
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q leads out of %s, and is not written", h.Name, to.Dir)
		}
		_, err := root.Lstat(h.Name)
		if err == nil && h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%s exists already, and is not overwritten: delete it, or give another folder with --dir", filepath.Join(to.Dir, h.Name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	var links []string
	err = each(f, func(h *tar.Header, r io.Reader) error {
		made, err := extractNew(root, h, r)
		switch {
		case !made:
		case h.Typeflag == tar.TypeSymlink:
			links = append(links, h.Name)
		default:
			to.Files, to.Size = append(to.Files, h.Name), to.Size+h.Size
		}
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		for _, name := range slices.Concat(links, to.Files) {
			err = errors.Join(err, root.Remove(name))
		}
		return err
	}
	return to.keep(root, links)
}

// keep removes the links that lead out of root, or to nothing.
func (to *downloaded) keep(root *os.Root, links []string) error {
	for _, name := range links {
		if _, err := root.Stat(name); err != nil {
			to.LeftOut = append(to.LeftOut, name)
		} else {
			to.Files = append(to.Files, name)
		}
	}
	for _, name := range to.LeftOut {
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// each reads the entries of a tar that is compressed with zstd, from its begin on.
func each(f io.ReadSeeker, do func(*tar.Header, io.Reader) error) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		return err
	}
	defer z.Close()
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(h, t)
		}
		if err != nil {
			return err
		}
	}
}

// extractNew writes a file or a link that is not there yet; made tells that there
// is something to remove if the others can not be written.
func extractNew(root *os.Root, h *tar.Header, r io.Reader) (made bool, err error) {
	if h.Typeflag == tar.TypeDir {
		return false, root.MkdirAll(h.Name, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
		return false, err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		err := root.Symlink(h.Linkname, h.Name)
		return err == nil, err
	case tar.TypeReg:
		f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(h.Mode).Perm()) //nolint:gosec // nine bits of it
		if err != nil {
			return false, err
		}
		_, err = io.Copy(f, r) //nolint:gosec // what the run's artifact holds was asked for
		return true, errors.Join(err, f.Close())
	}
	return false, fmt.Errorf("%q is neither a file nor a folder nor a link", h.Name)
}
