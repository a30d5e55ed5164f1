package cluster

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wherry-ml/wherry/agent/protocol"
)

// place is a file that a task's settings name. Tasks write to the folder top,
// so the file is opened only below it: a link that a task made does not lead
// the server out.
type place struct {
	inside string // where a task sees it
	top    string // on this machine
	name   string // below top
}

// locate returns the place of a file as a task with that tree sees it: deployed
// files are the tree's, whatever the live ones are meanwhile.
func (m *Manager) locate(ws int64, tree *protocol.Tree, file string) place {
	live := m.live(ws, file)
	if tree == nil {
		return live
	}
	name, ok := strings.CutPrefix(live.inside, tree.Root+"/")
	if !ok {
		return live
	}
	deployed := place{live.inside, filepath.Join(m.cfg.State.Trees(), tree.Digest), name}
	if _, err := deployed.stat(); err == nil {
		return deployed
	}
	if _, found := deployed.leftOut(); found {
		return deployed
	}
	if found, err := deployed.glob(); err == nil && len(found) > 0 {
		return deployed
	}
	return live // a task wrote it, or there is none
}

// live returns the place of a file of /Workspace (which may be left out), a
// volume or DBFS.
func (m *Manager) live(ws int64, file string) place {
	if rest, ok := strings.CutPrefix(file, "dbfs:"); ok {
		if strings.HasPrefix(rest, "/Volumes/") {
			file = rest
		} else {
			file = "/dbfs/" + strings.TrimLeft(rest, "/")
		}
	}
	file = path.Clean("/" + strings.TrimPrefix(file, "file:"))
	if name, ok := strings.CutPrefix(file, "/Volumes/"); ok {
		return place{file, m.cfg.State.Volumes(), name}
	}
	if name, ok := strings.CutPrefix(file, "/dbfs/"); ok {
		return place{file, m.cfg.State.DBFS(ws), name}
	}
	name := strings.TrimPrefix(strings.TrimPrefix(file, "/Workspace/"), "/")
	return place{path.Join("/Workspace", name), m.cfg.State.Workspace(ws), path.Join(".", name)}
}

// with returns the place beside p whose name goes on with ext.
func (p place) with(ext string) place { return place{p.inside + ext, p.top, p.name + ext} }

func (p place) stat() (fs.FileInfo, error) {
	root, err := os.OpenRoot(p.top)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Stat(p.name)
}

// open opens a plain file; of a pipe it does not wait for the writer.
func (p place) open() (*os.File, error) {
	root, err := os.OpenRoot(p.top)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(p.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: p.inside, Err: syscall.EINVAL}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (p place) read() ([]byte, error) {
	f, err := p.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// glob returns the files that match a place whose name is a pattern.
func (p place) glob() (found []place, err error) {
	root, err := os.OpenRoot(p.top)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	names, err := fs.Glob(root.FS(), p.name)
	for _, name := range names {
		found = append(found, place{path.Join(strings.TrimSuffix(p.inside, p.name), name), p.top, name})
	}
	return found, err
}

// notebookExtensions are tried, in this order, for a notebook path without one.
var notebookExtensions = []string{".py", ".ipynb", ".sql", ".r", ".scala"}

// leftOut is the file that name stands for without its extension.
func (p place) leftOut() (place, bool) {
	for _, ext := range notebookExtensions {
		if _, err := p.with(ext).stat(); err == nil {
			return p.with(ext), true
		}
	}
	return p, false
}
