package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/workflow"
	"github.com/wherry-ml/wherry/workflow/action"
	"github.com/wherry-ml/wherry/workflow/local"
)

func ciCommand() *cobra.Command {
	c := &cobra.Command{Use: "ci", Short: "Run and watch GitHub workflows"}
	c.AddCommand(ciRunCommand(), ciCheckCommand())
	c.AddCommand(ciServerCommands()...)
	return c
}

// ciFlags are those of commands that work on a working tree.
type ciFlags struct {
	dir, output, event string
	jobs               []string
	inputs             []string
	secrets, vars      []string
	state              string
	parallel           int
}

func ciRunCommand() *cobra.Command {
	f := &ciFlags{}
	c := &cobra.Command{
		Use:   "run [WORKFLOW]",
		Short: "Run workflows on the working tree, without a server",
		Long: "Runs the workflows that an event starts, or the one that is named by its file or its name, on the files as they are, uncommitted changes included. " +
			"Each job has a folder of its own, and none of this shell's environment but PATH and what pip needs to find its index.",
		Example: "  wherry ci run                       # what a push of this branch would start\n  wherry ci run ci-build-test --job test\n  wherry ci run release.yml --event workflow_dispatch --input version=1.2",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	f.add(c)
	c.Flags().StringVar(&f.event, "event", "push", "the event: push, pull_request, workflow_dispatch, schedule …")
	c.Flags().StringSliceVar(&f.jobs, "job", nil, "run this job, and what it needs, only")
	c.Flags().StringArrayVar(&f.inputs, "input", nil, "an input of workflow_dispatch, as name=value")
	c.Flags().StringArrayVar(&f.secrets, "secret", nil, "a secret, as name=value; a name alone takes it from the environment")
	c.Flags().StringArrayVar(&f.vars, "var", nil, "a variable, as name=value")
	c.Flags().StringVar(&f.state, "state", "", "state directory of the server that production host names lead to (default: wherry below XDG_STATE_HOME)")
	c.Flags().IntVar(&f.parallel, "parallel", max(1, runtime.NumCPU()/2), "how many jobs run at once")
	return c
}

func ciCheckCommand() *cobra.Command {
	f := &ciFlags{}
	c := &cobra.Command{
		Use: "check", Short: "Check the workflows: what is wrong in them, and what can not be run here", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tree, err := local.Open(c.Context(), f.dir)
			if err != nil {
				return err
			}
			workflows, refused, warnings, err := read(tree, action.Detect())
			if err != nil {
				return err
			}
			if f.output == "json" {
				if err := printJSON(c.OutOrStdout(), map[string]any{"errors": nonNil(refused), "warnings": nonNil(warnings)}); err != nil {
					return err
				}
			} else {
				printProblems(c.OutOrStdout(), refused, warnings)
				fmt.Fprintf(c.OutOrStdout(), "%d workflows can be run\n", len(workflows))
			}
			if len(refused) > 0 {
				return &ExitError{Code: 1}
			}
			return nil
		},
	}
	f.add(c)
	return c
}

func nonNil(list []workflow.Problem) []workflow.Problem { return append([]workflow.Problem{}, list...) }

func (f *ciFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.dir, "dir", "C", ".", "a folder of the repository")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
}

func printProblems(out io.Writer, refused, warnings []workflow.Problem) {
	for _, p := range refused {
		fmt.Fprintln(out, p)
	}
	for _, p := range warnings {
		fmt.Fprintln(out, "warning:", p)
	}
}

// read parses and checks all workflow files; those that can be run come back.
func read(tree *local.Tree, tools action.Tools) (workflows []*workflow.Workflow, refused, warnings []workflow.Problem, err error) {
	root, err := os.OpenRoot(tree.Root)
	if err != nil {
		return nil, nil, nil, err
	}
	defer root.Close()
	for _, name := range tree.Files.Paths() {
		w, problems := workflow.Parse(name, tree.Files[name])
		if w == nil {
			refused = append(refused, problems...)
			continue
		}
		errs, warns := w.Check(tree.Files, tools.Machine(), root.FS())
		refused, warnings = append(refused, errs...), append(warnings, warns...)
		if len(errs) == 0 {
			workflows = append(workflows, w)
		}
	}
	return workflows, refused, warnings, nil
}

func (f *ciFlags) run(c *cobra.Command, args []string) error {
	ctx := c.Context()
	tree, err := local.Open(ctx, f.dir)
	if err != nil {
		return err
	}
	o := local.Options{Tree: tree, Tools: action.Detect(), Only: f.jobs, Jobs: f.parallel}
	inputs, err := f.pairs(&o)
	if err != nil {
		return err
	}
	event := tree.Event(f.event, inputs)
	selected, err := f.choose(c, tree, o.Tools, event, args)
	if err != nil {
		return err
	}
	if f.event == "workflow_dispatch" {
		for _, w := range selected {
			if err := w.CheckInputs(inputs); err != nil { // and fills in their defaults
				return err
			}
		}
		event = tree.Event(f.event, inputs)
	}
	if o.Exe, err = os.Executable(); err != nil {
		return err
	}
	end, err := f.surround(ctx, &o)
	if err != nil {
		return err
	}
	defer end()
	show := newCIView(c.OutOrStdout(), f.output)
	o.Tell = show.update
	var runs []*workflow.Run
	for _, w := range selected {
		show.begin(w, event, tree)
		r, err := local.Run(ctx, w, event, o)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Path, err)
		}
		show.end(r)
		tellNoIDToken(c.ErrOrStderr(), w, r)
		runs = append(runs, r)
	}
	if f.output == "json" {
		if err := printJSON(c.OutOrStdout(), map[string]any{"runs": runs}); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(runs, func(r *workflow.Run) bool { return !workflow.Passed(r.Conclusion) }) {
		return &ExitError{Code: 1}
	}
	return nil
}

// tellNoIDToken says of a run that failed where a job signs in with its id-token
// that there is none here: what signs in names only what it did not find.
func tellNoIDToken(out io.Writer, w *workflow.Workflow, r *workflow.Run) {
	for _, j := range r.Jobs {
		if j.Conclusion == workflow.Failure && w.Permissions(j.Key)["id-token"] == "write" {
			fmt.Fprintf(out, "%s has `permissions: id-token: write`, and a local run has no id-token: what signs in with it works in a run of the server (`wherry repo create --remote origin`, then push).\n", j.Name)
		}
	}
}

func (f *ciFlags) pairs(o *local.Options) (inputs map[string]string, err error) {
	inputs, o.Secrets, o.Vars = map[string]string{}, map[string]string{}, map[string]string{}
	for _, set := range []struct {
		flag string
		list []string
		into map[string]string
	}{{"input", f.inputs, inputs}, {"secret", f.secrets, o.Secrets}, {"var", f.vars, o.Vars}} {
		for _, pair := range set.list {
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				if value, ok = os.LookupEnv(name); !ok {
					return nil, &ExitError{Code: 2, Message: fmt.Sprintf("--%s %s: write it as name=value, or set %s in the environment", set.flag, name, name)}
				}
			}
			set.into[name] = value
		}
	}
	return inputs, nil
}

// choose finds the workflows to run. One that can not be run is refused before
// anything starts; another file's mistakes are only told.
func (f *ciFlags) choose(c *cobra.Command, tree *local.Tree, tools action.Tools, event workflow.Event, args []string) ([]*workflow.Workflow, error) {
	if len(tree.Files.Paths()) == 0 {
		return nil, fmt.Errorf("there is no workflow in %s/%s", tree.Root, workflow.Dir)
	}
	workflows, refused, warnings, err := read(tree, tools)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		printProblems(c.ErrOrStderr(), refused, warnings)
		selected := slices.DeleteFunc(workflows, func(w *workflow.Workflow) bool { return !w.Triggered(event) })
		if len(selected) == 0 {
			return nil, fmt.Errorf("no workflow that can be run starts on %s of %s: name one, or give --event", event.Name, event.Ref)
		}
		return selected, nil
	}
	var names []string
	for _, w := range workflows {
		names = append(names, filepath.Base(w.Path))
		if w.Path == args[0] || filepath.Base(w.Path) == args[0] || w.Name == args[0] || strings.TrimSuffix(filepath.Base(w.Path), filepath.Ext(w.Path)) == args[0] {
			for _, key := range f.jobs {
				if !slices.Contains(w.Jobs(), key) {
					return nil, &ExitError{Code: 2, Message: fmt.Sprintf("%s has no job %q: it has %s", w.Path, key, strings.Join(w.Jobs(), ", "))}
				}
			}
			return []*workflow.Workflow{w}, nil
		}
	}
	printProblems(c.ErrOrStderr(), refused, nil)
	return nil, fmt.Errorf("there is no workflow %q that can be run: there are %s", args[0], strings.Join(names, ", "))
}

// surround gives the jobs their environment: a path, pip's own settings, and
// the proxy behind which production host names lead to the server of this
// machine, or nowhere if none runs.
func (f *ciFlags) surround(ctx context.Context, o *local.Options) (end func(), err error) {
	dir, err := stateDir(f.state)
	if err != nil {
		return nil, err
	}
	end = func() {}
	var proxy string
	if _, info, err := client.Local(ctx, dir); err == nil {
		proxy = info.ProxyURL
	} else if proxy, end, err = nowhere(ctx, dir); err != nil {
		return nil, err
	}
	env := egress.Env(proxy, egress.Directory(dir))
	for _, name := range []string{"PATH", "LANG", "LC_ALL", "TZ", "JAVA_HOME"} {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "PIP_") || strings.HasPrefix(name, "UV_") {
			env[name] = value
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range []string{".config/pip/pip.conf", ".pip/pip.conf"} {
			if _, err := os.Stat(filepath.Join(home, name)); err == nil && env["PIP_CONFIG_FILE"] == "" {
				env["PIP_CONFIG_FILE"] = filepath.Join(home, name)
			}
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	if env["PIP_CACHE_DIR"] == "" {
		env["PIP_CACHE_DIR"] = filepath.Join(cache, "pip")
	}
	o.Tools.PipCache = env["PIP_CACHE_DIR"]
	for name, value := range env {
		o.Env = append(o.Env, name+"="+value)
	}
	o.Tools.Caches = filepath.Join(cache, "wherry", "ci", o.Tree.Owner+"-"+o.Tree.Name, "caches")
	o.Tools.Artifacts = filepath.Join(o.Tree.Root, ".wherry", "ci", "artifacts")
	own := filepath.Join(o.Tree.Root, ".wherry")
	return end, errors.Join(os.RemoveAll(o.Tools.Artifacts), os.MkdirAll(own, 0o755), os.WriteFile(filepath.Join(own, ".gitignore"), []byte("*\n"), 0o644))
}

// nowhere is a proxy without a server: production host names are refused
// there, by what to do; all others are passed on.
func nowhere(ctx context.Context, dir state.Dir) (url string, end func(), err error) {
	if err := dir.Create(); err != nil {
		return "", nil, err
	}
	p, err := egress.New(dir)
	if err != nil {
		return "", nil, err
	}
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Host+" leads to a wherry server, and none runs: start one with `wherry up`", http.StatusServiceUnavailable)
	})
	p.Handle(egress.Handlers{Web: refuse, Workspace: refuse, Storage: refuse, SignIn: refuse})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx, l) }() // ends with ctx
	return "http://" + l.Addr().String(), func() { cancel(); <-done }, nil
}
