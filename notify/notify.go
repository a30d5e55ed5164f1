// Package notify sends what store/notify holds: by e-mail, to Slack, Teams,
// PagerDuty and webhooks, each notice at least once. A receiver that is not
// there is tried again for a day; a server that was killed after it sent and
// before it noted so sends again, with the same id, by which receivers can tell.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/workspace"
)

const (
	// atOnce is how many notices are sent beside each other.
	atOnce = 8
	// leased is how long a notice is this server's: longer than a send may take.
	leased = 2 * time.Minute
	// tick is how often the outbox is read when nothing wakes the loop.
	tick = time.Minute
	// within is how long a notice is tried. News of yesterday is none.
	within = 24 * time.Hour
	// The first and the longest time between two attempts.
	shortest, longest = 10 * time.Second, 6 * time.Hour
)

// Options are what the server's owner decides.
type Options struct {
	Mail *Mail // nil if there is no server for e-mail
	// AllowHosts are hosts of webhooks, as host or host:port, that may be at an
	// address which is not public.
	AllowHosts []string
	// PagerDuty is the address of its Events API: "" is that of the US, which
	// accounts in the EU have not.
	PagerDuty string
}

// Config is what a Service works with.
type Config struct {
	Options
	Store *notify.Store
	Key   *workspace.Key // opens destinations
	Epoch int64          // of this server
	URL   string         // this server's, for links
}

// Service sends.
type Service struct {
	cfg  Config
	http *http.Client
}

// New returns a service; Run does its work.
func New(cfg Config) *Service {
	if cfg.PagerDuty == "" {
		cfg.PagerDuty = "https://events.pagerduty.com"
	}
	return &Service{cfg: cfg, http: guarded(cfg.AllowHosts)}
}

// Run sends until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	woken, stop := s.cfg.Store.DB().Watch(notify.Topic)
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, err := s.Pass(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			slog.Error("notify", "err", err)
			wait = shortest
		}
		if wait < 0 || wait > tick {
			wait = tick
		}
		timer.Reset(wait)
		select {
		case <-woken:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Pass sends what is due, and returns how long nothing else is: 0 if there may
// be more already, -1 if nothing waits.
func (s *Service) Pass(ctx context.Context) (time.Duration, error) {
	list, wait, err := s.cfg.Store.Lease(ctx, s.cfg.Epoch, atOnce, leased)
	if err != nil || len(list) == 0 {
		return wait, err
	}
	var g errgroup.Group
	for _, n := range list {
		g.Go(func() error { return s.send(ctx, n) })
	}
	return 0, g.Wait()
}

// send delivers one notice and notes what became of it.
func (s *Service) send(ctx context.Context, n notify.Notification) error {
	err := s.deliver(ctx, n)
	if err != nil && ctx.Err() != nil {
		return nil // the server stops: the next one sends it
	}
	note := context.WithoutCancel(ctx) // what is known is noted, also while the server stops
	if err == nil {
		return s.cfg.Store.Sent(note, n)
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		slog.Warn("notify: given up", "id", n.ID, "kind", n.Kind, "why", r.why)
		return s.cfg.Store.GiveUp(note, n, r.state, r.why)
	}
	after := delay(n.Attempts)
	if l, ok := errors.AsType[*busy](err); ok {
		after = max(after, min(l.after, longest))
	}
	return s.cfg.Store.Later(note, n, after, within, err.Error())
}

// delay is how long to wait after the given number of attempts: twice as long
// each time, of which the last half is left to chance, so that many notices do
// not come back together.
func delay(attempts int) time.Duration {
	d := longest
	if n := attempts - 1; n < 12 {
		d = min(longest, shortest<<n)
	}
	return d/2 + rand.N(d/2)
}

// refusal is an error that trying again does not cure.
type refusal struct{ state, why string }

func (r *refusal) Error() string { return r.why }

func undeliverable(why string) error { return &refusal{notify.Undeliverable, why} }

// busy is an answer that says when to come again.
type busy struct {
	error
	after time.Duration
}

// deliver brings a notice to its receiver.
func (s *Service) deliver(ctx context.Context, n notify.Notification) error {
	if n.Notice.Link != "" && n.Notice.Link[0] == '/' {
		n.Notice.Link = s.cfg.URL + n.Notice.Link
	}
	if n.Channel == notify.Email {
		if s.cfg.Mail == nil {
			return undeliverable("no server for e-mail is configured: start the server with `wherry up --smtp smtp://user@host:587 --smtp-from ADDRESS`, then `wherry notifications retry`")
		}
		return s.cfg.Mail.send(ctx, n)
	}
	stored, err := s.cfg.Store.Destination(ctx, n.WorkspaceID, n.Address)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return undeliverable("there is no notification destination " + n.Address + ": make one (`wherry notifications add`), and name its id in the job")
	}
	if err != nil {
		return err
	}
	c, err := OpenConfig(s.cfg.Key, stored)
	if err != nil {
		return undeliverable(err.Error())
	}
	return s.post(ctx, n, c)
}
