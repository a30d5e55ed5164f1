package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
)

// runFlags say how a job is run.
type runFlags struct {
	params, only []string
	noWait       bool
	restart      bool
	// session is as bundleFlags has it: the error then says how a run ended, and
	// parameters of tasks may be given.
	session *databricks.Session
	named   map[string]*map[string]string // parameters of tasks by their field
	listed  map[string]*[]string
	behind  map[string]string // job parameters behind --
}

func (f *runFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.params, "params", nil, "job parameters, as name=value, several with commas or by giving the flag again")
	c.Flags().StringSliceVar(&f.only, "only", nil, "run these tasks only; +a takes in what is above a, a+ what is below")
	c.Flags().BoolVar(&f.noWait, "no-wait", false, "start the run and do not wait for it")
	c.Flags().BoolVar(&f.restart, "restart", false, "cancel the job's runs that are going on first")
	if f.session == nil {
		return
	}
	f.named, f.listed = map[string]*map[string]string{}, map[string]*[]string{}
	for _, kind := range []string{"notebook", "python-named", "sql"} {
		f.named[field(kind)] = c.Flags().StringToString(kind+"-params", nil, "parameters of the job's "+kind+" tasks, for a job that declares none")
	}
	for _, kind := range []string{"python", "jar", "spark-submit"} {
		f.listed[field(kind)] = c.Flags().StringSlice(kind+"-params", nil, "parameters of the job's "+kind+" tasks, for a job that declares none")
	}
}

// field is a kind of task's parameters as run-now names them.
func field(kind string) string { return strings.ReplaceAll(kind, "-", "_") + "_params" }

// check tells wrong flags before anything is started.
func (f *runFlags) check(*cobra.Command, []string) error {
	_, err := f.options()
	return err
}

func (f *runFlags) options() (run.Options, error) {
	opts := run.Options{Parameters: map[string]string{}, OfTasks: map[string]any{}, Only: f.only, Restart: f.restart}
	for _, p := range f.params {
		for _, pair := range splitParams(p) {
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				return opts, &ExitError{Code: 2, Message: fmt.Sprintf("--params %s: write it as name=value", pair)}
			}
			opts.Parameters[name] = value
		}
	}
	maps.Copy(opts.Parameters, f.behind)
	for kind, values := range f.named {
		if len(*values) > 0 {
			opts.OfTasks[kind] = *values
		}
	}
	for kind, values := range f.listed {
		if len(*values) > 0 {
			opts.OfTasks[kind] = *values
		}
	}
	return opts, nil
}

// rest takes what stands behind -- as job parameters: --name=value or --name
// value.
func (f *runFlags) rest(args []string) error {
	f.behind = map[string]string{}
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			return &ExitError{Code: 2, Message: fmt.Sprintf("%s behind --: write a job parameter as --name=value", args[i])}
		}
		if !strings.Contains(name, "=") {
			if i++; i == len(args) {
				return &ExitError{Code: 2, Message: fmt.Sprintf("the job parameter %s has no value", name)}
			}
			name += "=" + args[i]
		}
		name, value, _ := strings.Cut(name, "=")
		f.behind[name] = value
	}
	return nil
}

// splitParams splits a=1,b=2 at commas that begin another name=value.
func splitParams(s string) (pairs []string) {
	for part := range strings.SplitSeq(s, ",") {
		if strings.Contains(part, "=") || len(pairs) == 0 {
			pairs = append(pairs, part)
		} else {
			pairs[len(pairs)-1] += "," + part
		}
	}
	return pairs
}

// runCommand is the short way: deploy the working tree and run a job.
func runCommand() *cobra.Command {
	f, rf := &bundleFlags{}, &runFlags{}
	c := &cobra.Command{
		Use:   "run [JOB]",
		Short: "Deploy this project from the working tree, run a job and follow it",
		Long: `Starts or reuses the local server, deploys the default target from the working tree (uncommitted changes are
recorded by their digest), runs the job with the given key, follows it and exits with 0 only if it succeeds. Without
JOB the bundle must have one job. Nothing is written to the project's Git repository. What the project takes for
granted and does not find is made as a stand-in and listed.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeJobs(f),
		PreRunE:           rf.check,
		RunE: func(c *cobra.Command, args []string) error {
			cl, b, key, err := f.connectJob(c, args)
			if err != nil {
				return err
			}
			if _, err := runSetup(c.Context(), c.ErrOrStderr()); err != nil {
				return err
			}
			report, err := deploy.Deploy(c.Context(), cl, b, f.deployOptions(c, b))
			if err != nil {
				return err
			}
			progress := c.OutOrStdout()
			if f.json() {
				progress = c.ErrOrStderr()
			}
			fmt.Fprintln(progress, deploy.Where(cl, b))
			deploy.PrintReport(progress, report)
			return rf.run(c, cl, b, key, f.json())
		},
	}
	f.addDeploy(c)
	rf.add(c)
	f.add(c)
	f.addServer(c)
	return c
}

// bundleRunCommand runs what is deployed, without a deploy.
func bundleRunCommand(session *databricks.Session) *cobra.Command {
	f, rf := &bundleFlags{session: session}, &runFlags{session: session}
	c := &cobra.Command{
		Use:               "run KEY",
		Short:             "Run a deployed job and follow it",
		ValidArgsFunction: completeJobs(f),
		Args: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); n >= 0 {
				args = args[:n]
			}
			return cobra.MaximumNArgs(1)(c, args)
		},
		PreRunE: rf.check,
		RunE: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); n >= 0 {
				if err := rf.rest(args[n:]); err != nil {
					return err
				}
				args = args[:n]
			}
			cl, b, key, err := f.connectJob(c, args)
			if err != nil {
				return err
			}
			return rf.run(c, cl, b, key, f.json())
		},
	}
	rf.add(c)
	f.add(c)
	f.addServer(c)
	return c
}

// connectJob is connect, with the key of the job that was named.
func (f *bundleFlags) connectJob(c *cobra.Command, args []string) (*client.Client, *bundle.Bundle, string, error) {
	cl, b, err := f.connect(c.Context(), c.ErrOrStderr())
	if err != nil {
		return nil, nil, "", err
	}
	key, err := jobKey(b, args)
	return cl, b, key, err
}

func completeJobs(f *bundleFlags) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		b, err := f.load(c.Context(), io.Discard, "")
		if b == nil || err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return jobKeys(b), cobra.ShellCompDirectiveNoFileComp
	}
}

func jobKeys(b *bundle.Bundle) (keys []string) {
	for _, r := range b.Resources() {
		if r.Type == "jobs" {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

// jobKey is the job that was named, or the only one.
func jobKey(b *bundle.Bundle, args []string) (string, error) {
	keys := jobKeys(b)
	switch {
	case len(args) == 1 && slices.Contains(keys, args[0]):
		return args[0], nil
	case len(args) == 1:
		message := fmt.Sprintf("there is no job %q in the bundle", args[0])
		if near := config.Nearest(args[0], keys); near != "" {
			message += fmt.Sprintf(": did you mean %q?", near)
		} else if len(keys) > 0 {
			message += ": it has " + strings.Join(keys, ", ")
		}
		return "", &ExitError{Code: 1, Message: message}
	case len(keys) == 1:
		return keys[0], nil
	case len(keys) == 0:
		return "", &ExitError{Code: 1, Message: "the bundle has no job"}
	}
	return "", &ExitError{Code: 2, Message: "name the job to run: " + strings.Join(keys, ", ")}
}

// run runs a deployed job; the error tells the exit code of a run that did not
// succeed.
func (f *runFlags) run(c *cobra.Command, cl *client.Client, b *bundle.Bundle, key string, asJSON bool) error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	id, err := jobID(c.Context(), cl, b, key)
	if err != nil {
		return err
	}
	runID, err := run.Start(c.Context(), cl, id, opts)
	if err != nil {
		return err
	}
	if f.noWait {
		if asJSON {
			return printJSON(c.OutOrStdout(), map[string]any{"run_id": runID, "job_id": id})
		}
		fmt.Fprintf(c.OutOrStdout(), "run %d of job %d has begun\n", runID, id)
		return nil
	}
	result, err := follow(c, cl, runID, asJSON)
	if err != nil {
		return err
	}
	if !result.Succeeded() {
		tellMissing(c, cl, b)
		if f.session != nil {
			return result.Failure()
		}
		return &ExitError{Code: 1}
	}
	return nil
}

// follow shows a run to its end: as it goes on, or as JSON when it has ended.
func follow(c *cobra.Command, cl *client.Client, id int64, asJSON bool) (result *run.Result, err error) {
	if asJSON {
		if result, err = run.Follow(c.Context(), cl, id, func(*run.Result) {}); err == nil {
			err = printJSON(c.OutOrStdout(), result)
		}
	} else {
		result, err = run.Tail(c.Context(), cl, id, c.OutOrStdout(), isTerminal(c.OutOrStdout()))
	}
	if errors.Is(err, context.Canceled) {
		err = &ExitError{Code: 1, Message: fmt.Sprintf("not followed any more: the run %d goes on", id)}
	}
	return result, err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// jobID is the id of a job as deployed.
func jobID(ctx context.Context, cl *client.Client, b *bundle.Bundle, key string) (int64, error) {
	s, err := deploy.Summary(ctx, cl, b.Workspace.Root)
	if err != nil {
		return 0, err
	}
	id, ok := s.Resources["jobs."+key]
	if !ok {
		return 0, &ExitError{Code: 1, Message: fmt.Sprintf("the job %s is not deployed to target %s: run `bundle deploy` first", key, b.Target)}
	}
	return strconv.ParseInt(id, 10, 64)
}
