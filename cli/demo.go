package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/demo"
	"github.com/wherry-ml/wherry/state"
)

func demoCommand() *cobra.Command {
	var dir string
	var keep, asJSON, cicd bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a real project from its commit to traced predictions",
		Long: "Sets up what is needed, starts a server, deploys examples/flights from a commit, runs its job and shows what came out:\n" +
			"metrics, model, predictions, and the trace of one of them back to the commit. Run again, a new version competes with the champion.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := stateDir(dir)
			if err != nil {
				return err
			}
			if cicd {
				return runDelivery(c, st, keep, asJSON)
			}
			return runDemo(c, st, keep, asJSON)
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.Flags().BoolVar(&cicd, "cicd", false, "take a new project from its first commit to production instead: workflows, Terraform, approval, verification, drift")
	c.Flags().BoolVar(&keep, "serve", false, "leave the server running")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document and nothing else on standard output")
	return c
}

func runDemo(c *cobra.Command, dir state.Dir, keep, asJSON bool) error {
	ctx, out := c.Context(), c.OutOrStdout()
	if asJSON {
		out = c.ErrOrStderr() // progress
	}
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	env, err := runSetup(ctx, out)
	if err != nil {
		return err
	}
	archiveClasses(ctx, env, out)
	server, info, started, err := EnsureServer(ctx, dir)
	if err != nil {
		return err
	}
	say("server %s, state in %s", info.URL, dir)
	if started && !keep {
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			_, _ = StopServer(ctx, dir) // one that does not end goes on by itself
		}()
	}
	d := &demo.Demo{State: dir, Environment: env, Client: server, Server: info, Say: say, Tail: func(ctx context.Context, id int64) (*run.Result, error) {
		return tailRun(ctx, server, id, out)
	}}
	report, err := d.Run(ctx)
	if asJSON {
		b, jerr := json.MarshalIndent(report, "", "  ")
		if jerr != nil {
			return jerr
		}
		fmt.Fprintln(c.OutOrStdout(), string(b))
	} else {
		printReport(out, report)
	}
	if err == nil && (!started || keep) {
		say("\nThe server runs on: sign in to its pages with the token in %s", dir.Path("admin-token"))
	}
	return err
}

// tailRun shows a run on out, which changes in place if it is a terminal.
func tailRun(ctx context.Context, c *client.Client, id int64, out io.Writer) (*run.Result, error) {
	f, ok := out.(*os.File)
	return run.Tail(ctx, c, id, out, ok && term.IsTerminal(int(f.Fd())))
}

func printReport(out io.Writer, r *demo.Report) {
	fmt.Fprintf(out, "\n%-18s %-10s %10s %10s\n", "TASK", "RESULT", "SET-UP", "EXECUTION")
	for _, t := range r.Tasks {
		fmt.Fprintf(out, "%-18s %-10s %10s %10s\n", t.Key, t.ResultState, run.Duration(t.SetupMS), run.Duration(t.ExecutionMS))
	}
	if len(r.Metrics) > 0 {
		fmt.Fprintf(out, "\n%-24s %10s %10s\n", "METRIC", "version "+r.Model.Version, "before")
		for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
			before := "–"
			if v, ok := r.Previous[name]; ok {
				before = fmt.Sprintf("%.4f", v)
			}
			fmt.Fprintf(out, "%-24s %10.4f %10s\n", name, r.Metrics[name], before)
		}
		fmt.Fprintf(out, "\nMODEL %s version %s, aliases %v\n", r.Model.Name, r.Model.Version, r.Model.Aliases)
	}
	if len(r.Predictions.Sample) > 0 {
		fmt.Fprintf(out, "\nPREDICTIONS %s: %d rows\n", r.Predictions.Table, r.Predictions.Rows)
		for _, row := range r.Predictions.Sample {
			fmt.Fprintf(out, "  %v  %v→%v  late %.3f  model version %v\n", row["flight_id"], row["origin"], row["dest"], row["late_probability"], row["model_version"])
		}
	}
	if r.Tree != nil {
		fmt.Fprintln(out, "\nTRACE of the first")
		printTree(out, r.Tree, "")
	}
	fmt.Fprintln(out)
	for _, name := range slices.Sorted(maps.Keys(r.URLs)) {
		fmt.Fprintf(out, "%-8s %s\n", name, r.URLs[name])
	}
	fmt.Fprintf(out, "%.1f s\n", r.Seconds)
}
