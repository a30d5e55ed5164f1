package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
)

func bundleCommand(session *databricks.Session) *cobra.Command {
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Validate, plan, deploy, run and destroy a databricks.yml bundle",
		Long: `Works with the bundle in the working directory or above it (databricks.yml). Every target goes to the wherry
installation on this machine, whatever workspace.host says; nothing else is contacted.`,
	}
	c.AddCommand(validateCommand(session), planCommand(session), deployCommand(session), bundleRunCommand(session), summaryCommand(session), destroyCommand(session),
		deploymentCommand(session), openCommand(session), initCommand(), generateCommand(session))
	if session != nil {
		c.Long = "Works with the bundle in the working directory or above it (databricks.yml), and with the workspace that DATABRICKS_HOST, a profile or the bundle names."
		return c
	}
	c.AddCommand(rollbackCommand(), historyCommand()) // wherry's own
	return c
}

func validateCommand(session *databricks.Session) *cobra.Command {
	f := &bundleFlags{session: session}
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check the bundle, without a server",
		Long:  "Reads the bundle with its includes, target, variables, references and files, and tells everything that is wrong with it at once, by file, line and column. Needs no sign-in and no server.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			errOut := c.ErrOrStderr()
			if f.json() && session == nil { // its document has the problems
				errOut = io.Discard
			}
			user, err := f.user(c.Context())
			if err != nil {
				return err
			}
			b, err := f.load(c.Context(), errOut, user)
			if b == nil {
				return err
			}
			if f.json() && session != nil {
				return errors.Join(err, printJSON(c.OutOrStdout(), resolved(b, nil, "")))
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

// resolved is the whole bundle as scripts of the databricks command read it, with
// the ids and pages of what is deployed.
func resolved(b *bundle.Bundle, s *deployment.Summary, server string) any {
	doc, ok := b.Config.Plain().(map[string]any)
	if !ok || s == nil {
		return doc
	}
	kinds, _ := doc["resources"].(map[string]any)
	for kind, section := range kinds {
		resources, _ := section.(map[string]any)
		for key, r := range resources {
			one, _ := r.(map[string]any)
			id := s.Resources[kind+"."+key]
			if one == nil || id == "" {
				continue
			}
			one["id"] = id
			if page, err := resourcePage(b, kind+"."+key, s.Resources); err == nil {
				one["url"] = server + page
			}
		}
	}
	return doc
}

func planCommand(session *databricks.Session) *cobra.Command {
	f := &bundleFlags{session: session}
	c := f.command(&cobra.Command{
		Use:   "plan",
		Short: "Show what a deploy would change, field by field",
		Args:  cobra.NoArgs,
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		plan, err := deploy.Plan(c.Context(), cl, b, f.deployOptions(c, b))
		if err != nil {
			return err
		}
		return f.print(c, cl, b, plan, func(w io.Writer) { deploy.Print(w, plan) })
	})
	f.addDeploy(c)
	return c
}

func deployCommand(session *databricks.Session) *cobra.Command {
	f := &bundleFlags{session: session}
	plan, idle := "", false
	c := f.command(&cobra.Command{
		Use:   "deploy",
		Short: "Deploy the bundle, whole or not at all",
		Long: `Uploads what changed and makes files and resources live in one go. If anything fails, what was deployed before stays
as it was. A deploy with nothing to do uploads nothing.`,
		Args: cobra.NoArgs,
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		if idle {
			if err := mustBeIdle(c.Context(), cl, b); err != nil {
				return err
			}
		}
		opts := f.deployOptions(c, b)
		if plan != "" {
			var err error
			if opts.Plan, err = deploy.ReadPlan(plan); err != nil {
				return err
			}
		}
		report, err := deploy.Deploy(c.Context(), cl, b, opts)
		if err != nil {
			return err
		}
		return f.print(c, cl, b, report, func(w io.Writer) { deploy.PrintReport(w, report) })
	})
	f.addDeploy(c)
	c.Flags().BoolVar(&idle, "fail-on-active-runs", false, "do not deploy while a run of the bundle's jobs goes on")
	c.Flags().StringVar(&plan, "plan", "", "do what this file says, written by `wherry bundle plan -o json`, and nothing else")
	return c
}

// mustBeIdle fails if a job of what is deployed has a run that goes on.
func mustBeIdle(ctx context.Context, cl *client.Client, b *bundle.Bundle) error {
	s, err := deploy.Summary(ctx, cl, b.Workspace.Root)
	if err != nil {
		return err
	}
	for key, value := range s.Resources {
		id, err := strconv.ParseInt(value, 10, 64)
		if kind, name, _ := strings.Cut(key, "."); kind != "jobs" || strings.Contains(name, ".") || err != nil {
			continue
		}
		runs, err := run.Active(ctx, cl, id)
		if err != nil {
			return err
		}
		if len(runs) > 0 {
			return &ExitError{Code: 1, Message: fmt.Sprintf("not deployed: the run %d of %s goes on (--fail-on-active-runs)", runs[0], key)}
		}
	}
	return nil
}

func summaryCommand(session *databricks.Session) *cobra.Command {
	f := &bundleFlags{session: session}
	return f.command(&cobra.Command{
		Use:   "summary",
		Short: "Show what is deployed, with ids and pages",
		Args:  cobra.NoArgs,
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		s, err := deploy.Summary(c.Context(), cl, b.Workspace.Root)
		if err != nil {
			return err
		}
		var answer any = s
		if session != nil {
			answer = resolved(b, s, cl.URL)
		}
		return f.print(c, cl, b, answer, func(w io.Writer) { deploy.PrintSummary(w, cl.URL, b, s) })
	})
}

func destroyCommand(session *databricks.Session) *cobra.Command {
	f := &bundleFlags{session: session}
	c := f.command(&cobra.Command{
		Use:   "destroy",
		Short: "Take away what the bundle deployed",
		Long:  "Deletes the resources that deploys of this bundle and target made, and the deployed files. What was there before and was only taken into the bundle stays, and so does the history.",
		Args:  cobra.NoArgs,
	}, f.destroy)
	c.Flags().BoolVar(&f.approve, "auto-approve", false, "delete without asking")
	c.Flags().BoolVar(&f.forceLock, "force-lock", false, "take the lock of a deployer that went away")
	return c
}

func (f *bundleFlags) destroy(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
	s, err := deploy.Summary(c.Context(), cl, b.Workspace.Root)
	if err != nil {
		return err
	}
	if s.DeploymentID == "" {
		fmt.Fprintf(c.OutOrStdout(), "nothing is deployed to %s\n", b.Workspace.Root)
		return nil
	}
	what := fmt.Sprintf("this deletes %d %s", len(s.Resources), plural(len(s.Resources), "resource"))
	if !f.approve && !confirm(c, what) {
		return &ExitError{Code: 1, Message: fmt.Sprintf("not destroyed: %s; give --auto-approve", what)}
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
	where := ""
	if cl.Workspace != "" {
		where = " in " + workspaceName(cl.Workspace)
	}
	fmt.Fprintf(c.OutOrStdout(), "destroyed %s%s\n", b.Workspace.Root, where)
	return nil
}
