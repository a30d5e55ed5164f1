package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/notebook"
)

// task is an attempt as the agent gets it; cluster and token come later.
func (m *Manager) task(ctx context.Context, r *run) (*protocol.Task, error) {
	var settings wherry.Task
	if err := json.Unmarshal(r.Task, &settings); err != nil {
		return nil, &failure{wherry.TermInvalidRun, fmt.Sprintf("the task's settings are not valid: %v", err)}
	}
	t := &protocol.Task{
		RunID: r.RunID, JobRunID: r.JobRunID, JobID: r.JobID, JobName: r.JobName, TaskKey: r.TaskKey, Attempt: r.Number, WorkspaceID: r.WorkspaceID,
		Parameters: r.Parameters, APIURL: m.cfg.URL, BaseURL: m.cfg.URL, UserName: r.RunAs.UserName,
		Catalog: "workspace", Schema: "default",
	}
	if u, err := url.Parse(m.cfg.URL); err == nil {
		t.Host = u.Host
	}
	if len(r.Tags) > 0 {
		_ = json.Unmarshal(r.Tags, &t.Tags) // tags of another shape are not for tasks
	}
	var err error
	switch {
	case settings.Notebook != nil:
		t.Kind = protocol.Notebook
		err = m.notebook(r, settings.Notebook.Path, t)
	case settings.Python != nil:
		t.Kind, t.Argv = protocol.Script, settings.Python.Parameters
		err = m.script(r, settings.Python.File, t)
	case settings.Wheel != nil:
		w := settings.Wheel
		t.Kind, t.PackageName, t.EntryPoint, t.Argv, t.NamedParameters = protocol.Wheel, w.PackageName, w.EntryPoint, w.Parameters, w.NamedParameters
	default:
		err = wherry.NotImplemented("a task of type " + strings.Join(settings.Kinds, ", "))
	}
	if err == nil {
		err = m.libraries(ctx, r, t)
	}
	if err == nil && m.cfg.Trees != nil && t.Path != "" {
		if digest, root, ok := m.cfg.Trees.TreeOf(ctx, r.WorkspaceID, t.Path); ok {
			t.Tree = &protocol.Tree{Digest: digest, Root: root}
			t.Roots = []string{root}
		}
	}
	return t, err
}

// script finds a Python file: below /Workspace (which may be left out), in a
// volume, or in DBFS.
func (m *Manager) script(r *run, file string, t *protocol.Task) error {
	inside, host := m.locate(r.WorkspaceID, file)
	info, err := os.Stat(host)
	switch {
	case errors.Is(err, fs.ErrNotExist) && path.Ext(inside) == "":
		for _, ext := range notebookExtensions {
			if _, err := os.Stat(host + ext); err == nil {
				t.Path = inside + ext
				return nil
			}
		}
		fallthrough
	case errors.Is(err, fs.ErrNotExist):
		return &failure{wherry.TermNotFound, fmt.Sprintf("there is no Python file %s", inside)}
	case err != nil:
		return err
	case info.IsDir():
		return &failure{wherry.TermNotFound, fmt.Sprintf("%s is a folder, not a Python file", inside)}
	}
	t.Path = inside
	return nil
}

// locate returns where a task sees a file, and where it is on this machine.
func (m *Manager) locate(ws int64, file string) (inside, host string) {
	if rest, ok := strings.CutPrefix(file, "dbfs:"); ok {
		if strings.HasPrefix(rest, "/Volumes/") {
			file = rest
		} else {
			file = "/dbfs/" + strings.TrimLeft(rest, "/")
		}
	}
	file = path.Clean("/" + strings.TrimPrefix(file, "file:"))
	switch {
	case strings.HasPrefix(file, "/Volumes/"):
		return file, filepath.Join(m.cfg.State.Volumes(), strings.TrimPrefix(file, "/Volumes/"))
	case strings.HasPrefix(file, "/dbfs/"):
		return file, filepath.Join(m.cfg.State.DBFS(ws), strings.TrimPrefix(file, "/dbfs/"))
	case !strings.HasPrefix(file, "/Workspace/"):
		file = "/Workspace" + file
	}
	return file, filepath.Join(m.cfg.State.Workspace(ws), strings.TrimPrefix(file, "/Workspace/"))
}

// notebookExtensions are tried, in this order, for a notebook path without one.
var notebookExtensions = []string{".py", ".ipynb", ".sql", ".r", ".scala"}

func (m *Manager) notebook(r *run, name string, t *protocol.Task) error {
	inside, host := m.locate(r.WorkspaceID, name)
	src, err := os.ReadFile(host)
	for _, ext := range notebookExtensions {
		if err == nil {
			break
		}
		if src, err = os.ReadFile(host + ext); err == nil {
			inside += ext
		}
	}
	if err != nil {
		return &failure{wherry.TermNotFound, fmt.Sprintf("there is no notebook %s: Unable to access the notebook %q", inside, name)}
	}
	t.Path = inside
	return cells(inside, src, t)
}

func cells(name string, src []byte, t *protocol.Task) error {
	n, err := notebook.Parse(name, src)
	if err != nil {
		return &failure{wherry.TermInvalidRun, fmt.Sprintf("the notebook %s can not be read: %v", name, err)}
	}
	t.Language = n.Language
	t.Source, err = json.Marshal(n.Cells)
	return err
}

// keepSource keeps the cells of a notebook beside its output: pages show what
// ran, whatever becomes of the file.
func (m *Manager) keepSource(t *protocol.Task) error {
	if t.Kind != protocol.Notebook {
		return nil
	}
	dir := m.cfg.State.Run(t.RunID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "source.json"), t.Source, 0o600)
}
