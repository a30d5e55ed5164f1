package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// push is one receive-pack and the conversation with its hooks.
type push struct {
	s       *Service
	ctx     context.Context
	repo    git.Repo
	id      wherry.Identity
	created bool // the push made the repository
	cancel  context.CancelFunc
	watch   *time.Timer
	held    *refLock
	told    bool // post-receive told what moved
}

// line is one ref of a push, as receive-pack lists them to its hooks.
type line struct{ old, sha, ref string }

// receive runs git receive-pack on the request's body.
func (p *push) receive(w io.Writer, r *http.Request, body io.Reader) (err error) {
	s := p.s
	if err := s.settle(p.ctx, p.repo); err != nil {
		return err
	}
	lock, err := s.lockFile(p.repo, unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer lock.Close()
	ask, asking, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ask.Close()
	answers, answer, err := os.Pipe()
	if err != nil {
		return errors.Join(err, asking.Close())
	}
	defer answer.Close()
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	p.cancel = cancel
	c := s.command(ctx, s.dir(p.repo), "-c", fmt.Sprint("receive.maxInputSize=", s.cfg.MaxPush), "receive-pack", "--stateless-rpc", s.dir(p.repo))
	c.Env = append(c.Env, "GIT_PROTOCOL="+protocol(r))
	c.Stdout, c.ExtraFiles = w, []*os.File{asking, answers, lock}
	complaint := &limited{max: 64 << 10}
	c.Stderr = complaint
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	asking.Close()
	answers.Close()
	if err != nil {
		return err
	}
	var talk, feed sync.WaitGroup
	talk.Go(func() { p.converse(ask, answer) })
	feed.Go(func() {
		_, _ = io.Copy(in, body) // where it breaks off, git itself says what it misses
		_ = in.Close()
	})
	err = c.Wait()
	talk.Wait()
	p.settle() // before anything waits for the client again
	feed.Wait()
	// The client hears the answer only once it has sent all it has to send.
	_, _ = io.Copy(io.Discard, body)
	if err != nil && r.Context().Err() == nil {
		slog.Info("a push ended with an error", "repo", p.repo.Name, "actor", p.id.UserName, "err", err, "git", complaint.String())
	}
	return nil
}

// settle ends the push: what its refs did is recorded also if git was cut off
// between moving them and telling.
func (p *push) settle() {
	if p.held == nil {
		return
	}
	defer p.held.Unlock()
	defer p.watch.Stop()
	if p.told {
		p.s.forget(p.repo)
		return
	}
	if _, err := p.s.reconcile(p.ctx, p.repo, p.id.UserName, p.id.RunID); err != nil {
		p.held.settled.Store(false) // the next push, or the next server, records it
		slog.Error("record a push", "repo", p.repo.Name, "err", err)
		return
	}
	p.s.forget(p.repo)
}

// converse answers the hooks until receive-pack and its children are gone.
func (p *push) converse(ask io.Reader, answer io.Writer) {
	in := bufio.NewReader(ask)
	for {
		head, err := in.ReadString('\n')
		if err != nil {
			return
		}
		name, quarantine, _ := strings.Cut(strings.TrimSuffix(head, "\n"), " ")
		lines, err := readLines(in)
		if err != nil {
			return
		}
		var remarks []string
		verdict := "+"
		if name == "pre-receive" {
			if remarks, err = p.before(quarantine, lines); err != nil {
				verdict = "-"
			}
		} else if remarks, err = p.after(lines); err != nil {
			slog.Error("record a push", "repo", p.repo.Name, "err", err)
		}
		for _, r := range remarks {
			fmt.Fprintf(answer, ":%s\n", strings.ReplaceAll(r, "\n", " "))
		}
		fmt.Fprintln(answer, verdict)
	}
}

// proveHook runs the hook as receive-pack will: where it cannot run (a file
// system that runs no programs), git would leave it out and accept anything.
func (s *Service) proveHook(ctx context.Context) error {
	ask, asking, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ask.Close()
	answers, answer, err := os.Pipe()
	if err != nil {
		return errors.Join(err, asking.Close())
	}
	defer answers.Close()
	fmt.Fprintln(answer, "+")
	answer.Close()
	c := exec.CommandContext(ctx, s.hooks("pre-receive"))
	c.ExtraFiles = []*os.File{asking, answers}
	complaint, err := c.CombinedOutput()
	asking.Close()
	if err != nil {
		return fmt.Errorf("%s does not run: %w: %.500s: put the state directory where programs may be run, with --state", s.hooks("pre-receive"), err, complaint)
	}
	said, err := io.ReadAll(ask)
	if err == nil && string(said) != "pre-receive \n.\n" {
		err = fmt.Errorf("%s says %.100q", s.hooks("pre-receive"), said)
	}
	return err
}

func readLines(in *bufio.Reader) (lines []line, err error) {
	for {
		text, err := in.ReadString('\n')
		if err != nil || text == ".\n" {
			return lines, err
		}
		part := strings.SplitN(strings.TrimSuffix(text, "\n"), " ", 3)
		if len(part) != 3 {
			return nil, fmt.Errorf("receive-pack listed %q", text)
		}
		lines = append(lines, line{part[0], part[1], part[2]})
	}
}

// errRefused ends a push that a rule forbids, or a ref that cannot be recorded.
var errRefused = errors.New("refused")

// moving is how long git may take to move refs once it may.
const moving = 5 * time.Minute

// before decides whether refs may move, and keeps others from moving any until
// that is recorded.
func (p *push) before(quarantine string, lines []line) (remarks []string, err error) {
	l := p.s.lock(p.repo)
	l.Lock()
	p.held = l
	p.watch = time.AfterFunc(moving, p.cancel)
	if err := p.s.note(p.repo, pusher{Actor: p.id.UserName, RunID: p.id.RunID}); err != nil {
		return []string{"The server cannot write: its log says why."}, err
	}
	if why := misnamed(lines); len(why) > 0 {
		return append(why, "Nothing was pushed."), errRefused
	}
	why, err := p.refusals(quarantine, lines)
	if err != nil {
		slog.Error("check a push against the protections", "repo", p.repo.Name, "err", err)
		return []string{"The server cannot check the protected branches: its log says why."}, err
	}
	if len(why) > 0 {
		return append(why, "Nothing was pushed."), errRefused
	}
	if p.created {
		remarks = append(remarks, "Made the repository "+p.repo.Name+", which did not exist.")
	}
	return remarks, nil
}

// misnamed says which refs of a push cannot be recorded. One that is there all the
// same may be deleted.
func misnamed(lines []line) (why []string) {
	for _, l := range lines {
		if err := git.CheckRef(l.ref); err != nil && l.sha != git.Zero {
			why = append(why, err.Error())
		}
	}
	return why
}

// after records what moved.
func (p *push) after(lines []line) ([]string, error) {
	var moved []git.Movement
	for _, l := range lines {
		if git.CheckRef(l.ref) != nil { // never recorded, and now deleted
			continue
		}
		moved = append(moved, p.s.movement(p.ctx, p.repo, l.ref, l.old, l.sha))
	}
	pushes, err := p.s.store.Record(p.ctx, p.repo, p.id.UserName, p.id.RunID, moved)
	if err != nil {
		return []string{"The push was received, and is recorded as soon as the server can."}, err
	}
	p.told = true
	p.s.follow(p.ctx, p.repo, pushes)
	return p.s.Remarks(p.ctx, p.id.BaseURL, p.repo, pushes), nil
}

// upload runs git upload-pack on the request's body.
func (s *Service) upload(ctx context.Context, w io.Writer, r *http.Request, dir string, body io.Reader) error {
	c := s.command(ctx, dir, "upload-pack", "--stateless-rpc", dir)
	c.Env = append(c.Env, "GIT_PROTOCOL="+protocol(r))
	complaint := &limited{max: 64 << 10}
	c.Stdin, c.Stdout, c.Stderr = body, w, complaint
	err := c.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil // git told the client itself; a client that needs no more ends it too
	}
	return err
}

// limited keeps the beginning of what is written to it.
type limited struct {
	strings.Builder
	max int
}

func (l *limited) Write(b []byte) (int, error) {
	if room := l.max - l.Len(); room > 0 {
		l.Builder.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}
