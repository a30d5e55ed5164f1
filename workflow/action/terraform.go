package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/terraform"
)

// terraform puts the engine of this machine on the path, if it is of the
// wanted version, behind a wrapper: it leads the engine to the providers, gives
// its output to later steps if that is wanted, and tells what an apply left.
func (c *call) terraform(ctx context.Context, name, program, want string, outputs bool) error {
	engine, err := choose(name, c.versions(ctx, programs(program), "version"), want)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "tools", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if c.TerraformMirror != "" {
		if err := os.Setenv(terraform.MirrorVariable, c.TerraformMirror); err != nil {
			return err
		}
	}
	source := terraform.Locate(ctx, engine.path)
	level := ""
	if len(source.StandIns) > 0 {
		level = "::notice::"
	}
	c.say("%s%s %s, with %s", level, name, engine.version, source)
	config, err := source.Configure(filepath.Join(c.Dir, "tools", "providers"), c.Exe)
	if err != nil {
		return err
	}
	b, err := json.Marshal(wrapped{Program: engine.path, Config: config, Source: source, Outputs: outputs})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "wrapper.json"), b, 0o600); err != nil {
		return err
	}
	script := "#!/bin/sh\nexec " + quote(c.Exe) + " ci-action terraform --tools " + quote(filepath.Join(c.Dir, ToolsFile)) + " -- " + quote(filepath.Join(dir, "wrapper.json")) + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	return c.path(dir)
}

// wrapped is what the wrapper runs.
type wrapped struct {
	Program string           `json:"program"`
	Config  string           `json:"config"`
	Source  terraform.Source `json:"source"`
	Outputs bool             `json:"outputs"`
}

// Terraform is the wrapper: it runs the engine with its arguments, which come
// after the file that tells which, and returns its exit code.
func Terraform(ctx context.Context, tools string, args []string, out, errs io.Writer) (code int, err error) {
	c := &call{out: out}
	if err := c.read(tools); err != nil {
		return 1, err
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return 1, err
	}
	var w wrapped
	if err := json.Unmarshal(b, &w); err != nil {
		return 1, err
	}
	e := &terraform.Engine{Program: w.Program, Config: w.Config, Source: w.Source}
	var global []string
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-chdir=") {
		global, args = append(global, args[0]), args[1:]
	}
	digest := ""
	if command := terraform.Command(args); command == "apply" || command == "destroy" {
		if digest, err = c.concerns(ctx, e, global, args); err != nil {
			return 1, err
		}
	}
	var stdout, stderr bytes.Buffer
	// Who ends the step interrupts the engine too, which needs time to give up its
	// lock.
	code, err = e.Run(context.WithoutCancel(ctx), io.MultiWriter(out, &stdout), io.MultiWriter(errs, &stderr), append(global, args...)...)
	if err == nil && code == 0 && digest != "" {
		err = c.report(ctx, e, digest, global)
	}
	if w.Outputs && os.Getenv("GITHUB_OUTPUT") != "" {
		err = errors.Join(err, assign("GITHUB_OUTPUT", "stdout", stdout.String()), assign("GITHUB_OUTPUT", "stderr", stderr.String()),
			assign("GITHUB_OUTPUT", "exitcode", strconv.Itoa(code)))
		code = wrapperCode(code)
	}
	return code, err
}

// wrapperCode is what the actions' own wrapper exits with: 2 is what plan
// -detailed-exitcode says of changes, and no failure to it; any other is 1.
func wrapperCode(code int) int {
	if code == 2 {
		return 0
	}
	return min(code, 1)
}

// concerns reads the plan of an apply before it is made, and stops where it
// would lose what must not be lost, unless reviewers let the job through. An
// apply without a plan file makes its own, which terraform shows as ever.
func (c *call) concerns(ctx context.Context, e *terraform.Engine, global, args []string) (digest string, err error) {
	file := ""
	if last := args[len(args)-1]; len(args) > 1 && !strings.HasPrefix(last, "-") {
		file = last
	}
	if file == "" {
		file = filepath.Join(os.Getenv("RUNNER_TEMP"), "wherry.tfplan")
		plan := slices.DeleteFunc(slices.Clone(args[1:]), func(a string) bool { return a == "-auto-approve" || strings.HasPrefix(a, "-auto-approve=") })
		if args[0] == "destroy" {
			plan = append(plan, "-destroy")
		}
		p, _, err := e.Plan(ctx, io.Discard, c.out, file, global, plan)
		if err != nil || p == nil {
			return "", err // terraform says why when it is run
		}
		return p.Digest(), c.refuse(p)
	}
	p, err := e.Show(ctx, file, global)
	if err != nil {
		return "", nil //nolint:nilerr // terraform says why when it is run
	}
	return p.Digest(), c.refuse(p)
}

func (c *call) refuse(p *terraform.Plan) error {
	list := p.Concerns()
	if len(list) == 0 {
		return nil
	}
	for _, concern := range list {
		c.warn("%s", concern)
	}
	if c.Approved {
		c.say("The reviewers of the environment have approved this run.")
		return nil
	}
	return errors.New("the apply was stopped: it would undo changes, or delete what holds data. Give the environment reviewers who approve the run, or apply it by hand with `wherry terraform --approve apply`")
}

// report tells the installation what the apply left.
func (c *call) report(ctx context.Context, e *terraform.Engine, digest string, global []string) error {
	if c.InfraURL == "" {
		return nil
	}
	infra, err := e.Report(ctx, digest, global)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if infra.Source, err = filepath.Rel(workspace(), dir); err != nil {
		return err
	}
	b, err := json.Marshal(infra)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.InfraURL, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.do(req)
	if err != nil {
		return fmt.Errorf("report the apply: %w", err)
	}
	return res.Body.Close()
}
