package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
)

// Library is one element of a task's or a cluster's libraries.
type Library struct {
	Wheel        string          `json:"whl"`
	Requirements string          `json:"requirements"`
	PyPI         *PyPI           `json:"pypi"`
	Jar          string          `json:"jar"`
	Egg          string          `json:"egg"`
	Maven        json.RawMessage `json:"maven"`
	CRAN         json.RawMessage `json:"cran"`
}

// PyPI names a package, with or without its version.
type PyPI struct {
	Package string `json:"package"`
	Repo    string `json:"repo"`
}

// wanted is what an overlay is made of.
type wanted struct {
	tree         *protocol.Tree // the task's, for files that are among the deployed ones
	requirements []string
	wheels       []place
	files        map[place]bool // requirements files that were read
}

// maxFiles is how many requirements files may include one another.
const maxFiles = 50

// libraries makes the overlay that a task needs.
func (m *Manager) libraries(ctx context.Context, r *run, t *protocol.Task) error {
	w := wanted{tree: t.Tree}
	if len(r.Libraries) > 0 {
		if err := m.addLibraries(r.WorkspaceID, r.Libraries, &w); err != nil {
			return err
		}
	}
	if r.ClusterID != "" {
		c, err := m.cfg.Store.Cluster(ctx, r.WorkspaceID, r.ClusterID)
		if err == nil {
			err = m.addLibraries(r.WorkspaceID, installed(c.Spec), &w)
		}
		if err != nil && wherry.CodeOf(err) != wherry.CodeInvalidParameter { // that there is no such cluster is said later
			return err
		}
	}
	if len(r.Environment) > 0 {
		var e struct {
			Dependencies []string `json:"dependencies"`
		}
		if err := json.Unmarshal(r.Environment, &e); err != nil {
			return &failure{wherry.TermInvalidRun, fmt.Sprintf("the task's environment is not valid: %v", err)}
		}
		for _, line := range e.Dependencies {
			if err := m.addRequirement(r.WorkspaceID, line, path.Dir(t.Path), &w); err != nil {
				return err
			}
		}
	}
	if len(w.requirements)+len(w.wheels) == 0 {
		return nil
	}
	if err := m.say(ctx, r, "installing libraries"); err != nil {
		return err
	}
	overlay, err := m.overlay(ctx, w)
	if err != nil && wherry.CodeOf(err) != wherry.CodeInternal {
		return &failure{wherry.TermLibrary, err.Error()}
	}
	t.Overlay = overlay
	return err
}

// overlay returns the folder that holds what is wanted. Wheels are copied
// first: tasks may change the workspace's own while they are installed.
func (m *Manager) overlay(ctx context.Context, w wanted) (string, error) {
	if m.cfg.Overlay == nil {
		return "", wherry.NotImplemented("libraries of tasks")
	}
	temp, err := os.MkdirTemp("", "wherry-wheels-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	var wheels []string
	for i, at := range w.wheels {
		name := filepath.Join(temp, strconv.Itoa(i), path.Base(at.name))
		if err := copyWheel(at, name); err != nil {
			return "", wherry.Errorf(wherry.CodeInvalidParameter, "the wheel %s cannot be read: %v", at.inside, err)
		}
		wheels = append(wheels, name)
	}
	return m.cfg.Overlay(ctx, w.requirements, wheels)
}

func copyWheel(from place, to string) error {
	f, err := from.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return copyTo(f, to)
}

// installed are the libraries that the libraries API put on a cluster.
func installed(spec json.RawMessage) json.RawMessage {
	var s struct {
		Libraries json.RawMessage `json:"libraries"`
	}
	_ = json.Unmarshal(spec, &s) // it was valid when it was stored
	return s.Libraries
}

func (m *Manager) addLibraries(ws int64, raw json.RawMessage, w *wanted) error {
	if len(raw) == 0 {
		return nil
	}
	var list []Library
	if err := json.Unmarshal(raw, &list); err != nil {
		return &failure{wherry.TermInvalidRun, fmt.Sprintf("libraries are not valid: %v", err)}
	}
	for _, l := range list {
		var err error
		switch {
		case l.Wheel != "":
			err = m.addRequirement(ws, l.Wheel, "/Workspace", w)
		case l.Requirements != "":
			err = m.addRequirement(ws, "-r "+l.Requirements, "/Workspace", w)
		case l.PyPI != nil:
			if l.PyPI.Repo != "" {
				w.requirements = append(w.requirements, "--extra-index-url "+l.PyPI.Repo)
			}
			w.requirements = append(w.requirements, l.PyPI.Package)
		case l.Jar != "" || l.Maven != nil:
			err = &failure{wherry.TermLibrary, "libraries of type jar and maven are not supported by wherry: set spark.jars in the cluster's spark_conf"}
		default:
			err = &failure{wherry.TermLibrary, "a library is neither whl, requirements nor pypi: other types are not supported by wherry"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addRequirement adds one line as requirements files have it. Paths are the
// workspace's, relative ones from dir.
func (m *Manager) addRequirement(ws int64, line, dir string, w *wanted) error {
	line = strings.TrimSpace(line)
	option, file, _ := strings.Cut(line, " ")
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
		return nil
	case option == "-r" || option == "--requirement":
		return m.addRequirementFile(ws, resolve(strings.TrimSpace(file), dir), w)
	case option == "-c" || option == "--constraint":
		return m.addConstraints(ws, resolve(strings.TrimSpace(file), dir), w)
	case strings.HasSuffix(line, ".whl") && !strings.Contains(line, " @ ") && !strings.HasPrefix(line, "http"):
		return m.addWheel(ws, resolve(line, dir), w)
	default:
		w.requirements = append(w.requirements, line)
		return nil
	}
}

func resolve(file, dir string) string {
	if strings.HasPrefix(file, "/") || strings.Contains(file, ":") {
		return file
	}
	return path.Join(dir, file)
}

func (m *Manager) addRequirementFile(ws int64, file string, w *wanted) error {
	at := m.locate(ws, w.tree, file)
	if w.files[at] {
		return nil
	}
	if len(w.files) == maxFiles {
		return &failure{wherry.TermLibrary, fmt.Sprintf("more than %d requirements files include one another, up to %s", maxFiles, at.inside)}
	}
	if w.files == nil {
		w.files = map[place]bool{}
	}
	w.files[at] = true
	lines, err := requirementLines(at)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := m.addRequirement(ws, line, path.Dir(at.inside), w); err != nil {
			return err
		}
	}
	return nil
}

// addConstraints adds the lines of a constraints file, each behind -c.
func (m *Manager) addConstraints(ws int64, file string, w *wanted) error {
	lines, err := requirementLines(m.locate(ws, w.tree, file))
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			w.requirements = append(w.requirements, "-c "+line)
		}
	}
	return err
}

// requirementLines reads a file's lines. One that ends with a backslash goes on
// in the next, as pip-compile writes hashes.
func requirementLines(at place) (lines []string, err error) {
	f, err := at.open()
	if err != nil {
		return nil, &failure{wherry.TermLibrary, fmt.Sprintf("there is no requirements file %s", at.inside)}
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	begun := ""
	for scanner.Scan() {
		line := begun + scanner.Text()
		var more bool
		if begun, more = strings.CutSuffix(line, "\\"); !more {
			lines, begun = append(lines, line), ""
		}
	}
	if begun != "" {
		lines = append(lines, begun)
	}
	return lines, scanner.Err()
}

// addWheel takes a pattern too: bundles name dist/*.whl.
func (m *Manager) addWheel(ws int64, file string, w *wanted) error {
	at := m.locate(ws, w.tree, file)
	found, err := at.glob()
	if err != nil || len(found) == 0 {
		return &failure{wherry.TermLibrary, fmt.Sprintf("there is no wheel %s", at.inside)}
	}
	w.wheels = append(w.wheels, found...)
	return nil
}
