package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/terraform"
)

func terraformCommand() *cobra.Command {
	f := &terraformFlags{}
	c := &cobra.Command{
		Use:   "terraform [--providers auto|real|stand-in] [--approve] [--state DIR] COMMAND [ARGS]",
		Short: "Run the machine's terraform or tofu against this installation",
		Long: `Runs the terraform or tofu that is in PATH in the current folder, with Azure's, Graph's and the workspace's host names
leading to this installation. Where the providers azurerm, azuread and databricks cannot be had, wherry stands in for
them, and says so first. Everything after wherry's own flags is terraform's.

Before an apply the plan is read: if it would undo what was changed behind Terraform's back, or delete or replace a
storage account, a container, a workspace, a key vault or a catalog, it stops, and goes on with --approve. After an
apply the installation is told what it left, for the trace and for drift.`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			args, err := f.parse(args)
			if err != nil {
				return &ExitError{Code: 2, Message: err.Error()}
			}
			if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
				return c.Help()
			}
			return f.run(c, args)
		},
	}
	return c
}

type terraformFlags struct {
	state, providers, engine string
	approve                  bool
}

// parse takes wherry's flags, which come first, and returns terraform's.
func (f *terraformFlags) parse(args []string) ([]string, error) {
	f.providers = "auto"
	values := map[string]*string{"--state": &f.state, "--providers": &f.providers, "--engine": &f.engine}
	for len(args) > 0 {
		name, value, has := strings.Cut(args[0], "=")
		into := values[name]
		switch {
		case name == "--approve":
			f.approve = true
		case into == nil:
			return args, nil
		case has:
			*into = value
		case len(args) < 2:
			return nil, fmt.Errorf("%s needs a value", name)
		default:
			*into, args = args[1], args[1:]
		}
		args = args[1:]
		if !slices.Contains([]string{"auto", "real", "stand-in"}, f.providers) {
			return nil, fmt.Errorf("--providers is auto, real or stand-in, not %q", f.providers)
		}
	}
	return args, nil
}

func (f *terraformFlags) run(c *cobra.Command, args []string) error {
	ctx := c.Context()
	dir, err := stateDir(f.state)
	if err != nil {
		return err
	}
	server, info, _, err := EnsureServer(ctx, dir)
	if err != nil {
		return err
	}
	e, err := f.prepare(ctx, dir, server, info)
	if err != nil {
		return err
	}
	line, err := e.Describe(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.ErrOrStderr(), line)
	t := &applier{Engine: e, c: c, approve: f.approve, server: server}
	for len(args) > 0 && strings.HasPrefix(args[0], "-chdir=") {
		t.global, args = append(t.global, args[0]), args[1:]
	}
	switch terraform.Command(args) {
	case "apply", "destroy":
		return t.apply(args)
	}
	code, err := e.Run(ctx, c.OutOrStdout(), c.ErrOrStderr(), append(t.global, args...)...)
	return ended(code, err)
}

func ended(code int, err error) error {
	if err == nil && code != 0 {
		return &ExitError{Code: code} // terraform has said why
	}
	return err
}

// prepare finds the engine and the providers, and leads both to the installation.
func (f *terraformFlags) prepare(ctx context.Context, dir state.Dir, server *client.Client, info client.Info) (*terraform.Engine, error) {
	program, err := terraform.Find(f.engine)
	if err != nil {
		return nil, err
	}
	e := &terraform.Engine{Program: program, Source: terraform.Source{StandIns: terraform.StandIns, Reason: "as --providers says"}}
	if f.providers != "stand-in" {
		e.Source = terraform.Locate(ctx, program)
	}
	if missing := e.Source.StandIns; f.providers == "real" && len(missing) > 0 {
		return nil, fmt.Errorf("the real %s cannot be had: %s. Name a mirror in %s, or give --providers auto or stand-in", strings.Join(missing, ", "), e.Source.Reason, terraform.MirrorVariable)
	}
	exe, err := executableCopy(dir)
	if err != nil {
		return nil, err
	}
	if e.Config, err = e.Source.Configure(dir.Path("cache", "terraform"), exe); err != nil {
		return nil, err
	}
	for name, value := range egress.Env(info.ProxyURL, egress.Directory(dir)) {
		e.Env = append(e.Env, name+"="+value)
	}
	credentials, err := terraformCredentials(ctx, dir, server)
	e.Env = append(e.Env, credentials...)
	return e, err
}

// subscription is the one that is used if none is named: any is there.
const subscription = "00000000-0000-0000-0000-000000000001"

// firstWorkspace is the installation's own under a host name of Azure's, where
// clients sign in with what they have for Azure.
const firstWorkspace = "https://adb-1.1.azuredatabricks.net"

// terraformCredentials are the variables with which providers sign in, unless
// the environment has some: those of a service principal that is made once and
// kept in the state directory, as the admin's token is.
func terraformCredentials(ctx context.Context, dir state.Dir, server *client.Client) (env []string, err error) {
	switch {
	case os.Getenv("DATABRICKS_AUTH_TYPE") != "":
	case os.Getenv("DATABRICKS_TOKEN") != "": // beside ARM_… the SDKs want to be told which
		env = append(env, "DATABRICKS_AUTH_TYPE=pat")
	case os.Getenv("DATABRICKS_CLIENT_ID") != "":
		env = append(env, "DATABRICKS_AUTH_TYPE=oauth-m2m")
	case os.Getenv("DATABRICKS_HOST") == "":
		env = append(env, "DATABRICKS_HOST="+firstWorkspace)
	}
	if os.Getenv("ARM_SUBSCRIPTION_ID") == "" {
		env = append(env, "ARM_SUBSCRIPTION_ID="+subscription)
	}
	for _, name := range []string{"ARM_CLIENT_ID", "ARM_CLIENT_SECRET", "ARM_USE_OIDC", "ARM_USE_MSI"} {
		if os.Getenv(name) != "" {
			return env, nil
		}
	}
	var sp struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		TenantID     string `json:"tenant_id"`
	}
	name := filepath.Join(dir.Keys(), "terraform.json")
	b, err := os.ReadFile(name)
	switch {
	case err == nil:
		err = json.Unmarshal(b, &sp)
	case errors.Is(err, fs.ErrNotExist):
		if err = server.Do(ctx, "POST", "/api/wherry/service-principals", map[string]any{"display_name": "terraform", "admin": true}, &sp); err != nil {
			return nil, err
		}
		if b, err = json.Marshal(sp); err == nil {
			err = state.WriteFile(name, b, 0o600)
		}
	}
	return append(env, "ARM_CLIENT_ID="+sp.ClientID, "ARM_CLIENT_SECRET="+sp.ClientSecret, "ARM_TENANT_ID="+sp.TenantID), err
}

// applier is one apply or destroy, with the questions before and the report
// after it.
type applier struct {
	*terraform.Engine
	c       *cobra.Command
	global  []string // -chdir=…
	approve bool
	server  *client.Client
}

// valued are flags of apply whose value may be the next argument.
var valued = []string{"-var", "-var-file", "-target", "-replace", "-parallelism", "-lock-timeout", "-state", "-state-out", "-backup", "-exclude"}

// split sorts the arguments of an apply: those of its plan, those of applying
// the plan, and the plan file that is given already.
func split(args []string) (plan, apply []string, auto bool, file string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, _, has := strings.Cut(strings.Replace(a, "--", "-", 1), "=")
		group := []string{a}
		if slices.Contains(valued, name) && !has && i+1 < len(args) {
			i++
			group = append(group, args[i])
		}
		switch name {
		case "-auto-approve":
			auto = !strings.HasSuffix(a, "=false")
		case "-no-color", "-parallelism", "-lock", "-lock-timeout", "-compact-warnings", "-input":
			plan, apply = append(plan, group...), append(apply, group...)
		case "-json", "-backup", "-state-out":
			apply = append(apply, group...)
		case "-state":
			plan, apply = append(plan, group...), append(apply, group...)
		default:
			if !strings.HasPrefix(a, "-") {
				file = a
				continue
			}
			plan = append(plan, group...)
		}
	}
	return plan, apply, auto, file
}

func (t *applier) apply(args []string) error {
	ctx, out, errs := t.c.Context(), t.c.OutOrStdout(), t.c.ErrOrStderr()
	i := slices.Index(args, terraform.Command(args))
	planArgs, applyArgs, auto, file := split(args[i+1:])
	if args[i] == "destroy" {
		planArgs = append(planArgs, "-destroy")
	}
	var p *terraform.Plan
	var err error
	if file != "" {
		p, err = t.Show(ctx, file, t.global)
		auto = true // as terraform does with a plan file
	} else {
		tmp, remove, terr := planFolder()
		if terr != nil {
			return terr
		}
		defer remove()
		file = filepath.Join(tmp, "plan")
		var code int
		if p, code, err = t.Plan(ctx, out, errs, file, t.global, planArgs); code != 0 {
			return ended(code, err)
		}
	}
	if err != nil {
		return err
	}
	if err := t.ask(p, auto); err != nil {
		return err
	}
	code, err := t.Run(ctx, out, errs, slices.Concat(t.global, []string{"apply"}, applyArgs, []string{file})...)
	if err != nil {
		return err
	}
	if err := t.report(p.Digest()); err != nil && code == 0 { // half an apply is reported too
		return err
	}
	return ended(code, nil)
}

// ask stops what needs an approval, and asks on a terminal as terraform does.
func (t *applier) ask(p *terraform.Plan, auto bool) error {
	if concerns := p.Concerns(); len(concerns) > 0 && !t.approve {
		return &ExitError{Code: 1, Message: "nothing was applied:\n  " + strings.Join(concerns, "\n  ") + "\nIf that is meant, run it again with --approve: wherry terraform --approve …"}
	}
	if auto || p.Empty() {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return &ExitError{Code: 2, Message: "there is no terminal to ask on: give -auto-approve"}
	}
	fmt.Fprint(t.c.OutOrStdout(), "\nApply this plan? Only 'yes' is taken: ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(answer) != "yes" {
		return &ExitError{Code: 1, Message: "nothing was applied"}
	}
	return err
}

// report tells the installation what the apply left.
func (t *applier) report(digest string) error {
	ctx := t.c.Context()
	in, err := t.Report(ctx, digest, t.global)
	if err != nil {
		return err
	}
	folder, err := os.Getwd()
	if err != nil {
		return err
	}
	if len(t.global) > 0 {
		folder = filepath.Join(folder, strings.TrimPrefix(t.global[len(t.global)-1], "-chdir="))
	}
	in.Source, in.Commit = sourceOf(ctx, folder)
	return t.server.Do(ctx, "POST", "/api/wherry/infra", in, nil)
}

// sourceOf names a folder of Terraform by its path in its repository, and the
// commit that is checked out; outside of one by its own name.
func sourceOf(ctx context.Context, folder string) (source, commit string) {
	git := func(args ...string) string {
		c := exec.CommandContext(ctx, "git", args...)
		c.Dir = folder
		b, err := c.Output()
		if err != nil {
			return "" // no repository, or no git
		}
		return strings.TrimSpace(string(b))
	}
	if commit = git("rev-parse", "HEAD"); commit == "" {
		return filepath.Base(folder), ""
	}
	source = strings.Trim(filepath.Base(git("rev-parse", "--show-toplevel"))+"/"+git("rev-parse", "--show-prefix"), "/")
	return source, commit
}
