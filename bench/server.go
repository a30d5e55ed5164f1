package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/state"
)

// process is a server that this command started.
type process struct {
	cmd *exec.Cmd
}

// up starts a server and waits until /health answers 200; took is the time
// from before the process started.
func (b *bench) up(ctx context.Context, dir state.Dir) (p *process, took time.Duration, err error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, 0, err
	}
	if err := dir.Create(); err != nil {
		return nil, 0, err
	}
	log, err := os.OpenFile(dir.Path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	p = &process{cmd: exec.Command(b.wherry, "up", "--state", string(dir), "--listen", listen, "--storage-listen", "127.0.0.1:0", "--agent-idle", "1m")}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	started := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, 0, err
	}
	b.servers = append(b.servers, p)
	for !healthy(ctx, listen) {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if time.Since(started) > time.Minute {
			return nil, 0, fmt.Errorf("the server does not answer; its log is %s", dir.Path("server.log"))
		}
		time.Sleep(time.Millisecond)
	}
	return p, time.Since(started), nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func healthy(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// connected starts a server and returns its admin's client.
func (b *bench) connected(ctx context.Context, dir state.Dir) (*client.Client, error) {
	if _, _, err := b.up(ctx, dir); err != nil {
		return nil, err
	}
	for { // server.json is written after the listener answers
		c, _, err := client.Local(ctx, dir)
		if !errors.Is(err, client.ErrNoServer) || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends a server and, with it, its idle agents.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer force.Stop()
	return p.cmd.Wait()
}

func (b *bench) stopServers() (err error) {
	for _, p := range b.servers {
		err = errors.Join(err, p.stop())
	}
	b.servers = nil
	return err
}

// pss is a process's proportional set size in MB.
func pss(pid int) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return float64(kb) / 1024, err
		}
	}
	return 0, errors.New("smaps_rollup names no Pss")
}
