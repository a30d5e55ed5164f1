package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
)

// rollbackCommand deploys a former version again.
func rollbackCommand() *cobra.Command {
	f, in := &bundleFlags{}, deployment.Rollback{}
	c := f.command(&cobra.Command{
		Use:   "rollback",
		Short: "Deploy a former version again",
		Long: `Makes the files, resources, permissions and grants those of a former version: the one before the live one, or that of
--to. It is a new version that names the one it restores; "wherry bundle history" lists them. What may hold data and is
newer than that version stays, unless --auto-approve is given.`,
		Args: cobra.NoArgs,
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		if c.Flags().Changed("to") && in.Version < 1 {
			return &ExitError{Code: 2, Message: fmt.Sprintf("there is no version %d to go back to: versions start at 1 (`wherry bundle history` lists them); without --to it is the one before the live one", in.Version)}
		}
		in.AllowDataLoss, in.ForceLock = f.approve, f.forceLock
		s, err := f.deployed(c, cl, b)
		if err != nil {
			return err
		}
		report, err := deploy.Rollback(c.Context(), cl, s.DeploymentID, in)
		if err != nil {
			return err
		}
		return f.print(c, cl, b, report, func(w io.Writer) { deploy.PrintRollback(w, report) })
	})
	c.Flags().Int64Var(&in.Version, "to", 0, "the version to go back to (default: the one before the live one)")
	c.Flags().BoolVar(&f.approve, "auto-approve", false, "delete and make anew what may hold data")
	c.Flags().BoolVar(&f.forceLock, "force-lock", false, "take the lock of a deployer that went away")
	return c
}

// deployed is what is deployed of a bundle; an error if nothing is.
func (f *bundleFlags) deployed(c *cobra.Command, cl *client.Client, b *bundle.Bundle) (*deployment.Summary, error) {
	s, err := deploy.Summary(c.Context(), cl, b.Workspace.Root)
	if err == nil && s.DeploymentID == "" {
		err = nothing(b)
	}
	return s, err
}

func nothing(b *bundle.Bundle) error {
	return wherry.Errorf(wherry.CodeDoesNotExist, "nothing is deployed to %s: run `wherry bundle deploy` first", b.Workspace.Root)
}

// historyCommand lists the versions of what is deployed.
func historyCommand() *cobra.Command {
	f := &bundleFlags{}
	return f.command(&cobra.Command{
		Use:   "history",
		Short: "List the versions that were deployed, and who destroyed them",
		Args:  cobra.NoArgs,
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		s, err := deploy.Last(c.Context(), cl, b.Workspace.Root)
		if err != nil {
			return err
		}
		if s.DeploymentID == "" {
			return nothing(b)
		}
		h, err := deploy.History(c.Context(), cl, s.DeploymentID)
		if err != nil {
			return err
		}
		return f.print(c, cl, b, h, func(w io.Writer) { printHistory(w, h.Versions) })
	})
}

func printHistory(w io.Writer, list []deployment.Version) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tWHEN\tBY\tCOMMIT\tSTATUS")
	for _, v := range list {
		status, commit := v.Status, short(v.Git.Commit)
		if v.DirtyDigest != "" {
			commit += " (uncommitted files)"
		}
		if v.RolledBackTo > 0 {
			status += fmt.Sprintf(" to version %d", v.RolledBackTo)
		}
		if v.Restores > 0 {
			status += fmt.Sprintf(", restores version %d", v.Restores)
		}
		if v.Type == "destroy" {
			status += ", destroyed"
		}
		if v.Note != "" {
			status += ": " + v.Note
		}
		if v.Live {
			status += ", live"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", v.Version, time.UnixMilli(v.CreatedAt).Format(time.DateTime), v.CreatedBy, strings.TrimSpace(commit), status)
	}
	_ = table.Flush() // as the prints before it
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 12)] }
