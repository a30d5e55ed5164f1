package action

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// checkout puts a repository into the workspace: the run's own at its commit,
// or another of this forge.
func checkout(ctx context.Context, c *call) error {
	if c.input("submodules") != "" && c.input("submodules") != "false" {
		return fmt.Errorf("submodules: %s is not supported: the submodules' repositories are elsewhere", c.input("submodules"))
	}
	if c.flag("lfs") {
		return errors.New("lfs: true is not supported: large files are not kept apart here")
	}
	if c.input("sparse-checkout") != "" {
		c.warn("sparse-checkout is ignored: all files are checked out")
	}
	dir, err := c.place(c.input("path"))
	if err != nil {
		return err
	}
	own := c.input("repository") == "" || strings.EqualFold(c.input("repository"), c.Repository)
	if own && c.Worktree != "" {
		if ref := c.input("ref"); ref != "" && ref != c.Ref && ref != c.SHA {
			c.warn("ref %s: the working tree is taken as it is", ref)
		}
		return c.worktree(ctx, dir)
	}
	url, ref := c.CloneURL, c.SHA
	if !own {
		if c.GitURL == "" {
			return fmt.Errorf("the repository %s is not this one, and there is no server here that has it", c.input("repository"))
		}
		_, name, _ := strings.Cut(c.input("repository"), "/")
		url, ref = c.GitURL+"/"+name+".git", "HEAD"
	}
	if c.input("ref") != "" {
		ref = c.input("ref")
	}
	return c.fetch(ctx, dir, url, ref)
}

// place is a folder of the workspace; a path that leads out of it is refused.
func (c *call) place(name string) (string, error) {
	if name != "" && !filepath.IsLocal(name) {
		return "", fmt.Errorf("path %q leads out of the workspace", name)
	}
	dir := filepath.Join(workspace(), name)
	return dir, os.MkdirAll(dir, 0o755)
}

// fetch gets just the wanted commits, and leaves a branch checked out where
// the run is for one, so that steps can commit and push.
func (c *call) fetch(ctx context.Context, dir, url, ref string) error {
	depth, err := strconv.Atoi(c.input("fetch-depth"))
	if err != nil {
		return fmt.Errorf("fetch-depth %q is not a number", c.input("fetch-depth"))
	}
	token := c.input("token")
	git := func(args ...string) error { return c.execute(ctx, dir, append([]string{"git"}, args...)...) }
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		if err := git("-c", "init.defaultBranch=main", "init", "--quiet"); err != nil {
			return err
		}
		if err := git("remote", "add", "origin", url); err != nil {
			return err
		}
	}
	if token != "" {
		if err := git("config", "--local", "http."+url+".extraheader", "Authorization: Bearer "+token); err != nil {
			return err
		}
	}
	args := []string{"fetch", "--quiet", "--no-tags", "--prune"}
	if depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(depth))
	}
	branch := ""
	if ref == c.SHA && strings.HasPrefix(c.Ref, "refs/heads/") {
		branch = strings.TrimPrefix(c.Ref, "refs/heads/")
	}
	want := []string{"origin", ref}
	if depth == 0 {
		args = []string{"fetch", "--quiet", "--tags", "--prune"}
		want = append(want[:1], "+refs/heads/*:refs/remotes/origin/*", "+"+ref+":refs/wherry/checkout")
	} else if branch != "" {
		want[1] = "+" + ref + ":refs/remotes/origin/" + branch
	}
	args = append(args, want...)
	err = git(args...)
	for try := 1; err != nil && try < 3 && c.awaited(ctx, url); try++ { // as GitHub's own does
		err = git(args...)
	}
	if err != nil {
		return fmt.Errorf("fetch %s: %w", ref, err)
	}
	if depth == 0 {
		ref = "refs/wherry/checkout"
	} else if branch == "" {
		ref = "FETCH_HEAD"
	}
	to := []string{"-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", "--detach", ref}
	if branch != "" {
		to = []string{"checkout", "--quiet", "--force", "-B", branch, ref}
	}
	if err := git(to...); err != nil {
		return err
	}
	if !c.flag("persist-credentials") {
		_ = git("config", "--local", "--unset-all", "http."+url+".extraheader") // there may be none
	}
	return c.outputs(ctx, dir)
}

// awaited reports that the server is there, again if it was not.
func (c *call) awaited(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/info/refs?service=git-upload-pack", nil)
	if err != nil {
		return false
	}
	res, err := c.do(req)
	return err == nil && res.Body.Close() == nil
}

func (c *call) outputs(ctx context.Context, dir string) error {
	commit, err := ask(ctx, dir, "git", "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	c.say("HEAD is %s", commit)
	return errors.Join(c.output("commit", commit), c.output("ref", c.Ref))
}

// worktree copies a working tree: the commit, and over it what git would
// commit now.
func (c *call) worktree(ctx context.Context, dir string) error {
	if err := c.execute(ctx, dir, "git", "clone", "--quiet", "--shared", "--no-checkout", c.Worktree, "."); err != nil {
		return err
	}
	if err := c.execute(ctx, dir, "git", "-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", c.SHA); err != nil {
		return err
	}
	// Against the commit and not the index: what is staged counts too.
	deleted, err := names(ctx, c.Worktree, "diff", "-z", "--name-only", "--no-renames", "--diff-filter=D", c.SHA)
	if err != nil {
		return err
	}
	for _, name := range deleted {
		_ = os.Remove(filepath.Join(dir, name)) // deleted there before
	}
	changed, err := names(ctx, c.Worktree, "diff", "-z", "--name-only", "--no-renames", "--diff-filter=d", c.SHA)
	if err != nil {
		return err
	}
	others, err := names(ctx, c.Worktree, "ls-files", "-z", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	n := len(deleted)
	for _, name := range append(changed, others...) {
		if err := copyFile(filepath.Join(c.Worktree, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		n++
	}
	if n > 0 {
		c.say("with %d uncommitted files of %s", n, filepath.Base(c.Worktree))
	}
	return c.outputs(ctx, dir)
}

// names are the files that a command of git lists with -z, relative to dir.
func names(ctx context.Context, dir string, args ...string) (list []string, err error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" {
			list = append(list, name)
		}
	}
	return list, nil
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		_ = os.Remove(to) // it may be the commit's
		return os.Symlink(target, to)
	}
	if info.IsDir() {
		return nil // a repository in it
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
