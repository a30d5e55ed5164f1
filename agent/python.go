package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/task"
)

// python holds the cluster's zygote: started with the agent, and anew when it
// died and a task needs it.
type python struct {
	start func() (*zygote, error)

	mu      sync.Mutex
	current *zygote
	stopped bool
}

type zygote struct {
	*task.Zygote
	wait func() // returns when the process is reaped
	kill func()
}

func (p *python) zygote(context.Context) (*task.Zygote, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, errors.New("the agent is ending")
	}
	if p.current != nil {
		select {
		case <-p.current.Done():
			p.current.wait()
			p.current = nil
		default:
			return p.current.Zygote, nil
		}
	}
	z, err := p.start()
	if err != nil {
		return nil, err
	}
	p.current = z
	return z.Zygote, nil
}

// stop ends the zygote and with it every task.
func (p *python) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.current != nil {
		_ = p.current.Close()
		p.current.kill()
		p.current.wait()
		p.current = nil
	}
}

func (a *Agent) startPython(ctx context.Context) error {
	a.python = &python{start: a.startZygote}
	if a.config.Python == "" {
		return nil
	}
	_, err := a.python.zygote(ctx)
	return err
}

func (a *Agent) startZygote() (*zygote, error) {
	ours, theirs, err := task.SocketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	log, err := os.OpenFile(filepath.Join(a.dir, "zygote.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := exec.Command(a.config.Python, "-m", a.config.Zygote)
	c.Stdout, c.Stderr, c.ExtraFiles = log, log, []*os.File{theirs}
	c.Dir = "/"
	for k, v := range a.taskEnv(protocol.Task{}, a.inside(filepath.Join(a.dir, protocol.RunDir))) {
		c.Env = append(c.Env, k+"="+v)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startOnThread(c); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %s: %w", a.config.Python, err)
	}
	exited := make(chan struct{})
	a.work.Go(func() { _ = c.Wait(); close(exited) })
	return &zygote{Zygote: task.NewZygote(ours), wait: func() { <-exited }, kill: func() { _ = c.Process.Kill() }}, nil
}

// startOnThread starts c from a thread that ends only with the process:
// Pdeathsig is sent when the thread that forked ends.
var forks = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread() // never unlocked
		for f := range queue {
			f()
		}
	}()
	return queue
})

func startOnThread(c *exec.Cmd) error {
	done := make(chan error)
	forks() <- func() { done <- c.Start() }
	return <-done
}

// inside is where the box shows a file of the agent's own folder.
func (a *Agent) inside(name string) string { return name }

// real is where a path of the view is for a process without the view.
func (a *Agent) real(name string) string {
	return strings.TrimSuffix(a.config.Workspace, "/") + strings.TrimPrefix(name, "/Workspace")
}

func (a *Agent) sendListeners(conn *protocol.Conn) error {
	return conn.Send(protocol.Message{Type: protocol.Listeners})
}
