package bundle

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/wherry-ml/wherry/bundle/config"
)

// Git is the state of the repository that a bundle is in; the zero Git if it
// is in none.
type Git struct {
	Branch    string `json:"branch,omitempty"`
	Commit    string `json:"commit,omitempty"`
	OriginURL string `json:"origin_url,omitempty"`
	// RootPath is the bundle's folder relative to the repository's.
	RootPath string `json:"bundle_root_path,omitempty"`
	Author   string `json:"author,omitempty"`
	Message  string `json:"message,omitempty"` // first line of the commit's message
	// Dirty tells that files below the bundle differ from the commit.
	Dirty bool `json:"dirty,omitempty"`
}

// readGit asks the git binary. It never writes to the repository: without
// optional locks, status does not even refresh the index.
func readGit(ctx context.Context, root string) (g Git) {
	var top, status, last, origin string
	var wait sync.WaitGroup // a process each: together they take as long as the slowest
	wait.Go(func() { top = git(ctx, root, "rev-parse", "--show-toplevel") })
	wait.Go(func() { status = git(ctx, root, "status", "--porcelain=v2", "--branch", "--", ".") })
	wait.Go(func() { last = git(ctx, root, "log", "-1", "--format=%an <%ae>%x00%s") })
	wait.Go(func() { origin = git(ctx, root, "config", "--get", "remote.origin.url") })
	wait.Wait()
	if top == "" {
		return g
	}
	if rel, err := filepath.Rel(resolved(top), resolved(root)); err == nil {
		g.RootPath = filepath.ToSlash(rel)
	}
	for line := range strings.Lines(status) {
		line = strings.TrimSpace(line)
		if commit, ok := strings.CutPrefix(line, "# branch.oid "); ok {
			if commit != "(initial)" {
				g.Commit = commit
			}
		} else if branch, ok := strings.CutPrefix(line, "# branch.head "); ok {
			if branch != "(detached)" {
				g.Branch = branch
			}
		} else if !strings.HasPrefix(line, "#") && line != "" {
			g.Dirty = true
		}
	}
	if g.Commit != "" {
		author, message, _ := strings.Cut(last, "\x00")
		g.Author, g.Message = author, message
	}
	g.OriginURL = withoutPassword(origin)
	return g
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// git returns the trimmed output, "" if git failed or is not there.
func git(ctx context.Context, dir string, args ...string) string {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out, err := c.Output()
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(out))
}

// withoutPassword strips user and password from an https URL.
func withoutPassword(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.User == nil || u.Scheme == "ssh" {
		return origin
	}
	u.User = nil
	return u.String()
}

// checkGit refuses to deploy another branch than the target names to
// production.
func (b *Bundle) checkGit() {
	want := b.Config.Get("bundle", "git", "branch")
	if b.Mode != Production || want == nil || want.At.File == "" || want.Text() == "" || b.Git.Branch == want.Text() {
		return
	}
	have := "the checked-out branch is " + b.Git.Branch
	if b.Git.Branch == "" {
		have = "no branch is checked out"
	}
	p := config.Problem{
		Severity: config.Error, At: want.At, Message: "target " + b.Target + " is deployed from branch " + want.Text() + ", and " + have,
		Hint: "check out " + want.Text() + ", or give --force",
	}
	if b.opts.Force {
		p.Severity, p.Hint = config.Warning, "deployed all the same: --force"
	}
	b.Problems.Add(p)
}
