package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/store/drift"
)

func driftCommand() *cobra.Command {
	f := &driftFlags{}
	c := &cobra.Command{
		Use:   "drift",
		Short: "Compare what is deployed with what is there: what was changed, by whom",
		Long: `Compares every resource of the deployments with what was deployed. A change by anyone but a deploy is drift, with who
made it and what was before. It has two ways out: revert, which writes the deployed settings back, and adopt, which
writes the change into the bundle's YAML for the next deploy. In sync and healthy are told apart: the second is whether
the last runs of the jobs succeeded.`,
		Args: cobra.NoArgs,
		RunE: f.list,
	}
	c.PersistentFlags().StringVar(&f.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&f.target, "target", "t", "", "only deployments of this bundle target")
	c.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
	c.Flags().BoolVar(&f.exitCode, "exit-code", false, "end with 1 if there is drift, or something could not be compared")
	c.Flags().BoolVar(&f.all, "all", false, "what was settled, too")
	c.AddCommand(f.revertCommand(), f.adoptCommand())
	return c
}

type driftFlags struct {
	state, target, output string
	exitCode, all         bool
}

func (f *driftFlags) report(c *cobra.Command) (*client.Client, *deployments.DriftReport, error) {
	server, err := localServer(c, f.state)
	if err != nil {
		return nil, nil, err
	}
	out := &deployments.DriftReport{}
	path := "/api/wherry/drift?target=" + url.QueryEscape(f.target)
	if f.all {
		path += "&all=true"
	}
	return server, out, server.Do(c.Context(), "GET", path, nil, out)
}

func (f *driftFlags) list(c *cobra.Command, _ []string) error {
	_, report, err := f.report(c)
	if err != nil {
		return err
	}
	if f.output == "json" {
		if err := printJSON(c.OutOrStdout(), report); err != nil {
			return err
		}
	} else {
		printDrift(c.OutOrStdout(), report)
	}
	unsure := slices.ContainsFunc(report.Deployments, func(d deployments.Synced) bool { return d.Trouble != "" })
	if f.exitCode && (unsure || len(openDrift(report)) > 0) {
		return &ExitError{Code: 1}
	}
	return nil
}

// openDrift is all that has drifted, of deployments and of Terraform.
func openDrift(r *deployments.DriftReport) (list []drift.Drift) {
	for _, d := range r.Deployments {
		list = append(list, d.Drift...)
	}
	return append(list, r.Infra...)
}

func printDrift(out io.Writer, r *deployments.DriftReport) {
	if len(r.Deployments) == 0 && len(r.Infra) == 0 {
		fmt.Fprintln(out, "nothing is deployed")
	}
	for _, d := range r.Deployments {
		line := fmt.Sprintf("%s, target %s, version %d", d.Bundle, d.Target, d.Version)
		if d.Commit != "" {
			line += fmt.Sprintf(", commit %.12s", d.Commit)
		}
		if d.Workspace != "" {
			line += ", in the workspace " + d.Workspace
		}
		fmt.Fprintf(out, "%s: %s, %s\n", line, d.Sync, d.Health)
		if d.Trouble != "" {
			fmt.Fprintf(out, "  %s\n", d.Trouble)
		}
		for _, name := range d.Failing {
			fmt.Fprintf(out, "  the last run of %s failed\n", name)
		}
		for _, x := range d.Drift {
			printOneDrift(out, x)
		}
	}
	if len(r.Infra) > 0 {
		fmt.Fprintln(out, "infrastructure: drifted (the next terraform apply brings it back)")
		for _, x := range r.Infra {
			printOneDrift(out, x)
		}
	}
	if len(r.History) > 0 {
		fmt.Fprintln(out, "settled:")
		for _, x := range r.History {
			target := ""
			for _, d := range r.Deployments {
				if d.DeploymentID == x.DeploymentID {
					target = d.Bundle + "/" + d.Target + " "
				}
			}
			fmt.Fprintf(out, "  %d %s%s %s by %s, %s by %s at %s\n", int64(x.ID), target, x.Resource, x.Kind, whoever(x.Actor), x.Way, whoever(x.SettledBy), moment(x.SettledAt))
		}
	}
}

func printOneDrift(out io.Writer, d drift.Drift) {
	note := ""
	if d.State == drift.Adopted {
		note = ", adopted: waits for the next deploy"
	} else if d.Note != "" {
		note = ", " + d.Note
	}
	fmt.Fprintf(out, "  %s was %s by %s at %s%s\n", d.Resource, d.Kind, whoever(d.Actor), moment(d.FoundAt), note)
	for _, field := range d.Fields {
		fmt.Fprintf(out, "    %s: %s → %s\n", field.Path, inBrief(field.Before), inBrief(field.After))
	}
}

func whoever(name string) string {
	if name == "" {
		return "nobody we saw"
	}
	return name
}

func moment(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// inBrief is a value in JSON, cut where a line would not show it.
func inBrief(v any) string {
	if v == nil {
		return "(none)"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if r := []rune(string(b)); len(r) > 120 {
		return string(r[:119]) + "…"
	}
	return string(b)
}

// chosen are the open drifts of deployments that a key names, all without one.
func (f *driftFlags) chosen(c *cobra.Command, args []string) (*client.Client, []drift.Drift, error) {
	server, report, err := f.report(c)
	if err != nil {
		return nil, nil, err
	}
	var list []drift.Drift
	for _, d := range report.Deployments {
		for _, x := range d.Drift {
			if len(args) == 0 || x.Resource == args[0] || fmt.Sprint(int64(x.ID)) == args[0] {
				list = append(list, x)
			}
		}
	}
	if len(list) == 0 && len(args) > 0 {
		return nil, nil, &ExitError{Code: 1, Message: fmt.Sprintf("%s has not drifted: `wherry drift` shows what has", args[0])}
	}
	return server, list, nil
}

func (f *driftFlags) revertCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revert [KEY]", Short: "Write the deployed settings back, of one resource or of all", Args: cobra.MaximumNArgs(1),
		Long: "Writes the settings that were deployed over what drifted. A deleted resource is made anew; the data it held is not brought back.",
		RunE: func(c *cobra.Command, args []string) error {
			server, list, err := f.chosen(c, args)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing has drifted")
			}
			for _, x := range list {
				var d drift.Drift
				if err := server.Do(c.Context(), "POST", fmt.Sprintf("/api/wherry/drift/%d/revert", int64(x.ID)), map[string]any{}, &d); err != nil {
					return fmt.Errorf("%s: %w", x.Resource, err)
				}
				fmt.Fprintf(c.OutOrStdout(), "reverted %s\n", x.Resource)
				if x.Kind == drift.Deleted {
					fmt.Fprintln(c.OutOrStdout(), "  it was made anew under another id; deploy again if other resources name it by its id")
				}
			}
			return nil
		},
	}
}
