package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
)

// bundleFlags are the flags of every command that loads a bundle.
type bundleFlags struct {
	// session is who calls and where, if the command is databricks; nil for
	// the installation on this machine.
	session                    *databricks.Session
	dir, target, state, output string
	vars                       []string
	force, forceLock, approve  bool
	clusterID                  string
	noStandIns                 bool
	namespace                  string
	pullRequest                int
	selected                   []string
	// workspace is the one that was named; deploys says that the command makes
	// what is not there, where others work on what is.
	workspace string
	deploys   bool
}

func (f *bundleFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.target, "target", "t", "", "the target (default: the one with default: true)")
	c.Flags().StringArrayVar(&f.vars, "var", nil, "set a variable, as name=value; may be given several times")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	c.Flags().StringVar(&f.dir, "dir", "", "a folder of the bundle (default: the working directory)")
	c.Flags().StringVar(&f.namespace, "namespace", "", "the target beside itself, below a root path and with names of its own, as in pr-12")
	c.Flags().IntVar(&f.pullRequest, "pr", 0, "the namespace of a pull request: --pr 12 is --namespace pr-12")
	_ = c.RegisterFlagCompletionFunc("target", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return bundle.TargetNames(f.dir), cobra.ShellCompDirectiveNoFileComp
	})
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// addServer adds the flags of commands that talk to a server.
func (f *bundleFlags) addServer(c *cobra.Command) {
	if f.session != nil {
		return
	}
	c.Flags().StringVar(&f.state, "state", "", "state directory of the server (default: wherry below XDG_STATE_HOME); one is started if none runs")
	workspaceFlag(c, &f.workspace, "where the target is deployed")
}

func (f *bundleFlags) addDeploy(c *cobra.Command) {
	f.deploys = true
	c.Flags().BoolVar(&f.force, "force", false, "deploy from another Git branch than the target names")
	c.Flags().BoolVar(&f.forceLock, "force-lock", false, "take the lock of a deployer that went away")
	c.Flags().BoolVar(&f.approve, "auto-approve", false, "delete and make anew what may hold data without asking")
	c.Flags().StringVarP(&f.clusterID, "cluster-id", "c", "", "run all tasks on this cluster (mode: development only)")
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
	if f.pullRequest > 0 {
		f.namespace = fmt.Sprintf("pr-%d", f.pullRequest)
	}
	b, err := bundle.Load(ctx, bundle.Options{Namespace: f.namespace, Dir: f.dir, Target: f.target, Vars: vars, User: user, Force: f.force, ClusterID: f.clusterID})
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
	c, err := f.server(ctx, errOut, b)
	if err != nil {
		return nil, nil, err
	}
	var host deployment.Host
	if err := c.Do(ctx, "GET", "/api/wherry/deployments/host", nil, &host); err != nil {
		return nil, nil, err
	}
	if host.UserName != b.User { // its paths and names carry the user's
		if b, err = f.load(ctx, errOut, host.UserName); err != nil {
			return c, b, err
		}
	} else {
		for _, p := range b.Problems.List() { // warnings
			fmt.Fprint(errOut, b.Problems.Format(p))
		}
	}
	c, err = f.place(ctx, c, b)
	return c, b, err
}

// user is who is signed in where the session goes, "" if nothing says where: a
// bundle can be checked without.
func (f *bundleFlags) user(ctx context.Context) (string, error) {
	if f.session == nil {
		return "", nil
	}
	b, err := f.load(ctx, io.Discard, "")
	if b == nil || err != nil || !f.session.Configured(b.Workspace.Host, profileOf(b)) {
		return "", nil //nolint:nilerr // what is wrong with the bundle is told when it is loaded
	}
	c, err := f.server(ctx, io.Discard, b)
	if err != nil {
		return "", err
	}
	var host deployment.Host
	return host.UserName, c.Do(ctx, "GET", "/api/wherry/deployments/host", nil, &host)
}

// profileOf is the profile that a bundle signs in with.
func profileOf(b *bundle.Bundle) string { return b.Config.Get("workspace", "profile").Text() }

// server is who the bundle goes to: the workspace that the session names, or
// the server of the state directory, which is started if none runs.
func (f *bundleFlags) server(ctx context.Context, errOut io.Writer, b *bundle.Bundle) (*client.Client, error) {
	if f.session != nil {
		return f.session.Connect(ctx, b.Workspace.Host, profileOf(b))
	}
	dir, err := stateDir(f.state)
	if err != nil {
		return nil, err
	}
	c, info, started, err := EnsureServer(ctx, dir)
	if started {
		fmt.Fprintf(errOut, "started a server: %s (state in %s)\n", info.URL, dir)
	}
	return c, err
}

func (f *bundleFlags) deployOptions(c *cobra.Command, b *bundle.Bundle) deploy.Options {
	opts := deploy.Options{
		ForceLock: f.forceLock, Select: f.selected, CLIVersion: Version, StandIns: !f.noStandIns && b.Mode != bundle.Production,
		Progress: func(s string) { fmt.Fprintln(c.ErrOrStderr(), s) },
		Approve: func(plan *deployment.Plan) bool {
			if f.approve {
				return true
			}
			deploy.Print(c.ErrOrStderr(), plan)
			return confirm(c, "This deletes what may hold data")
		},
	}
	if b.BuildNeeded() {
		if e, err := environment.Open(); err == nil {
			opts.Python = e.Python
		}
	}
	return opts
}

// confirm asks on a terminal whether to go on; elsewhere the answer is no.
func confirm(c *cobra.Command, what string) bool {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s. Go on? [y/N] ", what)
	var answer string
	_, _ = fmt.Fscanln(in, &answer)
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// command completes a command that works on a bundle and its server.
func (f *bundleFlags) command(c *cobra.Command, do func(*cobra.Command, *client.Client, *bundle.Bundle) error) *cobra.Command {
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, b, err := f.connect(c.Context(), c.ErrOrStderr())
		if err != nil {
			return err
		}
		return do(c, cl, b)
	}
	f.add(c)
	f.addServer(c)
	return c
}

// print shows an answer as JSON, or as text below the line that says where it
// is from.
func (f *bundleFlags) print(c *cobra.Command, cl *client.Client, b *bundle.Bundle, answer any, text func(io.Writer)) error {
	if f.json() {
		return printJSON(c.OutOrStdout(), answer)
	}
	fmt.Fprintln(c.OutOrStdout(), deploy.Where(cl, b))
	text(c.OutOrStdout())
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
