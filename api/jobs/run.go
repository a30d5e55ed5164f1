package jobs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	store "github.com/wherry-ml/wherry/store/jobs"
)

type getRunIn struct {
	RunID          wherry.Int64 `json:"run_id"`
	PageToken      string       `json:"page_token"`
	History        bool         `json:"include_history"`
	ResolvedValues bool         `json:"include_resolved_values"`
}

// find returns a run that the caller may see: an admin all, others their own.
func (s *Service) find(ctx context.Context, runID int64) (*wherry.Run, *wherry.TaskRun, error) {
	id := wherry.IdentityFrom(ctx)
	r, t, err := s.store.Run(ctx, id.WorkspaceID, runID)
	if err == nil && !id.Admin && r.RunAs.ID != id.Principal.ID {
		err = wherry.Errorf(wherry.CodeInvalidParameter, "Run %d does not exist.", runID)
	}
	return r, t, err
}

func (s *Service) getRun(ctx context.Context, v version, in *getRunIn) (*runOut, error) {
	if in.RunID <= 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "run_id is missing")
	}
	r, t, err := s.find(ctx, int64(in.RunID))
	if err != nil {
		return nil, err
	}
	offset, err := pageOffset(in.PageToken)
	if err != nil {
		return nil, err
	}
	outputs, err := s.store.Outputs(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	view := viewer{run: r, outputs: outputs, base: wherry.IdentityFrom(ctx).BaseURL}
	if t != nil {
		return view.taskAsRun(t)
	}
	if err := tooLarge(v, "run", r.ID, len(r.Settings.Tasks)); err != nil {
		return nil, err
	}
	out, err := view.whole(v, offset, in.History)
	if err != nil {
		return nil, err
	}
	if out.HasMore {
		out.NextPageToken = strconv.Itoa(offset + pageSize)
	}
	return out, nil
}

type listRunsIn struct {
	JobID         wherry.Int64 `json:"job_id"`
	ActiveOnly    bool         `json:"active_only"`
	CompletedOnly bool         `json:"completed_only"`
	RunType       string       `json:"run_type"`
	From          wherry.Int64 `json:"start_time_from"`
	To            wherry.Int64 `json:"start_time_to"`
	Limit         *int         `json:"limit"`
	Offset        int          `json:"offset"`
	ExpandTasks   bool         `json:"expand_tasks"`
	PageToken     string       `json:"page_token"`
}

type listRunsOut struct {
	Runs          []*runOut `json:"runs,omitempty"`
	HasMore       bool      `json:"has_more"`
	NextPageToken string    `json:"next_page_token,omitempty"`
	PrevPageToken string    `json:"prev_page_token,omitempty"`
}

const maxRuns = 25 // runs/list gives no more at once

func (in *listRunsIn) limit() (int, error) {
	if in.Limit == nil {
		return 20, nil
	}
	if *in.Limit == 0 {
		return maxRuns, nil
	}
	if *in.Limit < 0 || *in.Limit > maxRuns {
		return 0, wherry.Errorf(wherry.CodeInvalidParameter, "limit is between 0 and %d, not %d", maxRuns, *in.Limit)
	}
	return *in.Limit, nil
}

func (s *Service) listRuns(ctx context.Context, v version, in *listRunsIn) (*listRunsOut, error) {
	limit, err := in.limit()
	if err != nil {
		return nil, err
	}
	if in.ActiveOnly && in.CompletedOnly {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "active_only and completed_only exclude each other")
	}
	id := wherry.IdentityFrom(ctx)
	f := store.Filter{
		WorkspaceID: id.WorkspaceID, JobID: int64(in.JobID), Active: in.ActiveOnly, Completed: in.CompletedOnly, Type: in.RunType,
		From: int64(in.From), To: int64(in.To), Limit: limit + 1, Attempts: in.ExpandTasks,
	}
	if !id.Admin {
		f.Principal = id.Principal.ID
	}
	if err := pageOf(&f, in.PageToken); err != nil {
		return nil, err
	}
	list, err := s.store.Runs(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &listRunsOut{HasMore: len(list) > limit}
	if out.HasMore {
		list = list[:limit]
		out.NextPageToken = fmt.Sprintf("before-%d", list[limit-1].ID)
	}
	if f.Before != 0 {
		out.PrevPageToken = "first"
	}
	for _, r := range list {
		view := viewer{run: r, base: id.BaseURL}
		if !in.ExpandTasks {
			out.Runs = append(out.Runs, view.plain())
			continue
		}
		one, err := view.whole(v, 0, false)
		if err != nil {
			return nil, err
		}
		out.Runs = append(out.Runs, one)
	}
	return out, nil
}

func pageOf(f *store.Filter, token string) error {
	if token == "" || token == "first" {
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(token, "before-"), 10, 64)
	if err != nil || n <= 0 {
		return wherry.Errorf(wherry.CodeInvalidParameter, "page_token %q is not one that this server gave", token)
	}
	f.Before = n
	return nil
}
