package cluster

import (
	"context"
	"encoding/json"
	"fmt"
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
		m.deployed(ctx, settings.Notebook.Path, t)
		err = m.notebook(r, settings.Notebook.Path, t)
	case settings.Python != nil:
		t.Kind, t.Argv = protocol.Script, settings.Python.Parameters
		m.deployed(ctx, settings.Python.File, t)
		err = m.script(r, settings.Python.File, t)
	case settings.Wheel != nil:
		w := settings.Wheel
		t.Kind, t.PackageName, t.EntryPoint, t.Argv, t.NamedParameters = protocol.Wheel, w.PackageName, w.EntryPoint, w.Parameters, w.NamedParameters
	case settings.CI != nil && m.cfg.CI != nil:
		t.Kind, t.Argv = protocol.Command, []string{protocol.InsideProgram, "ci-job"}
		t.GraceMillis = m.cfg.CIGrace.Milliseconds()
		return t, nil
	default:
		err = wherry.NotImplemented("a task of type " + strings.Join(settings.Kinds, ", "))
	}
	if err == nil {
		err = m.libraries(ctx, r, t)
	}
	return t, err
}

// ci is the workflow's job that the attempt runs, nil for any other task.
func (r *run) ci() *wherry.CITask {
	var settings wherry.Task
	if json.Unmarshal(r.Task, &settings) != nil {
		return nil
	}
	return settings.CI
}

// arm gives a task what it needs the token for.
func (m *Manager) arm(ctx context.Context, r *run, t *protocol.Task) (err error) {
	if job := r.ci(); job != nil {
		t.Input, err = m.cfg.CI(ctx, job.JobID, t.Token)
	}
	return err
}

// deployed settles which deployed tree the task sees, before any of its files
// is read: a deploy may go on meanwhile.
func (m *Manager) deployed(ctx context.Context, file string, t *protocol.Task) {
	if m.cfg.Trees == nil {
		return
	}
	if digest, root, ok := m.cfg.Trees.TreeOf(ctx, t.WorkspaceID, m.live(t.WorkspaceID, file).inside); ok {
		t.Tree = &protocol.Tree{Digest: digest, Root: root}
		t.Roots = []string{root}
	}
}

// script finds a Python file: below /Workspace (which may be left out), in a
// volume, or in DBFS.
func (m *Manager) script(r *run, file string, t *protocol.Task) error {
	at := m.locate(r.WorkspaceID, t.Tree, file)
	info, err := at.stat()
	if err != nil && path.Ext(at.inside) == "" {
		if found, ok := at.leftOut(); ok {
			t.Path = found.inside
			return nil
		}
	}
	switch {
	case err != nil:
		return &failure{wherry.TermNotFound, fmt.Sprintf("there is no Python file %s", at.inside)}
	case info.IsDir():
		return &failure{wherry.TermNotFound, fmt.Sprintf("%s is a folder, not a Python file", at.inside)}
	}
	t.Path = at.inside
	return nil
}

func (m *Manager) notebook(r *run, name string, t *protocol.Task) error {
	at := m.locate(r.WorkspaceID, t.Tree, name)
	src, err := at.read()
	if err != nil {
		if file, ok := at.leftOut(); ok {
			at = file
			src, err = at.read()
		}
	}
	if err != nil {
		return &failure{wherry.TermNotFound, fmt.Sprintf("there is no notebook %s: Unable to access the notebook %q", at.inside, name)}
	}
	t.Path = at.inside
	return cells(at.inside, src, t)
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
