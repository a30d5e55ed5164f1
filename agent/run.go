package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/task"
)

func (a *Agent) taskFolder(runID int64) string {
	return filepath.Join(a.dir, protocol.RunDir, strconv.FormatInt(runID, 10))
}

// run starts a task, unless it was started before. One that can not be started
// has ended, and the server is told so: without a spool nobody keeps it.
func (a *Agent) run(ctx context.Context, conn *protocol.Conn, pt *protocol.Task) error {
	if pt == nil || pt.RunID == 0 {
		return fmt.Errorf("no task was given")
	}
	err := a.start(ctx, pt)
	if err == nil {
		return nil
	}
	slog.Error("start a task", "run", pt.RunID, "error", err)
	message := "the task could not be started: " + err.Error()
	return conn.Send(protocol.Message{Type: protocol.Exit, RunID: pt.RunID, Result: &wherry.Result{
		State: wherry.ResultFailed, Code: "DRIVER_ERROR", Message: message, Error: message,
	}})
}

// start begins the task. The server's connection may end while the task runs
// on: ctx is only what it begins with.
func (a *Agent) start(ctx context.Context, pt *protocol.Task) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tasks[pt.RunID] != nil {
		return nil
	}
	spool, err := task.NewSpool(filepath.Join(a.dir, protocol.SpoolDir), pt.RunID)
	if err != nil {
		return err
	}
	folder := a.taskFolder(pt.RunID)
	if err := os.MkdirAll(filepath.Join(folder, "home"), 0o700); err != nil {
		return errors.Join(err, spool.Remove())
	}
	if a.box.Isolated() && a.config.APIURL != "" {
		pt.APIURL = a.config.APIURL
	}
	s := &session{d: a.driver, spool: spool}
	spec := a.spec(*pt, spool, folder)
	spec.Spark, spec.End = s.attach, s.end
	t := task.New(spec)
	a.tasks[pt.RunID] = t
	a.running++
	a.settle()
	ctx = context.WithoutCancel(ctx)
	a.work.Go(func() {
		if err := a.execute(ctx, t); err != nil {
			slog.Error("task", "run", pt.RunID, "error", err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.running--
		a.settle()
	})
	return nil
}

func (a *Agent) execute(ctx context.Context, t *task.Task) error {
	if a.config.Python == "" {
		return t.Fail("DRIVER_ERROR", "there is no Python environment for this task: run `wherry setup`")
	}
	for range 3 {
		z, err := a.python.zygote()
		if err != nil {
			return t.Fail("DRIVER_ERROR", "Python could not be started: "+err.Error())
		}
		if err = t.Run(ctx, z); !errors.Is(err, task.ErrGone) {
			return err
		}
	}
	return t.Fail("DRIVER_ERROR", "Python ends at its start: "+lastLines(filepath.Join(a.dir, "zygote.log")))
}

func (a *Agent) spec(pt protocol.Task, spool *task.Spool, folder string) task.Spec {
	inside := a.inside(folder)
	s := task.Spec{
		Isolate: a.box.Isolated(),
		Task:    pt, Spool: spool, Folder: folder, Inside: inside,
		Env: a.taskEnv(pt, inside), Cwd: inside, OutputLimit: a.config.OutputLimit,
	}
	if pt.Kind == protocol.Command {
		s.Env, s.Task.Argv = a.commandEnv(inside), append([]string{a.box.Path(pt.Argv[0])}, pt.Argv[1:]...)
	}
	if path.IsAbs(pt.Path) {
		s.Cwd = a.box.Path(path.Dir(pt.Path))
	}
	if pt.Tree != nil {
		s.Tree = &task.TreeMount{Src: path.Join(protocol.InsideTrees, pt.Tree.Digest), Dst: pt.Tree.Root, Upper: inside}
	}
	return s
}

func (a *Agent) taskEnv(pt protocol.Task, inside string) map[string]string {
	env := map[string]string{
		"PATH":             filepath.Dir(a.config.Python) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":             inside,
		"LANG":             "C.UTF-8",
		"PYTHONPATH":       a.box.Path(a.config.PythonPath),
		"DATABRICKS_HOST":  pt.APIURL,
		"DATABRICKS_TOKEN": pt.Token,
		"PYTHONHASHSEED":   "0", // keys hash alike in the driver's workers
		// OpenMP's threads wait for each other by spinning, for milliseconds. On
		// cores that others use too (the driver, other tasks) a fit of
		// scikit-learn took ten times as long by it; short spins cost nothing.
		"GOMP_SPINCOUNT": "10000",
	}
	if !a.box.Isolated() {
		env["WHERRY_PATHS"] = a.paths
	}
	maps.Copy(env, a.config.Env)
	maps.Copy(env, pt.Env)
	return env
}

// commandEnv is the whole environment of a command: nothing of ours but the way
// out of the box.
func (a *Agent) commandEnv(inside string) map[string]string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": path.Join(inside, "home"), "LANG": "C.UTF-8",
	}
	maps.Copy(env, a.config.Env)
	delete(env, "WHERRY_PRELOAD")
	return env
}

// lastLines is the end of a log, for people.
func lastLines(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(b))
	return text[max(0, len(text)-600):]
}
