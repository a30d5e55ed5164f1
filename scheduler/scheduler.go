// Package scheduler moves stored runs on: it gives ready attempts to compute,
// tells compute what to end, and lets time do its part (time-outs, retries,
// queues). What follows from a result is decided where it is stored
// (store/jobs), in the same transaction.
package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/jobs"
)

// Compute runs attempts. All calls return at once, without waiting for compute,
// and change nothing when they are repeated.
type Compute interface {
	// Start begins an attempt; its end comes as jobs.Store.AttemptDone.
	Start(ctx context.Context, a wherry.Attempt) error
	// Cancel ends an attempt, which is then settled as all are.
	Cancel(ctx context.Context, runID int64) error
	// ReleaseJob gives back what a job run that has ended still holds.
	ReleaseJob(ctx context.Context, jobRunID int64) error
}

// tick is how often the store is read when nothing wakes the scheduler: another
// server on the same database does not.
const tick = 5 * time.Second

// Scheduler is the loop over stored runs.
type Scheduler struct {
	runs    *jobs.Store
	compute Compute
	// started and canceled are the attempts that compute knows of already. They
	// save calls: after a restart they are empty, and the calls are repeated.
	started, canceled map[int64]bool
}

// New returns a scheduler; Run does its work.
func New(runs *jobs.Store, compute Compute) *Scheduler {
	return &Scheduler{runs: runs, compute: compute, started: map[int64]bool{}, canceled: map[int64]bool{}}
}

// Run works until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	woken, stop := s.runs.DB().Watch(jobs.TopicRun)
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, err := s.pass(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			slog.Error("scheduler", "err", err)
			wait = time.Second
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

// pass does what there is to do now, and returns how long nothing will be
// unless something wakes it.
func (s *Scheduler) pass(ctx context.Context) (time.Duration, error) {
	w, err := s.runs.Waiting(ctx)
	if err != nil {
		return 0, err
	}
	keep(s.started, w.Start, w.Cancel)
	keep(s.canceled, w.Cancel)
	// One that fails does not keep the others.
	for _, id := range w.Start {
		err = errors.Join(err, s.start(ctx, id))
	}
	for _, id := range w.Cancel {
		err = errors.Join(err, s.cancel(ctx, id))
	}
	for _, id := range w.Release {
		err = errors.Join(err, s.release(ctx, id))
	}
	if w.WakeAt > 0 && !time.Now().Before(time.UnixMilli(w.WakeAt)) {
		_, derr := s.runs.Due(ctx)
		return 0, errors.Join(err, derr)
	}
	if err != nil {
		return 0, err
	}
	if w.WakeAt == 0 {
		return tick, nil
	}
	return min(time.Until(time.UnixMilli(w.WakeAt)), tick), nil
}

func (s *Scheduler) release(ctx context.Context, jobRunID int64) error {
	if err := s.compute.ReleaseJob(ctx, jobRunID); err != nil {
		return err
	}
	return s.runs.Released(ctx, jobRunID)
}

// keep forgets the ids that are in none of the lists.
func keep(set map[int64]bool, lists ...[]int64) {
	live := map[int64]bool{}
	for _, list := range lists {
		for _, id := range list {
			live[id] = true
		}
	}
	for id := range set {
		if !live[id] {
			delete(set, id)
		}
	}
}

// start gives an attempt to compute, once. What compute refuses has failed.
func (s *Scheduler) start(ctx context.Context, id int64) error {
	if s.started[id] {
		return nil
	}
	a, ok, err := s.runs.Attempt(ctx, id)
	if err != nil {
		return err
	}
	s.started[id] = true
	if !ok {
		return nil // settled here, or by now
	}
	if err := s.compute.Start(ctx, *a); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return s.runs.AttemptDone(ctx, id, "", refusal(err))
	}
	return nil
}

func refusal(err error) wherry.Result {
	r := wherry.Result{State: wherry.ResultFailed, Code: wherry.TermClusterError, Message: err.Error(), Error: err.Error()}
	if wherry.CodeOf(err) == wherry.CodeInternal {
		slog.Error("start attempt", "err", err)
		r.Code, r.Message, r.Error = wherry.TermInternalError, "internal error", ""
	}
	return r
}

// cancel tells compute to end an attempt, once. Compute is given the attempt
// first: it settles what it knows only.
func (s *Scheduler) cancel(ctx context.Context, id int64) error {
	if s.canceled[id] {
		return nil
	}
	if err := s.start(ctx, id); err != nil {
		return err
	}
	s.canceled[id] = true
	return s.compute.Cancel(ctx, id)
}
