package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/spark"
	"github.com/wherry-ml/wherry/task"
)

// driver is the cluster's Spark: started when the first task asks for it, and
// anew when it died.
type driver struct {
	a *Agent

	turn    chan struct{} // holds one token while someone has the rest
	count   int
	process *sandbox.Process
	stdin   *os.File // the driver ends with it
	client  *spark.Client
	log     sync.WaitGroup // copies what the driver prints
}

// attach makes a session for a task, and returns how to end it.
func (d *driver) attach(ctx context.Context, t protocol.Task, spool *task.Spool) (*spark.Attachment, func(context.Context) error, error) {
	client, err := d.running(ctx, spool)
	if err != nil {
		return nil, nil, err
	}
	at, err := client.Attach(ctx, spark.Task{
		RunID: t.RunID, APIURL: t.APIURL, Token: t.Token, Catalog: t.Catalog, Schema: t.Schema, Conf: t.SparkConf,
	})
	if err != nil {
		return nil, nil, err
	}
	return at, func(ctx context.Context) error { return client.Detach(ctx, at.ID) }, nil
}

// running returns a client of the driver, which is started if none runs; those
// who ask meanwhile wait. A start ends with the task that asked for it: those
// who wait then begin another.
func (d *driver) running(ctx context.Context, spool *task.Spool) (*spark.Client, error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-d.turn }()
	if d.process != nil {
		select {
		case <-d.process.Exited():
			d.forget()
		default:
			return d.client, nil
		}
	}
	spool.SetNote("starting Spark")
	defer spool.SetNote("")
	err := d.start(ctx)
	return d.client, err
}

// startTime is how long a driver may take until it is ready: it takes seconds,
// on a busy machine some more.
const startTime = 5 * time.Minute

func (d *driver) start(ctx context.Context) error {
	env, err := environment.Open()
	if err != nil {
		return err
	}
	d.count++
	dir := filepath.Join(d.a.dir, protocol.RunDir, "driver"+strconv.Itoa(d.count))
	cfg := spark.Config{
		Env: env, Dir: dir, BoxDir: d.a.inside(dir), Cores: d.a.config.Cores, MemoryMB: d.a.config.MemoryMB, User: d.a.config.User,
		Conf: d.a.config.SparkConf, WorkerSocket: d.a.workerSocket(), TrustStore: d.a.config.TrustStore, TrustStorePassword: d.a.config.TrustStorePassword,
	}
	if !d.a.box.Isolated() {
		cfg.Proxy = d.a.config.Proxy
		p := d.a.box.Path
		cfg.Roots = spark.Roots{DBFS: p("/dbfs"), Volumes: p("/Volumes"), Workspace: p("/Workspace"), Managed: p(protocol.InsideManaged)}
	}
	launch, err := spark.Start(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("the Spark driver was not ready after %v", startTime))
	defer cancel()
	return d.launch(ctx, launch, dir)
}

// launch returns once the driver is ready. It is killed if ctx ends before.
func (d *driver) launch(ctx context.Context, l *spark.Launch, dir string) error {
	stdin, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	stdout, stdoutW, err := os.Pipe()
	if err != nil {
		ours.Close()
		return err
	}
	defer stdoutW.Close()
	log, err := os.OpenFile(filepath.Join(d.a.dir, "driver.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return errors.Join(err, ours.Close(), stdout.Close())
	}
	p, err := d.a.box.Exec(sandbox.Command{Argv: l.Argv, Env: append(l.Env, d.environment()...), Dir: l.Dir, Files: []*os.File{stdin, stdoutW, log}})
	if err != nil {
		return errors.Join(err, ours.Close(), stdout.Close(), log.Close())
	}
	stdoutW.Close()
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	_, rest, err := spark.Ready(stdout, log)
	if !stop() { // killed, maybe in the very moment
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return errors.Join(fmt.Errorf("%w: see %s", err, log.Name()), ours.Close(), stdout.Close(), log.Close())
	}
	d.log.Go(func() {
		_, _ = io.Copy(log, rest)
		stdout.Close()
		log.Close()
	})
	d.process, d.stdin, d.client = p, ours, spark.NewClient(dir)
	return nil
}

// environment is what the cluster's own settings add to the driver's.
func (d *driver) environment() (env []string) {
	for k, v := range d.a.config.Env {
		env = append(env, k+"="+v)
	}
	return append(env, "PYTHONPATH="+d.a.box.Path(d.a.config.PythonPath))
}

func (d *driver) forget() {
	_, _ = d.process.Wait()
	_ = d.stdin.Close()
	d.log.Wait()
	d.process, d.stdin, d.client = nil, nil, nil
}

func (d *driver) stop() {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.process != nil {
		_ = d.process.Kill()
		d.forget()
	}
}

// session is a task's part of the driver.
type session struct {
	d     *driver
	spool *task.Spool

	mu     sync.Mutex
	detach []func(context.Context) error
}

func (s *session) attach(ctx context.Context, t protocol.Task) (json.RawMessage, error) {
	at, detach, err := s.d.attach(ctx, t, s.spool)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.detach = append(s.detach, detach)
	s.mu.Unlock()
	return json.Marshal(at)
}

// end cancels the task's queries and has its lineage reported.
func (s *session) end(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, detach := range s.detach {
		err = errors.Join(err, detach(ctx))
	}
	return err
}
