package cli

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/trace/rows"
)

func traceCommand() *cobra.Command {
	var dir, output string
	c := &cobra.Command{Use: "trace", Short: "Where does a row come from, and what did a commit touch?"}
	c.PersistentFlags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&output, "output", "o", "text", "text or json")
	var where string
	table := &cobra.Command{
		Use:     "table NAME --row CONDITION",
		Short:   "Trace a row of a table back to the commit",
		Example: `  wherry trace table main.flights.predictions --row "flight_id = 'UA-1545-EWR-20130101-515'"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, dir)
			if err != nil {
				return err
			}
			found, err := rows.Find(c.Context(), server, args[0], where, 1, nil)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fmt.Errorf("no row of %s has %s", args[0], where)
			}
			answer, err := rows.Trace(c.Context(), server, args[0], found[0])
			if err != nil {
				return err
			}
			return printAnswer(c.OutOrStdout(), answer, output)
		},
	}
	table.Flags().StringVar(&where, "row", "", "an SQL condition that holds for the row")
	_ = table.MarkFlagRequired("row")
	commit := &cobra.Command{
		Use:   "commit SHA",
		Short: "Show everything that came of a commit; HEAD, branches, tags and short ids are those of the working directory's repository",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, dir)
			if err != nil {
				return err
			}
			g, err := rows.Walk(c.Context(), server, graph.Ref{Kind: graph.Commit, Key: commitID(c.Context(), args[0])}, false)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), g)
			}
			printGraph(c.OutOrStdout(), g, false)
			return nil
		},
	}
	c.AddCommand(table, commit, provenanceCommand(&dir), verifyCommand(&dir))
	return c
}

// wholeID is the id of a commit, which needs no repository to be known.
var wholeID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// commitID is the id of the commit that a name means to git in the working
// directory; the name itself where it means none.
func commitID(ctx context.Context, name string) string {
	if wholeID.MatchString(name) {
		return name
	}
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}").Output()
	if err != nil {
		return name
	}
	return strings.TrimSpace(string(out))
}

func localServer(c *cobra.Command, dir string) (*client.Client, error) {
	st, err := stateDir(dir)
	if err != nil {
		return nil, err
	}
	server, _, err := client.Local(c.Context(), st)
	return server, err
}

func printAnswer(out io.Writer, a *rows.Answer, output string) error {
	if output == "json" {
		return printJSON(out, a)
	}
	switch {
	case len(a.Origins) == 0:
		fmt.Fprintln(out, "the commit that wrote this row is no longer in the table's log")
		return nil
	case !a.Exact:
		fmt.Fprintln(out, "the row's file was rewritten since; the row came from one of these commits:")
		for _, o := range a.Origins {
			writer := "unknown writer"
			if o.RunID != 0 {
				writer = fmt.Sprintf("task run %d", o.RunID)
			}
			fmt.Fprintf(out, "  version %d, %s, %s\n", o.Version, o.Operation, writer)
		}
		fmt.Fprintln(out, "The trace of the first:")
	}
	printGraph(out, a.Graph, true)
	return nil
}

func printGraph(out io.Writer, g *trace.Graph, backwards bool) {
	printTree(out, g.AsTree(backwards), "")
	if g.Truncated {
		fmt.Fprintf(out, "There is more: this is the part of the %d things that are nearest.\n", len(g.Nodes))
	}
}

// printTree draws a node and what lies behind it, one a line.
func printTree(out io.Writer, t *trace.Tree, indent string) {
	if t == nil {
		return
	}
	rel := ""
	if t.Rel != "" {
		rel = t.Rel + " "
	}
	line := indent + rel + title(t.Node)
	if t.Digest != "" {
		line += fmt.Sprintf("  (%.19s)", t.Digest)
	}
	fmt.Fprintln(out, line)
	for _, child := range t.Children {
		printTree(out, child, indent+"  ")
	}
}
