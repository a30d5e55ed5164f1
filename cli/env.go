package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	environmentsapi "github.com/wherry-ml/wherry/api/environments"
	"github.com/wherry-ml/wherry/client"
)

func envCommand() *cobra.Command {
	f := &envFlags{}
	c := &cobra.Command{
		Use:   "env",
		Short: "The environments that bundles are deployed to: who approves, what proves a deploy",
		Long: `An environment (staging, prod) is where a bundle's target leads to. It says who approves a workflow's job, which refs
may be deployed, which job verifies a deploy and whether a failed one is rolled back, and what happens to drift.
A target without one is deployed to this installation without any of that.`,
	}
	c.PersistentFlags().StringVar(&f.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
	c.AddCommand(f.listCommand(), f.showCommand(), f.setCommand(), f.deleteCommand())
	return c
}

type envFlags struct{ state, output string }

func environmentPath(name string) string { return "/api/wherry/environments/" + url.PathEscape(name) }

func (f *envFlags) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List environments and what is deployed there", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			var out struct {
				Environments []environmentsapi.Shown `json:"environments"`
			}
			if err := server.Do(c.Context(), "GET", "/api/wherry/environments", nil, &out); err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(c.OutOrStdout(), out)
			}
			if len(out.Environments) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no environment yet: `wherry env set staging` makes one; every target goes to this installation")
				return nil
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tTARGET\tGOES TO\tREVIEWERS\tVERIFIED BY\tDEPLOYED")
			for _, e := range out.Environments {
				deployed := "nothing"
				if len(e.Deployed) > 0 {
					deployed = e.Deployed[0].String()
				}
				if more := len(e.Deployed) - 1; more > 0 {
					deployed += fmt.Sprintf(" and %d more", more)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, e.DeploysFrom(), goesTo(e.Environment), orDash(strings.Join(e.Reviewers, ", ")), orDash(e.VerifyJob), deployed)
			}
			return w.Flush()
		},
	}
}

func (f *envFlags) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show an environment, and what is deployed there: version, commit, since when, verified or not", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			var e environmentsapi.Shown
			if err := server.Do(c.Context(), "GET", environmentPath(args[0]), nil, &e); err != nil {
				return err
			}
			return f.print(c, &e)
		},
	}
}

func (f *envFlags) print(c *cobra.Command, e *environmentsapi.Shown) error {
	if f.output == "json" {
		return printJSON(c.OutOrStdout(), e)
	}
	printEnvironment(c.OutOrStdout(), e)
	return nil
}

func printEnvironment(out io.Writer, e *environmentsapi.Shown) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	gate := "off: a failed verification is only marked"
	if e.Gate {
		gate = "on: a failed verification rolls the deploy back"
	}
	healing := "off: drift is only told"
	if e.SelfHeal {
		healing = "on: drift is reverted at once"
	}
	reviewers := orDash(strings.Join(e.Reviewers, ", "))
	if e.PreventSelfReview {
		reviewers += " (not who started the workflow)"
	}
	refs := "all"
	if len(e.Branches) > 0 {
		refs = strings.ReplaceAll(strings.Join(e.Branches, ", "), "refs/heads/", "")
	}
	for _, row := range [][2]string{
		{"environment", e.Name},
		{"target", e.DeploysFrom()},
		{"goes to", goesTo(e.Environment)},
		{"reviewers", reviewers},
		{"wait", fmt.Sprintf("%d minutes", e.WaitMinutes)},
		{"branches", refs},
		{"verified by", orDash(e.VerifyJob)},
		{"gate", gate},
		{"self-heal", healing},
		{"ignored fields", orDash(strings.Join(e.Ignore, ", "))},
		{"tells", cmp.Or(strings.Join(e.Notify, ", "), "the destinations of the installation")},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	for _, d := range e.Deployed {
		fmt.Fprintf(w, "deployed\t%s since %s by %s, %s\n", d, moment(d.Since), d.By, proven(d))
	}
	if len(e.Deployed) == 0 {
		fmt.Fprintf(w, "deployed\tnothing\n")
	}
	_ = w.Flush() // of a writer whose errors nobody can tell
}

// proven says whether a deployed version was verified.
func proven(d environmentsapi.Deployed) string {
	state := map[string]string{"": "not verified: no job has to", "waiting": "not verified yet", "failed": "verification failed"}[d.Verification]
	if state == "" {
		state = d.Verification
	}
	if d.VerifiedBy != 0 {
		state += fmt.Sprintf(" by run %d", d.VerifiedBy)
	}
	if d.Note != "" {
		state += " (" + d.Note + ")"
	}
	return state
}

func goesTo(e wherry.Environment) string {
	if e.Host == "" {
		return "this installation"
	}
	return e.Host
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (f *envFlags) setCommand() *cobra.Command {
	var e wherry.Environment
	var tags []string
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Make an environment, or change what the flags name",
		Example: `  wherry env set staging --verify-job smoke_test
  wherry env set prod --target production --reviewer ada@example.com --branch main --tag 'v*' --verify-job smoke_test --gate`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			e.Name = args[0]
			for _, tag := range tags {
				e.Branches = append(e.Branches, "refs/tags/"+tag)
			}
			return f.set(c, server, e)
		},
	}
	c.Flags().StringVar(&e.Target, "target", "", "the bundle target that leads here (default: the name)")
	c.Flags().StringVar(&e.Host, "host", "", "the workspace that the target goes to; empty is this installation")
	c.Flags().StringSliceVar(&e.Reviewers, "reviewer", nil, "who must approve: user name, application id or group; may be given several times, empty for nobody")
	c.Flags().BoolVar(&e.PreventSelfReview, "prevent-self-review", false, "who started a workflow cannot approve it")
	c.Flags().IntVar(&e.WaitMinutes, "wait", 0, "minutes that a job waits before it begins")
	c.Flags().StringSliceVar(&e.Branches, "branch", nil, "pattern of branches that may be deployed; empty for all")
	c.Flags().StringSliceVar(&tags, "tag", nil, "pattern of tags that may be deployed")
	c.Flags().StringVar(&e.VerifyJob, "verify-job", "", "job whose next run verifies a deploy: its key in the bundle, or its name")
	c.Flags().BoolVar(&e.Gate, "gate", false, "roll back a deploy whose verification failed")
	c.Flags().BoolVar(&e.SelfHeal, "self-heal", false, "revert drift at once")
	c.Flags().StringSliceVar(&e.Ignore, "ignore", nil, "pattern of fields that may change without being drift, such as schedule.pause_status; empty for none")
	c.Flags().StringSliceVar(&e.Notify, "notify", nil, "who is told of drift, approvals and failed verifications: e-mail address, or destination by id or name; empty for the installation's")
	return c
}

// set changes what flags were given for, and keeps the rest.
func (f *envFlags) set(c *cobra.Command, server *client.Client, flags wherry.Environment) error {
	var have environmentsapi.Shown
	err := server.Do(c.Context(), "GET", environmentPath(flags.Name), nil, &have)
	if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return err
	}
	e := have.Environment
	if err != nil {
		e.Name = flags.Name
	}
	given := func(names ...string) (any bool) {
		for _, name := range names {
			any = any || c.Flags().Changed(name)
		}
		return any
	}
	for _, set := range []struct {
		given bool
		do    func()
	}{
		{given("target"), func() { e.Target = flags.Target }},
		{given("host"), func() { e.Host = flags.Host }},
		{given("reviewer"), func() { e.Reviewers = flags.Reviewers }},
		{given("prevent-self-review"), func() { e.PreventSelfReview = flags.PreventSelfReview }},
		{given("wait"), func() { e.WaitMinutes = flags.WaitMinutes }},
		{given("branch", "tag"), func() { e.Branches = flags.Branches }},
		{given("verify-job"), func() { e.VerifyJob = flags.VerifyJob }},
		{given("gate"), func() { e.Gate = flags.Gate }},
		{given("self-heal"), func() { e.SelfHeal = flags.SelfHeal }},
		{given("ignore"), func() { e.Ignore = flags.Ignore }},
		{given("notify"), func() { e.Notify = flags.Notify }},
	} {
		if set.given {
			set.do()
		}
	}
	var out environmentsapi.Shown
	if err := server.Do(c.Context(), "PUT", environmentPath(flags.Name), e, &out); err != nil {
		return err
	}
	if c.Flags().Changed("verify-job") && out.VerifyJob != "" && len(out.Deployed) == 0 {
		fmt.Fprintf(c.ErrOrStderr(), "Nothing is deployed to %s yet: the first deploy shows whether it has the job %s.\n", out.Name, out.VerifyJob)
	}
	return f.print(c, &out)
}

func (f *envFlags) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete an environment; what is deployed there stays", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			if err := server.Do(c.Context(), "DELETE", environmentPath(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "deleted the environment %s\n", args[0])
			return nil
		},
	}
}
