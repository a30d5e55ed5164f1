package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
)

// bundleFlags are the flags of every command that loads a bundle.
type bundleFlags struct {
	dir, target, state, output string
	vars                       []string
	force, forceLock, approve  bool
	clusterID                  string
	noStandIns                 bool
	selected                   []string
}

func (f *bundleFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.target, "target", "t", "", "the target (default: the one with default: true)")
	c.Flags().StringArrayVar(&f.vars, "var", nil, "set a variable, as name=value; may be given several times")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	c.Flags().StringVar(&f.dir, "dir", "", "a folder of the bundle (default: the working directory)")
	_ = c.RegisterFlagCompletionFunc("target", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return bundle.TargetNames(f.dir), cobra.ShellCompDirectiveNoFileComp
	})
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// addServer adds the flags of commands that talk to a server.
func (f *bundleFlags) addServer(c *cobra.Command) {
	c.Flags().StringVar(&f.state, "state", "", "state directory of the server (default: wherry below XDG_STATE_HOME); one is started if none runs")
}

func (f *bundleFlags) addDeploy(c *cobra.Command) {
	c.Flags().BoolVar(&f.force, "force", false, "deploy from another Git branch than the target names")
	c.Flags().BoolVar(&f.forceLock, "force-lock", false, "take the lock of a deployer that went away")
	c.Flags().BoolVar(&f.approve, "auto-approve", false, "delete and make anew what may hold data without asking")
	c.Flags().StringVar(&f.clusterID, "cluster-id", "", "run all tasks on this cluster (mode: development only)")
	c.Flags().StringSliceVar(&f.selected, "select", nil, "only these resources, as jobs.KEY, and what they refer to; nothing is deleted")
	c.Flags().BoolVar(&f.noStandIns, "no-stand-ins", false, "fail on what the bundle takes for granted instead of making it up")
}

func (f *bundleFlags) json() bool { return f.output == "json" }

// load reads the bundle and prints what is wrong with it; an error if it cannot
// be deployed. user "" is the admin of a local installation.
func (f *bundleFlags) load(ctx context.Context, errOut io.Writer, user string) (*bundle.Bundle, error) {
	if f.output != "text" && f.output != "json" {
		return nil, &ExitError{Code: 2, Message: "--output is text or json"}
	}
	vars := map[string]string{}
	for _, v := range f.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, &ExitError{Code: 2, Message: fmt.Sprintf("--var %s: write it as name=value", v)}
		}
		vars[name] = value
	}
	b, err := bundle.Load(ctx, bundle.Options{Dir: f.dir, Target: f.target, Vars: vars, User: user, Force: f.force, ClusterID: f.clusterID})
	if err != nil {
		return nil, err
	}
	for _, p := range b.Problems.List() {
		fmt.Fprint(errOut, b.Problems.Format(p))
	}
	if b.Problems.Failed() {
		n, _ := b.Problems.Count()
		return b, &ExitError{Code: 1, Message: fmt.Sprintf("%d %s in the bundle", n, plural(n, "error"))}
	}
	return b, nil
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// connect ensures a server and loads the bundle for who is signed in there.
func (f *bundleFlags) connect(ctx context.Context, errOut io.Writer) (*client.Client, *bundle.Bundle, error) {
	b, err := f.load(ctx, io.Discard, "") // so that a broken bundle starts no server
	if b == nil || err != nil {
		if b != nil {
			_, err = f.load(ctx, errOut, "")
		}
		return nil, nil, err
	}
	dir, err := stateDir(f.state)
	if err != nil {
		return nil, nil, err
	}
	c, info, started, err := EnsureServer(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	if started {
		fmt.Fprintf(errOut, "started a server: %s (state in %s)\n", info.URL, dir)
	}
	var host deployment.Host
	if err := c.Do(ctx, "GET", "/api/wherry/deployments/host", nil, &host); err != nil {
		return nil, nil, err
	}
	if host.UserName != b.User { // its paths and names carry the user's
		b, err = f.load(ctx, errOut, host.UserName)
		return c, b, err
	}
	for _, p := range b.Problems.List() { // warnings
		fmt.Fprint(errOut, b.Problems.Format(p))
	}
	return c, b, nil
}

func (f *bundleFlags) deployOptions(c *cobra.Command, b *bundle.Bundle) deploy.Options {
	opts := deploy.Options{
		ForceLock: f.forceLock, Select: f.selected, CLIVersion: Version, StandIns: !f.noStandIns && b.Mode != bundle.Production,
		Progress: func(s string) { fmt.Fprintln(c.ErrOrStderr(), s) },
		Approve: func(plan *deployment.Plan) bool {
			return f.approve || ask(c, plan)
		},
	}
	if b.BuildNeeded() {
		if e, err := environment.Open(); err == nil {
			opts.Python = e.Python
		}
	}
	return opts
}

// ask shows a plan on a terminal and asks whether to go on.
func ask(c *cobra.Command, plan *deployment.Plan) bool {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false
	}
	deploy.Print(c.ErrOrStderr(), plan)
	fmt.Fprint(c.ErrOrStderr(), "This deletes what may hold data. Go on? [y/N] ")
	var answer string
	_, _ = fmt.Fscanln(in, &answer)
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func bundleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Validate, plan, deploy, run and destroy a databricks.yml bundle",
		Long: `Works with the bundle in the working directory or above it (databricks.yml). Every target goes to the wherry
installation on this machine, whatever workspace.host says; nothing else is contacted.`,
	}
	c.AddCommand(validateCommand(), planCommand(), deployCommand(), bundleRunCommand(), summaryCommand(), destroyCommand())
	return c
}

func validateCommand() *cobra.Command {
	f := &bundleFlags{}
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check the bundle, without a server",
		Long:  "Reads the bundle with its includes, target, variables, references and files, and tells everything that is wrong with it at once, by file, line and column. Needs no sign-in and no server.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			errOut := c.ErrOrStderr()
			if f.json() {
				errOut = io.Discard
			}
			b, err := f.load(c.Context(), errOut, "")
			if b == nil {
				return err
			}
			if f.json() {
				return errors.Join(err, printJSON(c.OutOrStdout(), validated(b)))
			}
			if err != nil {
				return err
			}
			files, err := b.Files()
			if err != nil {
				return err
			}
			resources := b.Resources()
			fmt.Fprintf(c.OutOrStdout(), "bundle %s, target %s: ok, %d %s, %d %s\n", b.Name, b.Target, len(resources), plural(len(resources), "resource"), len(files), plural(len(files), "file"))
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.force, "force", false, "accept another Git branch than the target names")
	return c
}

// validated is validate's JSON document.
func validated(b *bundle.Bundle) map[string]any {
	doc := map[string]any{
		"bundle": b.Name, "target": b.Target, "mode": b.Mode, "workspace": b.Workspace, "git": b.Git, "valid": !b.Problems.Failed(),
		"problems": slices.Concat([]config.Problem{}, b.Problems.List()),
	}
	if b.Config != nil {
		doc["resources"] = b.Config.Get("resources").Plain()
	}
	return doc
}

func planCommand() *cobra.Command {
	f := &bundleFlags{}
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what a deploy would change, field by field",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, b, err := f.connect(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			plan, err := deploy.Plan(c.Context(), cl, b, f.deployOptions(c, b))
			if err != nil {
				return err
			}
			if f.json() {
				return printJSON(c.OutOrStdout(), plan)
			}
			fmt.Fprintln(c.OutOrStdout(), deploy.Where(cl, b))
			deploy.Print(c.OutOrStdout(), plan)
			return nil
		},
	}
	f.add(c)
	f.addServer(c)
	f.addDeploy(c)
	return c
}

func deployCommand() *cobra.Command {
	f := &bundleFlags{}
	c := &cobra.Command{
		Use:   "deploy",
		Short: "Deploy the bundle, whole or not at all",
		Long: `Uploads what changed and makes files and resources live in one go. If anything fails, what was deployed before stays
as it was. A deploy with nothing to do uploads nothing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, b, err := f.connect(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			report, err := deploy.Deploy(c.Context(), cl, b, f.deployOptions(c, b))
			if err != nil {
				return err
			}
			if f.json() {
				return printJSON(c.OutOrStdout(), report)
			}
			fmt.Fprintln(c.OutOrStdout(), deploy.Where(cl, b))
			deploy.PrintReport(c.OutOrStdout(), report)
			return nil
		},
	}
	f.add(c)
	f.addServer(c)
	f.addDeploy(c)
	return c
}

func summaryCommand() *cobra.Command {
	f := &bundleFlags{}
	c := &cobra.Command{
		Use:   "summary",
		Short: "Show what is deployed, with ids and pages",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, b, err := f.connect(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			s, err := deploy.Summary(c.Context(), cl, b.Workspace.Root)
			if err != nil {
				return err
			}
			if f.json() {
				return printJSON(c.OutOrStdout(), s)
			}
			fmt.Fprintln(c.OutOrStdout(), deploy.Where(cl, b))
			deploy.PrintSummary(c.OutOrStdout(), cl.URL, b, s)
			return nil
		},
	}
	f.add(c)
	f.addServer(c)
	return c
}

func destroyCommand() *cobra.Command {
	f := &bundleFlags{}
	c := &cobra.Command{
		Use:   "destroy",
		Short: "Take away what the bundle deployed",
		Long:  "Deletes the resources that deploys of this bundle and target made, and the deployed files. What was there before and was only taken into the bundle stays, and so does the history.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, b, err := f.connect(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			s, err := deploy.Summary(c.Context(), cl, b.Workspace.Root)
			if err != nil {
				return err
			}
			if s.DeploymentID == "" {
				fmt.Fprintf(c.OutOrStdout(), "nothing is deployed to %s\n", b.Workspace.Root)
				return nil
			}
			if !f.approve && !confirmDestroy(c, s) {
				return &ExitError{Code: 1, Message: fmt.Sprintf("not destroyed: this deletes %d %s; give --auto-approve", len(s.Resources), plural(len(s.Resources), "resource"))}
			}
			report, err := deploy.Destroy(c.Context(), cl, b.Workspace.Root, f.forceLock)
			if err != nil {
				return err
			}
			if f.json() {
				return printJSON(c.OutOrStdout(), report)
			}
			for _, change := range report.Resources {
				deploy.PrintChange(c.OutOrStdout(), change)
			}
			fmt.Fprintf(c.OutOrStdout(), "destroyed %s\n", b.Workspace.Root)
			return nil
		},
	}
	f.add(c)
	f.addServer(c)
	c.Flags().BoolVar(&f.approve, "auto-approve", false, "delete without asking")
	c.Flags().BoolVar(&f.forceLock, "force-lock", false, "take the lock of a deployer that went away")
	return c
}

func confirmDestroy(c *cobra.Command, s *deployment.Summary) bool {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false
	}
	fmt.Fprintf(c.ErrOrStderr(), "This deletes %d %s. Go on? [y/N] ", len(s.Resources), plural(len(s.Resources), "resource"))
	var answer string
	_, _ = fmt.Fscanln(in, &answer)
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}
