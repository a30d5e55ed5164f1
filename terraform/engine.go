package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/store/drift"
)

// Engine is the terraform or tofu of this machine, in one folder.
type Engine struct {
	Program string   // its path
	Dir     string   // the working directory
	Config  string   // of Source.Configure
	Env     []string // more variables
	Source  Source
}

// Find looks for terraform, then tofu, in PATH; a name asks for that one. This
// program under their names is passed over.
func Find(name string) (string, error) {
	names := []string{"terraform", "tofu"}
	if name != "" {
		names = []string{name}
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	own, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			program := filepath.Join(dir, name)
			info, err := os.Stat(program)
			if err == nil && info.Mode()&0o111 != 0 && !info.IsDir() && !os.SameFile(info, own) {
				return program, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not in PATH: install it, wherry does not bring it", strings.Join(names, " or "))
}

func (e *Engine) command(ctx context.Context, args []string) *exec.Cmd {
	c := exec.CommandContext(ctx, e.Program, args...)
	c.Dir, c.Env = e.Dir, append(os.Environ(), e.Env...)
	c.Env = append(c.Env, e.Source.Environment(e.Config, args)...)
	return c
}

// Run runs a command on the terminal and returns its exit code.
func (e *Engine) Run(ctx context.Context, out, errs io.Writer, args ...string) (int, error) {
	c := e.command(ctx, args)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, out, errs
	// An interrupt of the terminal reaches terraform too, which ends in order.
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func (e *Engine) output(ctx context.Context, args ...string) ([]byte, error) {
	c := e.command(ctx, args)
	var errs bytes.Buffer
	c.Stderr = &errs
	b, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", engineName(e.Program), strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return b, nil
}

// Describe says which engine and which providers are used, in one line.
func (e *Engine) Describe(ctx context.Context, global ...string) (string, error) {
	b, err := e.output(ctx, append(global, "version", "-json")...)
	if err != nil {
		return "", err
	}
	var v struct {
		Version   string            `json:"terraform_version"`
		Providers map[string]string `json:"provider_selections"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s %s (%s), with %s", engineName(e.Program), v.Version, e.Program, e.Source)
	for i, name := range slices.Sorted(maps.Keys(v.Providers)) {
		if i == 0 {
			text += "; selected"
		}
		text += " " + name + " " + v.Providers[name]
	}
	return text, nil
}

// Plan plans into file and reads what it would do. The output goes to out; an
// exit code that is not 0 is terraform's own failure, already told there.
func (e *Engine) Plan(ctx context.Context, out, errs io.Writer, file string, global, args []string) (p *Plan, code int, err error) {
	code, err = e.Run(ctx, out, errs, slices.Concat(global, []string{"plan", "-out=" + file}, args)...)
	if err != nil || code != 0 {
		return nil, code, err
	}
	p, err = e.Show(ctx, file, global)
	return p, 0, err
}

// Show reads a plan file.
func (e *Engine) Show(ctx context.Context, file string, global []string) (*Plan, error) {
	b, err := e.output(ctx, slices.Concat(global, []string{"show", "-json", file})...)
	if err != nil {
		return nil, err
	}
	return ReadPlan(b)
}

// Report is what an apply left, for POST /api/wherry/infra; the caller adds
// where it was made.
func (e *Engine) Report(ctx context.Context, planDigest string, global []string) (drift.Infra, error) {
	in := drift.Infra{PlanDigest: planDigest}
	b, err := e.output(ctx, slices.Concat(global, []string{"show", "-json"})...)
	if err != nil {
		return in, err
	}
	if in.Resources, err = ReadState(b); err != nil {
		return in, err
	}
	if b, err = e.output(ctx, slices.Concat(global, []string{"state", "pull"})...); err != nil {
		return in, err
	}
	var head struct {
		Serial int64 `json:"serial"`
	}
	if len(bytes.TrimSpace(b)) > 0 { // there is none before the first apply
		err = json.Unmarshal(b, &head)
	}
	in.Serial = head.Serial
	return in, err
}
