package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry/workflow"
)

// Tree is a working tree of git.
type Tree struct {
	Root            string
	Owner, Name     string
	SHA             string // HEAD
	Branch          string // "" for a detached HEAD
	Author, Subject string // of HEAD
	Dirty           bool
	Files           workflow.Files // below .github, as they lie there
}

// maxFile bounds what is read of .github.
const maxFile = 1 << 20

// Open reads what the working tree around dir says of itself.
func Open(ctx context.Context, dir string) (*Tree, error) {
	root, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, fmt.Errorf("%s is not in a git repository: run `git init`, and commit", dir)
	}
	t := &Tree{Root: root, Name: filepath.Base(root), Owner: "wherry", Files: workflow.Files{}}
	if t.SHA, err = git(ctx, root, "rev-parse", "HEAD"); err != nil {
		return nil, fmt.Errorf("the repository %s has no commit yet: commit first, uncommitted changes are then taken in", root)
	}
	t.Branch, _ = git(ctx, root, "symbolic-ref", "--short", "--quiet", "HEAD") // none: detached
	last, err := git(ctx, root, "log", "-1", "--format=%an%x00%s")
	if err != nil {
		return nil, err
	}
	t.Author, t.Subject, _ = strings.Cut(last, "\x00")
	status, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	t.Dirty = status != ""
	if origin, err := git(ctx, root, "config", "--get", "remote.origin.url"); err == nil {
		t.name(origin)
	}
	return t, t.read()
}

// name takes OWNER/NAME from a remote's URL.
func (t *Tree) name(origin string) {
	parts := strings.FieldsFunc(strings.TrimSuffix(origin, ".git"), func(r rune) bool { return r == '/' || r == ':' })
	if len(parts) >= 2 && !strings.HasPrefix(origin, "/") {
		t.Name = parts[len(parts)-1]
		if owner := parts[len(parts)-2]; owner != "git" {
			t.Owner = owner
		}
	}
}

func (t *Tree) read() error {
	root, err := os.OpenRoot(t.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".github", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == ".github" {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > maxFile {
			return err
		}
		t.Files[name], err = fs.ReadFile(root.FS(), name)
		return err
	})
	return err
}

// Event is what a push of the tree's branch, or another event, would be.
func (t *Tree) Event(name string, inputs map[string]string) workflow.Event {
	ref := "refs/heads/" + t.Branch
	if t.Branch == "" {
		ref = "refs/heads/main"
	}
	e := workflow.Event{Name: name, Ref: ref, SHA: t.SHA, Inputs: inputs}
	repository := map[string]any{"name": t.Name, "full_name": t.Owner + "/" + t.Name, "default_branch": "main", "owner": map[string]any{"login": t.Owner}}
	payload := map[string]any{"repository": repository, "ref": ref, "sender": map[string]any{"login": t.Author}}
	switch name {
	case "pull_request", "pull_request_target":
		e.Action, e.BaseRef, e.HeadRef, e.Ref = "opened", "main", strings.TrimPrefix(ref, "refs/heads/"), "refs/pull/1/merge"
		payload["action"], payload["number"] = "opened", 1
		payload["pull_request"] = map[string]any{"number": 1, "head": map[string]any{"ref": e.HeadRef, "sha": t.SHA}, "base": map[string]any{"ref": "main"}, "title": t.Subject}
	case "workflow_dispatch":
		payload["inputs"] = inputs
	case "push":
		payload["after"], payload["head_commit"] = t.SHA, map[string]any{"id": t.SHA, "message": t.Subject}
	}
	e.Payload, _ = json.Marshal(payload) // maps of strings and numbers
	return e
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	b, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
	return strings.TrimSpace(string(b)), err
}
