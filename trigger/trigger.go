// Package trigger starts runs of jobs by the clock: cron schedules and periodic
// triggers. What time it was last is stored, so that a server that was down
// knows what it missed: of all missed times the latest fires, once.
package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
	_ "time/tzdata" // zones of schedules are known on a machine without them too

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cron"
	"github.com/wherry-ml/wherry/store/jobs"
)

// tick bounds the wait: a machine that slept, or whose clock was set, notices.
const tick = 30 * time.Second

// Trigger is the loop over schedules.
type Trigger struct {
	runs *jobs.Store
}

// New returns a trigger; Run does its work.
func New(runs *jobs.Store) *Trigger { return &Trigger{runs: runs} }

// Run works until ctx ends.
func (t *Trigger) Run(ctx context.Context) error {
	changed, stop := t.runs.DB().Watch(jobs.TopicJob)
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	stale := true // the jobs may have other schedules than were stored
	for {
		wait, err := t.pass(ctx, stale)
		stale = err != nil && stale
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			slog.Error("trigger", "err", err)
			wait = time.Second
		}
		timer.Reset(wait)
		select {
		case <-changed:
			stale = true
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// pass fires what is due and returns how long nothing will be.
func (t *Trigger) pass(ctx context.Context, stale bool) (time.Duration, error) {
	if stale {
		if err := t.refresh(ctx); err != nil {
			return 0, err
		}
	}
	list, err := t.runs.Schedules(ctx)
	if err != nil {
		return 0, err
	}
	wait := tick
	for _, c := range list {
		if left := time.Until(time.UnixMilli(c.NextFire)); left > 0 {
			return min(wait, left), nil // the list is in the order of time
		}
		if err := t.fire(ctx, c); err != nil {
			return 0, err
		}
		wait = 0
	}
	return wait, nil
}

// refresh works out the next time of each schedule that is new or changed.
func (t *Trigger) refresh(ctx context.Context) error {
	scheduled, err := t.runs.Scheduled(ctx)
	if err != nil {
		return err
	}
	stored, err := t.runs.Schedules(ctx)
	if err != nil {
		return err
	}
	have := map[int64]jobs.Schedule{}
	for _, c := range stored {
		have[c.JobID] = c
	}
	for _, j := range scheduled {
		spec := specOf(&j.Settings)
		old, known := have[j.ID]
		delete(have, j.ID)
		if spec == old.Spec || spec == "" && !known {
			continue
		}
		c := jobs.Schedule{JobID: j.ID, Spec: spec, LastFire: old.LastFire, Skipped: old.Skipped}
		if spec != "" {
			s, err := parse(spec)
			if err != nil { // it was checked when it was stored
				slog.Error("trigger", "job", j.ID, "err", err)
				continue
			}
			c.NextFire = s.next(time.Now())
		}
		if err := t.runs.SetSchedule(ctx, c); err != nil {
			return err
		}
	}
	for id := range have { // the job has no schedule any more
		if err := t.runs.SetSchedule(ctx, jobs.Schedule{JobID: id}); err != nil {
			return err
		}
	}
	return nil
}

// fire starts the run of the latest time that has come, and stores the next.
func (t *Trigger) fire(ctx context.Context, c jobs.Schedule) error {
	s, err := parse(c.Spec)
	if err != nil {
		return err
	}
	now := time.Now()
	at, next, skipped := s.latest(c.NextFire, now)
	_, err = t.runs.Fire(ctx, jobs.Launch{
		WorkspaceID: c.WorkspaceID, JobID: c.JobID, Type: wherry.RunTypeJob, Trigger: wherry.TriggerPeriodic, TriggerTime: at, Creator: c.Creator,
	}, 0)
	if err != nil && wherry.CodeOf(err) == wherry.CodeInternal {
		return fmt.Errorf("job %d: %w", c.JobID, err)
	}
	if err != nil {
		slog.Warn("a scheduled run did not start", "job", c.JobID, "err", err)
	}
	c.NextFire, c.LastFire, c.Skipped = next, at, c.Skipped+skipped
	return t.runs.SetSchedule(ctx, c)
}

// spec is what the next time depends on.
type spec struct {
	Expression string `json:"cron,omitempty"`
	Timezone   string `json:"zone,omitempty"`
	Every      int64  `json:"every_ms,omitempty"`

	cron *cron.Schedule
	loc  *time.Location
}

// specOf is the schedule of a job as text, "" if it has none or it is paused.
func specOf(s *wherry.JobSettings) string {
	var c spec
	switch {
	case s.Schedule != nil && s.Schedule.PauseStatus != wherry.Paused:
		c = spec{Expression: s.Schedule.Expression, Timezone: s.Schedule.Timezone}
	case s.Trigger != nil && s.Trigger.Periodic != nil && s.Trigger.PauseStatus != wherry.Paused:
		unit := map[string]time.Duration{"MINUTES": time.Minute, "HOURS": time.Hour, "DAYS": 24 * time.Hour, "WEEKS": 7 * 24 * time.Hour}
		c.Every = s.Trigger.Periodic.Interval * unit[s.Trigger.Periodic.Unit].Milliseconds()
	}
	if c.Expression == "" && c.Every <= 0 {
		return ""
	}
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return string(b)
}

func parse(text string) (s spec, err error) {
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, err
	}
	if s.Every > 0 {
		return s, nil
	}
	if s.cron, err = cron.Parse(s.Expression); err != nil {
		return s, err
	}
	s.loc, err = cron.Zone(s.Timezone)
	return s, err
}

// next is the first time after t, in milliseconds; 0 for never.
func (s spec) next(t time.Time) int64 {
	if s.Every > 0 {
		return t.UnixMilli() + s.Every
	}
	at := s.cron.Next(t, s.loc)
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

// latest returns the last time that has come by now, given the first one that
// did, the next one after it, and how many lie between.
func (s spec) latest(first int64, now time.Time) (at, next, skipped int64) {
	at = first
	if s.Every > 0 {
		skipped = (now.UnixMilli() - first) / s.Every
		at += skipped * s.Every
		return at, at + s.Every, skipped
	}
	for {
		next = s.next(time.UnixMilli(at))
		if next == 0 || next > now.UnixMilli() {
			return at, next, skipped
		}
		at = next
		skipped++
	}
}
