package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/client/signin"
	"github.com/wherry-ml/wherry/workflow"
)

// ciRun is a run of a workflow as the API tells of it.
type ciRun struct {
	workflow.Run
	Pending []string `json:"pending_jobs"`
	Plan    []struct {
		Name  string   `json:"name"`
		Needs []string `json:"needs"`
	} `json:"plan"`
	Approvals []struct {
		Attempt     int64  `json:"attempt"`
		Environment string `json:"environment"`
		Decision    string `json:"decision"`
		By          string `json:"by"`
		Reason      string `json:"reason"`
	} `json:"approvals"`
	Artifacts []ciArtifact `json:"artifacts"`
}

// ciArtifact is an artifact of a run; its size and digest are those of the tar
// that the server sends.
type ciArtifact struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ciOptions are the flags of the commands that ask a server.
type ciOptions struct{ state, host, output string }

func (o *ciOptions) add(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&o.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.Flags().StringVar(&o.host, "host", "", "address of a server, for who is not its admin: DATABRICKS_TOKEN, or what else the databricks command signs in with, says who you are")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	return c
}

// connect returns a client of the server that is meant: as the admin of a state
// directory, or as who the environment says at an address.
func (o *ciOptions) connect(c *cobra.Command) (*client.Client, error) {
	if o.host == "" {
		return localServer(c, o.state)
	}
	if o.state != "" {
		return nil, &ExitError{Code: 2, Message: "give --host or --state, not both"}
	}
	cfg, err := signin.Find(signin.Options{HTTP: &http.Client{Timeout: time.Minute}, Getenv: func(name string) string {
		if name == "DATABRICKS_HOST" {
			return o.host
		}
		return os.Getenv(name)
	}})
	if err != nil {
		return nil, err
	}
	return cfg.Client(c.Context())
}

func ciServerCommands() []*cobra.Command {
	return []*cobra.Command{
		ciListCommand(), ciShowCommand(), ciWatchCommand(), ciLogCommand(), ciCancelCommand(), ciRerunCommand(), ciDispatchCommand(), ciDownloadCommand(),
		ciValueCommand("secret", true), ciValueCommand("var", false),
	}
}

func ciListCommand() *cobra.Command {
	o := &ciOptions{}
	var repo, sha string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List the runs of workflows", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := o.connect(c)
			if err != nil {
				return err
			}
			var list struct {
				Runs []*ciRun `json:"runs"`
			}
			query := url.Values{"repo": {repo}, "sha": {sha}, "limit": {strconv.Itoa(limit)}}
			if err := server.Do(c.Context(), "GET", "/api/wherry/ci/runs?"+query.Encode(), nil, &list); err != nil {
				return err
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), list)
			}
			if len(list.Runs) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no runs: push a commit to a repository that has workflows, `wherry repo create` makes one")
				return nil
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "RUN\t\tWORKFLOW\tREPOSITORY\tEVENT\tREF\tCOMMIT\tBY\tTOOK\tTITLE")
			for _, r := range list.Runs {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%.8s\t%s\t%s\t%s\n", r.ID, stateOf(&r.Run), r.Name, r.Repo, r.Event.Name, r.Event.RefName(), r.Event.SHA, r.Actor, took(&r.Run), r.Title)
			}
			return w.Flush()
		},
	}
	c.Flags().StringVar(&repo, "repo", "", "of this repository only")
	c.Flags().StringVar(&sha, "commit", "", "of this commit only, all 40 digits")
	c.Flags().IntVar(&limit, "limit", 20, "how many")
	return o.add(c)
}

func stateOf(r *workflow.Run) string {
	if r.State == workflow.Completed {
		return mark(r.Conclusion) + " " + r.Conclusion
	}
	return "● " + r.State
}

// took is how long the run has taken since this attempt was asked for.
func took(r *workflow.Run) string {
	if r.EndedAt == 0 {
		return since(r.AskedAt(), time.Now().UnixMilli())
	}
	return since(r.AskedAt(), r.EndedAt)
}

// run asks for a run by its number.
func (o *ciOptions) run(c *cobra.Command, arg string) (*client.Client, *ciRun, error) {
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return nil, nil, &ExitError{Code: 2, Message: fmt.Sprintf("%q is no number of a run: `wherry ci list` shows them", arg)}
	}
	server, err := o.connect(c)
	if err != nil {
		return nil, nil, err
	}
	r, err := fetchRun(c.Context(), server, id)
	return server, r, err
}

func fetchRun(ctx context.Context, server *client.Client, id int64) (*ciRun, error) {
	r := &ciRun{}
	return r, server.Do(ctx, "GET", fmt.Sprintf("/api/wherry/ci/runs/%d", id), nil, r)
}

func ciShowCommand() *cobra.Command {
	o := &ciOptions{}
	return o.add(&cobra.Command{
		Use: "show RUN", Short: "Show a run: its jobs, their steps, approvals and artifacts", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, r, err := o.run(c, args[0])
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), server.URL, r)
		},
	})
}

func (o *ciOptions) print(out io.Writer, base string, r *ciRun) error {
	if o.output == "json" {
		return printJSON(out, r)
	}
	fmt.Fprintf(out, "%s · run %d, attempt %d · %s\n%s · %s %.8s · by %s\n%s/workflows/runs/%d\n", r.Name, r.ID, r.Attempt, stateOf(&r.Run), r.Event.Name, r.Event.RefName(), r.Event.SHA, r.Actor, base, r.ID)
	if r.Message != "" {
		fmt.Fprintln(out, r.Message)
	}
	for _, j := range r.Jobs {
		printJob(out, j)
	}
	for _, name := range r.Pending {
		what := "is queued"
		for _, p := range r.Plan {
			if p.Name == name && len(p.Needs) > 0 {
				what = "waits for " + strings.Join(p.Needs, ", ")
			}
		}
		fmt.Fprintf(out, "○ %s %s\n", name, what)
	}
	for _, a := range r.Approvals {
		of := ""
		if r.Attempt > 1 {
			of = fmt.Sprintf(" in attempt %d", a.Attempt)
		}
		fmt.Fprintf(out, "%s: %s by %s%s %s\n", a.Environment, a.Decision, a.By, of, a.Reason)
	}
	for _, a := range r.Artifacts {
		fmt.Fprintf(out, "artifact %s, %d bytes\n", a.Name, a.Size)
	}
	return nil
}

func printJob(out io.Writer, j *workflow.Job) {
	state := "● " + j.State
	if j.State == workflow.Completed {
		state = mark(j.Conclusion) + " " + j.Conclusion
	}
	text := ""
	if j.Message != "" {
		text = ": " + j.Message
	}
	fmt.Fprintf(out, "%s  %s%s\n", state, j.Name, text)
	for _, s := range j.Steps {
		if s.State == workflow.Completed {
			fmt.Fprintf(out, "   %s %s (%s)\n", mark(s.Conclusion), s.Name, since(s.StartedAt, s.EndedAt))
		} else {
			fmt.Fprintf(out, "   ▸ %s\n", s.Name)
		}
	}
}

func ciWatchCommand() *cobra.Command {
	o := &ciOptions{}
	return o.add(&cobra.Command{
		Use: "watch RUN", Short: "Follow a run to its end, and exit as it does", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, r, err := o.run(c, args[0])
			if err != nil {
				return err
			}
			return o.watch(c, server, r.ID)
		},
	})
}

// watch follows a run to its end; what comes of it is as the run ended.
func (o *ciOptions) watch(c *cobra.Command, server *client.Client, id int64) error {
	r, err := watchRun(c.Context(), server, id, o.progress(c.OutOrStdout()))
	if c.Context().Err() != nil {
		return &ExitError{Code: 1, Message: fmt.Sprintf("no longer followed: run %d goes on (`wherry ci watch %d` follows it again, `wherry ci cancel %d` ends it)", id, id, id)}
	}
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = printJSON(c.OutOrStdout(), r)
	}
	if err == nil && !workflow.Passed(r.Conclusion) {
		err = &ExitError{Code: 1}
	}
	return err
}

// progress says what changes in a run, a line each.
func (o *ciOptions) progress(out io.Writer) func(*ciRun) {
	if o.output == "json" {
		return func(*ciRun) {}
	}
	seen := map[string]bool{}
	say := func(key, format string, args ...any) {
		if !seen[key] {
			seen[key] = true
			fmt.Fprintf(out, format+"\n", args...)
		}
	}
	return func(r *ciRun) {
		for _, j := range r.Jobs {
			for _, s := range j.Steps {
				if s.State == workflow.Completed {
					say(fmt.Sprint(j.ID, "/", s.Number), "  %s %s: %s (%s)", mark(s.Conclusion), j.Name, s.Name, since(s.StartedAt, s.EndedAt))
				}
			}
			if j.State == workflow.Waiting && j.Message != "" {
				say(fmt.Sprint(j.ID, j.Message), "● %s %s", j.Name, j.Message)
			}
			if j.State == workflow.Completed {
				say(fmt.Sprint(j.ID), "%s %s %s %s", mark(j.Conclusion), j.Name, j.Conclusion, j.Message)
			}
		}
		if r.State == workflow.Completed {
			say("run", "%s %s: %s in %s", mark(r.Conclusion), r.Name, r.Conclusion, took(&r.Run))
		}
	}
}

// watchTime is how often a run is asked for.
const watchTime = 300 * time.Millisecond

// watchRun asks for a run until it has ended.
func watchRun(ctx context.Context, server *client.Client, id int64, tell func(*ciRun)) (*ciRun, error) {
	for {
		r, err := fetchRun(ctx, server, id)
		if err != nil {
			return nil, err
		}
		tell(r)
		if r.State == workflow.Completed {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(watchTime):
		}
	}
}

func ciLogCommand() *cobra.Command {
	o := &ciOptions{}
	var follow bool
	c := &cobra.Command{
		Use: "log RUN [JOB]", Short: "Print what the jobs of a run have written", Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			server, r, err := o.run(c, args[0])
			if err != nil {
				return err
			}
			found := false
			for _, j := range r.Jobs {
				if len(args) == 2 && args[1] != j.Name && args[1] != j.Key {
					continue
				}
				found = true
				if len(args) == 1 {
					fmt.Fprintf(c.OutOrStdout(), "── %s\n", j.Name)
				}
				if err := copyLog(c, server, r.ID, j.ID, follow); err != nil {
					return err
				}
			}
			if follow { // it has ended since
				if _, r, err = o.run(c, args[0]); err != nil {
					return err
				}
			}
			r.printWhy(c.ErrOrStderr(), args[1:])
			if !found && len(args) == 2 {
				return fmt.Errorf("run %d has no job %q that has begun", r.ID, args[1])
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	return o.add(c)
}

// printWhy says why jobs ended as they did, of the named one or of all, such as
// that one never began, and why a run has none.
func (r *ciRun) printWhy(out io.Writer, only []string) {
	for _, j := range r.Jobs {
		if j.State == workflow.Completed && j.Message != "" && (len(only) == 0 || only[0] == j.Name || only[0] == j.Key) {
			fmt.Fprintf(out, "%s %s: %s\n", mark(j.Conclusion), j.Name, j.Message)
		}
	}
	if r.Message != "" {
		fmt.Fprintf(out, "%s %s: %s\n", mark(r.Conclusion), r.Name, r.Message)
	}
}

func copyLog(c *cobra.Command, server *client.Client, run, job int64, follow bool) error {
	offset := "0"
	for {
		res, err := server.Send(c.Context(), "GET", fmt.Sprintf("/api/wherry/ci/runs/%d/jobs/%d/log?offset=%s", run, job, offset), nil, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(c.OutOrStdout(), res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		offset = res.Header.Get("X-Wherry-Offset")
		if !follow || res.Header.Get("X-Wherry-Complete") == "true" {
			return nil
		}
		select {
		case <-c.Context().Done():
			return c.Context().Err()
		case <-time.After(watchTime):
		}
	}
}

func ciCancelCommand() *cobra.Command {
	o := &ciOptions{}
	return o.add(&cobra.Command{
		Use: "cancel RUN", Short: "Cancel a run", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.post(c, args[0], "cancel", nil) },
	})
}

// post has something done to a run and shows it.
func (o *ciOptions) post(c *cobra.Command, arg, what string, in any) error {
	server, r, err := o.run(c, arg)
	if err != nil {
		return err
	}
	if err := server.Do(c.Context(), "POST", fmt.Sprintf("/api/wherry/ci/runs/%d/%s", r.ID, what), in, r); err != nil {
		return err
	}
	return o.print(c.OutOrStdout(), server.URL, r)
}

func ciRerunCommand() *cobra.Command {
	o := &ciOptions{}
	var failed bool
	c := &cobra.Command{
		Use: "rerun RUN", Short: "Run a workflow again", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.post(c, args[0], "rerun", map[string]any{"failed": failed})
		},
	}
	c.Flags().BoolVar(&failed, "failed", false, "only the jobs that failed, and those after them")
	return o.add(c)
}

func ciDispatchCommand() *cobra.Command {
	o := &ciOptions{}
	var repo, ref string
	var inputs []string
	var watch bool
	c := &cobra.Command{
		Use: "dispatch WORKFLOW", Short: "Start a workflow that has on: workflow_dispatch", Args: cobra.ExactArgs(1),
		Example: "  wherry ci dispatch cd-deploy-infra --repo my-project --input environment=prod",
		RunE: func(c *cobra.Command, args []string) error {
			server, err := o.connect(c)
			if err != nil {
				return err
			}
			in := map[string]string{}
			for _, pair := range inputs {
				name, value, ok := strings.Cut(pair, "=")
				if !ok {
					return &ExitError{Code: 2, Message: fmt.Sprintf("--input %s: write it as name=value", pair)}
				}
				in[name] = value
			}
			r := &ciRun{}
			if err := server.Do(c.Context(), "POST", "/api/wherry/ci/dispatch", map[string]any{"repo": repo, "workflow": args[0], "ref": ref, "inputs": in}, r); err != nil {
				return err
			}
			if watch {
				return o.watch(c, server, r.ID)
			}
			return o.print(c.OutOrStdout(), server.URL, r)
		},
	}
	c.Flags().StringVar(&repo, "repo", "", "the repository")
	c.Flags().StringVar(&ref, "ref", "", "a branch or a tag (default: the default branch)")
	c.Flags().StringArrayVar(&inputs, "input", nil, "an input, as name=value")
	c.Flags().BoolVar(&watch, "watch", false, "follow the run to its end")
	_ = c.MarkFlagRequired("repo")
	return o.add(c)
}
