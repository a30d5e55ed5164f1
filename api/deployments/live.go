package deployments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry/blob"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// Tasks may write to the workspace, and make links there: everything below is
// opened through blob.Dir, which no link leads out of.

// in opens the workspace, for what fn does at a /Workspace path.
func (s *Service) in(ws int64, p string, fn func(d *blob.Dir, name string) error) error {
	d, err := blob.Open(s.dir.Workspace(ws))
	if err != nil {
		return err
	}
	defer d.Close()
	return blob.Error(fn(d, strings.TrimPrefix(p, "/Workspace/")), p)
}

func (s *Service) isLive(ws int64, p string) bool {
	return s.in(ws, p, func(d *blob.Dir, name string) error {
		_, err := d.Stat(name)
		return err
	}) == nil
}

// clearRoot takes the folder of a deployment away, but for those of others in
// it: a namespace is below its target.
func (s *Service) clearRoot(ctx context.Context, d deployments.Deployment) error {
	others, err := s.store.Below(ctx, d.WorkspaceID, d.RootPath)
	if err != nil {
		return err
	}
	return s.in(d.WorkspaceID, d.RootPath, func(dir *blob.Dir, name string) error {
		for i, other := range others {
			others[i] = strings.TrimPrefix(other, "/Workspace/")
		}
		return clearBut(dir, name, others)
	})
}

func clearBut(d *blob.Dir, name string, keep []string) error {
	if slices.Contains(keep, name) {
		return nil
	}
	if !slices.ContainsFunc(keep, func(k string) bool { return strings.HasPrefix(k, name+"/") }) {
		return d.RemoveAll(name)
	}
	entries, err := d.List(name)
	for _, e := range entries {
		err = errors.Join(err, clearBut(d, path.Join(name, e.Name()), keep))
	}
	return err
}

// put writes one file, whole or not at all.
func (s *Service) put(ws int64, p string, r io.Reader) error {
	return s.in(ws, p, func(d *blob.Dir, name string) error {
		if err := d.MakeAll(path.Dir(name)); err != nil {
			return err
		}
		return d.Put(name, r, true)
	})
}

// putLibraries adds wheels and jars below artifact_path; they are named by
// content and never changed, for runs in flight use them.
func (s *Service) putLibraries(ws int64, libraries []deployment.File) error {
	for _, l := range libraries {
		err := s.in(ws, l.Path, func(d *blob.Dir, name string) error {
			if info, err := d.Lstat(name); err == nil && info.Mode().IsRegular() && info.Size() == l.Size {
				return nil
			}
			f, err := os.Open(s.blob(l.SHA256, l.Exec))
			if err != nil {
				return err
			}
			defer f.Close()
			return s.put(ws, l.Path, f)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// goLive puts the files of the tree after in the place of those of the tree
// before, at a workspace path; "" is no tree. Files of neither stay: tasks wrote
// them. The folder stays the same one, so what is mounted over it in a task,
// its own tree, stays too. It may be repeated, and goes back with the trees
// exchanged.
func (s *Service) goLive(ws int64, before, after, filePath string) error {
	files := s.filesOf(after)
	if len(files) == 0 && after != "" {
		return fmt.Errorf("the tree %s is gone", after)
	}
	return s.in(ws, filePath, func(d *blob.Dir, top string) error {
		l := &live{s: s, dir: d, top: top}
		if err := l.put(files); err != nil {
			return fmt.Errorf("put %s live: %w", filePath, err)
		}
		kept := map[string]bool{}
		for _, f := range files {
			kept[f.Path] = true
		}
		for _, f := range s.filesOf(before) {
			if kept[f.Path] {
				continue
			}
			if err := l.remove(f.Path); err != nil {
				return fmt.Errorf("take a file from %s: %w", filePath, err)
			}
		}
		return nil
	})
}

// live is the folder of a deployment's files in the workspace.
type live struct {
	s   *Service
	dir *blob.Dir
	top string
}

// put writes all files before the first gets its name: little can fail then.
func (l *live) put(files []deployment.File) error {
	staged := make([]*blob.Staged, len(files))
	var g errgroup.Group
	g.SetLimit(8)
	for i, f := range files {
		g.Go(func() (err error) {
			staged[i], err = l.stage(f)
			return err
		})
	}
	err := g.Wait()
	for _, f := range files {
		if err == nil {
			err = l.clear(f.Path)
		}
	}
	if err != nil {
		for _, f := range staged {
			if f != nil {
				_ = f.Discard() // swept at the next start otherwise
			}
		}
		return err
	}
	for i, f := range files {
		g.Go(func() error {
			name := path.Join(l.top, f.Path)
			if err := staged[i].Commit(name, true); err != nil || !f.Exec {
				return err
			}
			return l.dir.Chmod(name, 0o777)
		})
	}
	return g.Wait()
}

func (l *live) stage(f deployment.File) (*blob.Staged, error) {
	in, err := os.Open(l.s.blob(f.SHA256, f.Exec))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := l.dir.Stage()
	if err != nil {
		return nil, err
	}
	if _, err := out.ReadFrom(in); err != nil {
		return nil, errors.Join(err, out.Discard())
	}
	return out, nil
}

// clear makes the folders of a file, and takes away what a task put in the way:
// a folder where the file goes, a file or a link where a folder goes.
func (l *live) clear(name string) error {
	at := l.top
	parts := strings.Split(name, "/")
	for i, part := range parts {
		at = path.Join(at, part)
		info, err := l.dir.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil && info.IsDir() == (i == len(parts)-1) {
			err = l.dir.RemoveAll(at)
		}
		if err != nil {
			return err
		}
	}
	return l.dir.MakeAll(path.Join(l.top, path.Dir(name)))
}

// remove takes a file away, and the folders that are empty without it.
func (l *live) remove(name string) error {
	name = path.Join(l.top, name)
	if err := l.dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) { // ErrExist: a folder now, of a task
		return err
	}
	for name = path.Dir(name); strings.HasPrefix(name+"/", l.top+"/"); name = path.Dir(name) {
		if l.dir.Remove(name) != nil {
			return nil // something is left in it
		}
	}
	return nil
}
