package cicd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/cron"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/workflow"
)

// cronsOf lists the schedules of a repository's workflows, with the next time of
// each. One that can not be read is left out: Check refuses its file.
func cronsOf(repo git.Repo, files workflow.Files) (list []cicd.Schedule) {
	for _, name := range files.Paths() {
		w, _ := workflow.Parse(name, files[name])
		if w == nil {
			continue
		}
		for _, c := range w.Schedules() {
			if next, err := nextFire(c, time.Now()); err == nil {
				list = append(list, cicd.Schedule{RepoID: repo.ID, Path: name, Cron: c, NextFire: next.UnixMilli()})
			}
		}
	}
	return list
}

// nextFire is when a POSIX cron expression fires next, in UTC. Where both the
// day of the month and that of the week are given, either will do.
func nextFire(expression string, after time.Time) (next time.Time, err error) {
	f := strings.Fields(expression)
	if len(f) != 5 {
		return next, fmt.Errorf("%q does not have five fields", expression)
	}
	quartz := []string{}
	day, week := f[2], weekdays(f[4])
	if f[4] == "*" {
		quartz = append(quartz, fmt.Sprintf("0 %s %s %s %s ?", f[0], f[1], day, f[3]))
	}
	if f[4] != "*" {
		quartz = append(quartz, fmt.Sprintf("0 %s %s ? %s %s", f[0], f[1], f[3], week))
		if f[2] != "*" {
			quartz = append(quartz, fmt.Sprintf("0 %s %s %s %s ?", f[0], f[1], day, f[3]))
		}
	}
	for _, q := range quartz {
		s, err := cron.Parse(q)
		if err != nil {
			return next, err
		}
		if t := s.Next(after.UTC(), time.UTC); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if next.IsZero() {
		err = fmt.Errorf("%q never fires", expression)
	}
	return next, err
}

// weekdays changes 0 to 7, Sunday at both ends, into Quartz's 1 to 7.
func weekdays(field string) string {
	var b strings.Builder
	number := ""
	step := false
	flush := func() {
		if n, err := strconv.Atoi(number); err == nil && !step {
			number = strconv.Itoa(n%7 + 1)
		}
		b.WriteString(number)
		number, step = "", false
	}
	for _, c := range field {
		if c >= '0' && c <= '9' {
			number += string(c)
			continue
		}
		flush()
		step = c == '/'
		b.WriteRune(c)
	}
	flush()
	return b.String()
}

// schedules starts the workflows of default branches whose time has come.
func (s *Service) schedules(ctx context.Context) error {
	list, err := s.cfg.Store.Schedules(ctx, 0)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, c := range list {
		if c.NextFire > now.UnixMilli() {
			break
		}
		part := fmt.Sprintf("schedule %s of %s in %d", c.Cron, c.Path, c.RepoID)
		s.attempt(ctx, part, func() error { return s.fire(ctx, c, now) }, func(error) error { return s.skip(ctx, c, now) })
	}
	return nil
}

// fire starts the run of a schedule and moves it on, in one transaction: once
// for a time, however many servers there are. What was missed is not made up.
func (s *Service) fire(ctx context.Context, c cicd.Schedule, now time.Time) error {
	next, err := nextFire(c.Cron, now)
	if err != nil {
		return err
	}
	repo, err := s.cfg.Git.RepoByID(ctx, c.RepoID)
	if err != nil {
		return err
	}
	var o occasion
	var files workflow.Files
	var list []*cicd.Record
	sha, err := s.cfg.Hosting.Resolve(ctx, repo, "refs/heads/"+repo.DefaultBranch)
	if err == nil {
		payload, _ := json.Marshal(map[string]any{"schedule": c.Cron}) // a string
		o = occasion{repo: repo, actor: repo.Creator, status: sha, event: workflow.Event{Name: "schedule", Schedule: c.Cron, Ref: "refs/heads/" + repo.DefaultBranch, SHA: sha, Payload: payload}}
		if o.commit, err = s.cfg.Hosting.Commit(ctx, repo, sha); err != nil {
			return err
		}
		if files, list, err = s.runs(ctx, o); err != nil {
			return err
		}
		list = ofPath(list, c.Path)
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		first, err := cicd.Fired(tx, c, next.UnixMilli())
		if err != nil || !first || len(list) == 0 {
			return err
		}
		return s.insert(tx, o, files, list)
	})
}

// skip moves a schedule on that can not start its run.
func (s *Service) skip(ctx context.Context, c cicd.Schedule, now time.Time) error {
	next, err := nextFire(c.Cron, now)
	if err != nil {
		return err
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		_, err := cicd.Fired(tx, c, next.UnixMilli())
		return err
	})
}

func ofPath(list []*cicd.Record, path string) (of []*cicd.Record) {
	for _, r := range list {
		if r.Path == path {
			of = append(of, r)
		}
	}
	return of
}
