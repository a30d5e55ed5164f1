package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/sandbox"
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
	process *sandbox.Process
}

func (p *python) zygote() (*task.Zygote, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, errors.New("the agent is ending")
	}
	if p.current != nil {
		select {
		case <-p.current.Done():
			_, _ = p.current.process.Wait()
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

// stop ends the zygote; its tasks have been canceled before.
func (p *python) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.current != nil {
		_ = p.current.Close()
		_ = p.current.process.Kill()
		_, _ = p.current.process.Wait()
		p.current = nil
	}
}

func (a *Agent) startPython() error {
	a.python = &python{start: a.startZygote}
	if a.config.Python == "" {
		return nil
	}
	_, err := a.python.zygote()
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
	c := sandbox.Command{
		Argv: []string{a.config.Python, "-m", a.config.Zygote}, Dir: "/", KeepCaps: true,
		Files: []*os.File{nil, log, log, theirs},
	}
	for k, v := range a.taskEnv(protocol.Task{}, a.box.Path(protocol.InsideRun)) {
		c.Env = append(c.Env, k+"="+v)
	}
	c.Env = append(c.Env, "WHERRY_SPARK_DAEMON="+a.workerSocket())
	p, err := a.box.Exec(c)
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start %s: %w", a.config.Python, err)
	}
	return &zygote{Zygote: task.NewZygote(ours), process: p}, nil
}

// workerSocket is where the zygote forks Spark's Python workers, as the box
// sees it.
func (a *Agent) workerSocket() string {
	return a.inside(filepath.Join(a.dir, protocol.RunDir, "workers"))
}

// inside is where the box shows a file of the agent's run folder.
func (a *Agent) inside(name string) string {
	return a.box.Path(protocol.InsideRun + strings.TrimPrefix(name, filepath.Join(a.dir, protocol.RunDir)))
}

func (a *Agent) sendListeners(conn *protocol.Conn) error {
	files := a.box.Listeners()
	m := protocol.Message{Type: protocol.Listeners}
	for _, f := range files {
		m.Names = append(m.Names, f.Name())
	}
	return conn.Send(m, files...)
}

func (a *Agent) startBox(ctx context.Context) error {
	for _, b := range a.config.Box.View.Binds {
		if !strings.HasPrefix(b.Src, a.dir) {
			continue
		}
		if err := os.MkdirAll(b.Src, 0o700); err != nil {
			return err
		}
	}
	box, err := sandbox.Start(ctx, a.config.Box)
	if err != nil {
		return err
	}
	a.box = box
	// Where the paths of the view are, for Python in a box without one.
	real := map[string]string{}
	for _, b := range a.config.Box.View.Binds {
		real[b.Dst] = b.Src
	}
	b, err := json.Marshal(real)
	a.paths = string(b)
	return err
}
