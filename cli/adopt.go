package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/adopt"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/drift"
)

func (f *driftFlags) adoptCommand() *cobra.Command {
	dir := ""
	c := &cobra.Command{
		Use: "adopt [KEY]", Short: "Write what drifted into the bundle's YAML, of one resource or of all", Args: cobra.MaximumNArgs(1),
		Long: `Writes the changes into the files of the bundle in the working directory, value by value at the place where each is
written, and prints the patch; comments and order stay. Commit it and deploy: the deploy settles the drift.`,
		RunE: func(c *cobra.Command, args []string) error { return f.adopt(c, dir, args) },
	}
	c.Flags().StringVar(&dir, "dir", "", "a folder of the bundle (default: the working directory)")
	return c
}

func (f *driftFlags) adopt(c *cobra.Command, dir string, args []string) error {
	server, list, err := f.chosen(c, args)
	if err != nil {
		return err
	}
	var host deployment.Host
	if err := server.Do(c.Context(), "GET", "/api/wherry/deployments/host", nil, &host); err != nil {
		return err
	}
	flags := &bundleFlags{dir: dir, target: f.target, output: "text", force: true}
	b, err := flags.load(c.Context(), c.ErrOrStderr(), host.UserName)
	if err != nil {
		return err
	}
	_, report, err := f.report(c)
	if err != nil {
		return err
	}
	list = ofBundle(report, b, list)
	if len(list) == 0 {
		return f.driftedElsewhere(c, b)
	}
	var fields []adopt.Field
	for _, d := range list {
		for _, x := range d.Fields {
			fields = append(fields, adopt.Field{Resource: d.Resource, Path: x.Path, Before: x.Before, After: x.After})
		}
	}
	patch, err := adopt.Make(b.Root, b.Config, fields)
	if err != nil {
		return err
	}
	if err := patch.Write(); err != nil {
		return err
	}
	if _, err := c.OutOrStdout().Write(patch.Diff()); err != nil {
		return err
	}
	for _, d := range list {
		if adoptedWhole(patch, d) {
			if err := server.Do(c.Context(), "POST", fmt.Sprintf("/api/wherry/drift/%d/adopt", int64(d.ID)), map[string]any{}, nil); err != nil {
				return err
			}
		}
	}
	return printLeft(c.OutOrStdout(), patch, list)
}

// driftedElsewhere is the error of a target of a bundle that has not drifted: it
// names those that have.
func (f *driftFlags) driftedElsewhere(c *cobra.Command, b *bundle.Bundle) error {
	everywhere := *f
	everywhere.target = ""
	_, report, err := everywhere.report(c)
	if err != nil {
		return err
	}
	var targets []string
	for _, s := range report.Deployments {
		if s.Bundle == b.Name && s.Target != b.Target && len(s.Drift) > 0 {
			targets = append(targets, s.Target)
		}
	}
	way := ""
	if len(targets) > 0 {
		slices.Sort(targets)
		way = fmt.Sprintf(", but of target %s: give --target", strings.Join(slices.Compact(targets), " and of target "))
	}
	return &ExitError{Code: 1, Message: fmt.Sprintf("nothing of this bundle has drifted at %s (target %s)%s", b.Workspace.Root, b.Target, way)}
}

// ofBundle leaves the drift of the deployment of a bundle.
func ofBundle(r *deployments.DriftReport, b *bundle.Bundle, list []drift.Drift) (kept []drift.Drift) {
	for _, s := range r.Deployments {
		for _, d := range list {
			if s.RootPath == b.Workspace.Root && d.DeploymentID == s.DeploymentID {
				kept = append(kept, d)
			}
		}
	}
	return kept
}

// adoptedWhole tells whether the patch has all that differs in a resource.
func adoptedWhole(p *adopt.Patch, d drift.Drift) bool {
	for _, l := range p.Left {
		if l.Resource == d.Resource {
			return false
		}
	}
	return len(d.Fields) > 0
}

// printLeft tells what was not adopted; it is an error if there is any.
func printLeft(out io.Writer, p *adopt.Patch, list []drift.Drift) error {
	left := len(p.Left)
	for _, l := range p.Left {
		fmt.Fprintf(out, "not adopted: %s %s: %s\n", l.Resource, l.Path, l.Why)
	}
	for _, d := range list {
		if d.Kind == drift.Deleted {
			left++
			fmt.Fprintf(out, "not adopted: %s was deleted: take it out of the bundle by hand, or revert\n", d.Resource)
		}
	}
	if left > 0 {
		return &ExitError{Code: 1, Message: fmt.Sprintf("%d %s left to do by hand", left, plural(left, "change"))}
	}
	fmt.Fprintln(out, "adopted: commit it and deploy")
	return nil
}
