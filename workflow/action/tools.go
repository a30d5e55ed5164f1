package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry/terraform"
	"github.com/wherry-ml/wherry/workflow"
)

// ToolsFile is the name of the file that Tools.Write makes in a job's folder.
const ToolsFile = "tools.json"

// Tools is what the built-in actions of one job use.
type Tools struct {
	Exe string `json:"exe"` // this program
	Dir string `json:"dir"` // the job's folder
	// Token is github.token, with the rights of the job's permissions.
	Token string `json:"token"`
	// Of the run: what checkout checks out.
	Repository string `json:"repository"`
	Ref        string `json:"ref"`
	SHA        string `json:"sha"`
	// CloneURL is where the run's repository is fetched from. Worktree, in its
	// place, is a folder whose files are taken as they are, uncommitted changes
	// too. GitURL is the prefix of other repositories, "" where there are none.
	CloneURL string `json:"clone_url,omitempty"`
	Worktree string `json:"worktree,omitempty"`
	GitURL   string `json:"git_url,omitempty"`
	// Artifacts and Caches are where they are kept: a URL of the server each, or a
	// folder.
	Artifacts string `json:"artifacts"`
	Caches    string `json:"caches"`
	// PipCache is the folder in which this machine keeps pip's cache between
	// runs, "" if it keeps none: the cache of a workflow that names no other.
	PipCache string `json:"pip_cache,omitempty"`
	// Pythons, Javas are the interpreters and the JDK homes of this machine; UV,
	// Terraform, Tofu and Node are programs, "" for one that is not there.
	Pythons   []string `json:"pythons"`
	Javas     []string `json:"javas"`
	UV        string   `json:"uv"`
	Terraform string   `json:"terraform"`
	Tofu      string   `json:"tofu"`
	Node      string   `json:"node"`
	// TerraformMirror is a folder of real providers, "" for none.
	TerraformMirror string `json:"terraform_mirror,omitempty"`
	// InfraURL is told what an apply of Terraform left, "" for nobody. Source is
	// the folder of the configuration in the repository.
	InfraURL string `json:"infra_url,omitempty"`
	// Approved: reviewers of the job's environment let it through, changes to
	// what must not be lost among them.
	Approved bool `json:"approved,omitempty"`
}

// Write keeps the tools for the steps of the job.
func (t Tools) Write(name string) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

func (c *call) read(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &c.Tools)
}

// Detect finds what this machine has for workflows. extra are more folders to
// look for interpreters in.
func Detect(extra ...string) (t Tools) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), extra...)
	dirs = append(dirs, "/usr/local/bin", "/usr/bin")
	if home, err := os.UserHomeDir(); err == nil {
		more, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/*/bin"))
		uv, _ := filepath.Glob(filepath.Join(home, ".local/share/uv/python/*/bin"))
		dirs = append(append(dirs, more...), append(uv, filepath.Join(home, ".local/bin"))...)
	}
	seen := map[string]bool{}
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "python3.*"))
		for _, p := range found {
			real, err := filepath.EvalSymlinks(p)
			if err != nil || seen[real] || strings.Trim(strings.TrimPrefix(filepath.Base(p), "python3."), "0123456789") != "" {
				continue
			}
			seen[real] = true
			if !binary(real) { // pyenv's shims would ask pyenv each time
				continue
			}
			t.Pythons = append(t.Pythons, p)
		}
	}
	t.Javas, t.TerraformMirror = javas(), os.Getenv(terraform.MirrorVariable)
	for name, into := range map[string]*string{"uv": &t.UV, "terraform": &t.Terraform, "tofu": &t.Tofu, "node": &t.Node} {
		for _, dir := range dirs {
			if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil && binary(p) {
				*into = p
				break
			}
		}
	}
	return t
}

// Machine is what a workflow is checked against where these tools are.
func (t Tools) Machine() workflow.Machine {
	return workflow.Machine{
		Action: Known, Actions: Names(), Node: t.Node != "",
		Shell: func(name string) bool { _, err := exec.LookPath(name); return err == nil },
	}
}

// binary reports whether a file is a program rather than a script.
func binary(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 2)
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) != "#!"
}

func javas() (homes []string) {
	candidates := []string{os.Getenv("JAVA_HOME")}
	for _, pattern := range []string{"/usr/lib/jvm/*", "/opt/java/*", "/opt/jdk*"} {
		found, _ := filepath.Glob(pattern)
		candidates = append(candidates, found...)
	}
	seen := map[string]bool{}
	for _, home := range candidates {
		real, err := filepath.EvalSymlinks(home)
		if err != nil || seen[real] || home == "" {
			continue
		}
		seen[real] = true
		if _, err := os.Stat(filepath.Join(real, "bin", "javac")); err == nil {
			homes = append(homes, real)
		}
	}
	return homes
}

// end does what actions have left for the end of the job, the last first.
func (c *call) end(ctx context.Context) error {
	entries, err := os.ReadDir(c.endDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for i := len(entries) - 1; i >= 0 && err == nil; i-- {
		var b []byte
		if b, err = os.ReadFile(filepath.Join(c.endDir(), entries[i].Name())); err != nil {
			break
		}
		var w later
		if err = json.Unmarshal(b, &w); err == nil {
			err = c.save(ctx, w.Key, w.Paths)
		}
	}
	return err
}

// later is a cache to be saved when the job ends.
type later struct {
	Key   string   `json:"key"`
	Paths []string `json:"paths"`
}

func (c *call) endDir() string { return filepath.Join(c.Dir, "end") }

func (c *call) atEnd(w later) error {
	if err := os.MkdirAll(c.endDir(), 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.endDir())
	if err != nil {
		return err
	}
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.endDir(), fmt.Sprintf("%03d.json", len(entries))), b, 0o600)
}

// execute runs a program whose output is the step's.
func (c *call) execute(ctx context.Context, dir string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, c.out, c.out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(argv[0]), err)
	}
	return nil
}

// ask runs a program and returns its output.
func ask(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	b, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && len(e.Stderr) > 0 {
		return "", fmt.Errorf("%s: %s", filepath.Base(argv[0]), strings.TrimSpace(string(e.Stderr)))
	}
	return strings.TrimSpace(string(b)), err
}

func workspace() string { return os.Getenv("GITHUB_WORKSPACE") }
