package ui

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cicd"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/jobs"
)

// scope is the workspace whose jobs and runs a page shows, 0 for all of them: at
// the installation's own address a person sees what they may of each.
func scope(id wherry.Identity) int64 {
	if id.WorkspaceID == wherry.DefaultWorkspace && id.RunID == 0 {
		return 0
	}
	return id.Scope()
}

// filter chooses the runs that the caller may see: an admin all, others their
// own.
func filter(ctx context.Context) jobs.Filter {
	id := wherry.IdentityFrom(ctx)
	f := jobs.Filter{WorkspaceID: scope(id)}
	if !id.Admin {
		f.Principal = id.Principal.ID
	}
	return f
}

type homeView struct {
	Active, Failed, Recent []*wherry.Run
	Next                   []nextFire
	Environments           []environmentRow
	Reviews                []reviewCard // that wait for the reader
}

// nextFire is when a job's schedule starts it next.
type nextFire struct {
	ID   int64
	Name string
	At   int64
}

// home shows what runs, what failed and what comes.
func (s *Service) home(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	var v homeView
	var err error
	f := filter(ctx)
	f.Active, f.Limit = true, 20
	if v.Active, err = s.cfg.Jobs.Runs(ctx, f); err != nil {
		return err
	}
	f.Active, f.Completed, f.Limit = false, true, 200
	ended, err := s.cfg.Jobs.Runs(ctx, f)
	if err != nil {
		return err
	}
	v.Recent = ended[:min(8, len(ended))]
	for _, run := range ended {
		if failing(run.Standing) && len(v.Failed) < 8 {
			v.Failed = append(v.Failed, run)
		}
	}
	reviews, err := s.cfg.Workflows.Reviews(ctx)
	if err != nil {
		return err
	}
	v.Reviews = cards(ctx, slices.DeleteFunc(reviews, func(r cicd.Review) bool { return !r.May }))
	if wherry.IdentityFrom(ctx).Admin {
		if v.Next, err = s.nextFires(ctx, 8); err != nil {
			return err
		}
		if v.Environments, err = s.environmentRows(ctx); err != nil {
			return err
		}
	}
	return s.render(w, r, http.StatusOK, "home", page{Title: "Home", Section: "home", Body: v})
}

func (s *Service) nextFires(ctx context.Context, limit int) (list []nextFire, err error) {
	schedules, err := s.cfg.Jobs.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	ws := scope(wherry.IdentityFrom(ctx))
	for _, c := range schedules {
		if ws != 0 && c.WorkspaceID != ws || c.NextFire < time.Now().UnixMilli() || len(list) == limit {
			continue
		}
		j, err := s.cfg.Jobs.Job(ctx, c.WorkspaceID, c.JobID)
		if wherry.CodeOf(err) == wherry.CodeInvalidParameter {
			continue // deleted in the meantime
		}
		if err != nil {
			return nil, err
		}
		list = append(list, nextFire{c.JobID, j.Settings.Name, c.NextFire})
	}
	return list, nil
}

const pageSize = 50

type jobsView struct {
	Jobs       []jobRow
	Name       string // the search
	Prev, Next string // links
}

type jobRow struct {
	*wherry.Job
	From deployments.Deployment // that it comes from; of a job that was made by hand none
	Last []*wherry.Run          // the oldest first
	Next int64
	// Paused says that the job has a schedule or trigger that rests.
	Paused bool
}

func (s *Service) jobs(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	offset, _ := strconv.Atoi(q.Get("offset"))
	offset = max(0, offset)
	v := jobsView{Name: q.Get("name")}
	list, err := s.cfg.Jobs.Jobs(ctx, scope(wherry.IdentityFrom(ctx)), v.Name, pageSize+1, offset)
	if err != nil {
		return err
	}
	if len(list) > pageSize {
		list, v.Next = list[:pageSize], "?offset="+strconv.Itoa(offset+pageSize)
	}
	if offset > 0 {
		v.Prev = "?offset=" + strconv.Itoa(max(0, offset-pageSize))
	}
	schedules, err := s.cfg.Jobs.Schedules(ctx)
	if err != nil {
		return err
	}
	next := map[int64]int64{}
	for _, c := range schedules {
		next[c.JobID] = c.NextFire
	}
	ids := make([]int64, 0, len(list))
	for _, j := range list {
		ids = append(ids, j.ID)
	}
	from, err := s.cfg.Deployed.Sources(ctx, ids)
	if err != nil {
		return err
	}
	for _, j := range list {
		row := jobRow{Job: j, From: from[j.ID], Next: next[j.ID], Paused: paused(&j.Settings)}
		f := filter(ctx)
		f.JobID, f.Limit = j.ID, 12
		last, err := s.cfg.Jobs.Runs(ctx, f)
		if err != nil {
			return err
		}
		for i := len(last) - 1; i >= 0; i-- {
			row.Last = append(row.Last, last[i])
		}
		v.Jobs = append(v.Jobs, row)
	}
	return s.render(w, r, http.StatusOK, "jobs", page{Title: "Jobs", Section: "jobs", Body: v})
}

func paused(s *wherry.JobSettings) bool {
	return s.Schedule != nil && s.Schedule.PauseStatus == wherry.Paused || s.Trigger != nil && s.Trigger.PauseStatus == wherry.Paused
}

type runsView struct {
	Runs []*wherry.Run
	Next string
}

// runs lists all runs, those that were submitted without a job too.
func (s *Service) runs(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := filter(ctx)
	f.Limit = pageSize + 1
	f.Before, _ = strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	var v runsView
	var err error
	if v.Runs, err = s.cfg.Jobs.Runs(ctx, f); err != nil {
		return err
	}
	if len(v.Runs) > pageSize {
		v.Runs = v.Runs[:pageSize]
		v.Next = "?before=" + strconv.FormatInt(v.Runs[pageSize-1].ID, 10)
	}
	return s.render(w, r, http.StatusOK, "runs", page{Title: "Runs", Section: "runs", Body: v})
}
