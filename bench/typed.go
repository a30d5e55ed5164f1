package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
)

// written is a workflow's job as far as its commands can be typed by hand.
type written struct {
	Env   map[string]string `yaml:"env"`
	Steps []struct {
		Name string            `yaml:"name"`
		Run  string            `yaml:"run"`
		With map[string]string `yaml:"with"`
		Env  map[string]string `yaml:"env"`
	} `yaml:"steps"`
}

// readJob reads the one job of the workflow that is measured.
func readJob(repository string) (written, error) {
	text, err := os.ReadFile(filepath.Join(repository, workflow.Dir, ciWorkflow+".yml"))
	if err != nil {
		return written{}, err
	}
	var file struct {
		Jobs map[string]written `yaml:"jobs"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return written{}, err
	}
	for _, job := range file.Jobs {
		if len(file.Jobs) == 1 {
			return job, nil
		}
	}
	return written{}, fmt.Errorf("%s has %d jobs, not one", ciWorkflow, len(file.Jobs))
}

// typed runs the commands of the workflow as a person would: a fresh clone, an
// environment of the same Python, and each step's own lines in bash.
func (b *bench) typed(ctx context.Context, repository string, pip []string) ([]timing, error) {
	job, err := readJob(repository)
	if err != nil {
		return nil, err
	}
	python, err := job.python(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "typed-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	clone, venv := filepath.Join(dir, "clone"), filepath.Join(dir, "venv")
	t := &typist{env: append(shellEnv(job.Env), pip...), list: []timing{{name: "all"}}}
	t.env = append(t.env, "PATH="+filepath.Join(venv, "bin")+":"+os.Getenv("PATH"))
	err = t.run(ctx, "git clone", dir, nil, "git", "clone", "--quiet", repository, clone)
	if err == nil {
		err = t.run(ctx, "python -m venv", dir, nil, python, "-m", "venv", venv)
	}
	for _, step := range job.Steps {
		if err == nil && step.Run != "" {
			err = t.run(ctx, step.Name, clone, step.Env, "bash", "-e", "-c", step.Run)
		}
	}
	return t.list, err
}

// shellEnv is what a workflow sees of this environment too, and the job's own.
func shellEnv(own map[string]string) (env []string) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "HOME", name == "LANG", name == "JAVA_HOME", strings.HasPrefix(name, "PIP_"), strings.HasPrefix(name, "UV_"):
			env = append(env, kv)
		}
	}
	return append(env, pairs(own)...)
}

func pairs(values map[string]string) (list []string) {
	for name, value := range values {
		list = append(list, name+"="+value)
	}
	return list
}

// typist runs commands one after the other; the first timing is all of them.
type typist struct {
	env  []string
	list []timing
}

func (t *typist) run(ctx context.Context, name, dir string, more map[string]string, argv ...string) error {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env = dir, append(slices.Clone(t.env), pairs(more)...)
	started := time.Now()
	out, err := c.CombinedOutput()
	took := time.Since(started).Seconds()
	t.list = append(t.list, timing{name, took})
	t.list[0].took += took
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// python is the interpreter that setup-python takes for the job: the newest of
// the wanted minor version.
func (w written) python(ctx context.Context) (newest string, err error) {
	want := ""
	for _, step := range w.Steps {
		if v := step.With["python-version"]; v != "" {
			want = v
		}
	}
	patch := -1
	for _, python := range action.Detect().Pythons {
		if filepath.Base(python) != "python"+want {
			continue
		}
		out, err := exec.CommandContext(ctx, python, "-I", "-S", "-c", "import sys; print(sys.version_info[2])").Output()
		if err != nil {
			continue // it does not run: setup-python leaves it too
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(out))); err == nil && n > patch {
			newest, patch = python, n
		}
	}
	if newest == "" {
		return "", errors.New("there is no Python " + want + " on this machine")
	}
	return newest, nil
}
