package jobs

import (
	"context"
	"encoding/json"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/jobs"
)

type runNowIn struct {
	JobID         wherry.Int64          `json:"job_id"`
	JobParameters map[string]string     `json:"job_parameters"`
	Token         string                `json:"idempotency_token"`
	Only          []string              `json:"only"`
	Queue         *wherry.QueueSettings `json:"queue"`
	wherry.Overriding
}

type runNowOut struct {
	RunID       int64 `json:"run_id"`
	NumberInJob int64 `json:"number_in_job"`
}

func (s *Service) runNow(ctx context.Context, in *runNowIn) (*runNowOut, error) {
	id := wherry.IdentityFrom(ctx)
	l := store.Launch{
		WorkspaceID: id.WorkspaceID, JobID: int64(in.JobID), Type: wherry.RunTypeJob, Trigger: wherry.TriggerOneTime, Creator: id.UserName,
		Parameters: in.JobParameters, Overriding: in.Overriding, Only: in.Only, Token: in.Token,
	}
	if in.JobID <= 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "job_id is missing")
	}
	if in.Queue != nil {
		l.Queue = &in.Queue.Enabled
	}
	run, err := s.store.Launch(ctx, l)
	if err != nil {
		return nil, err
	}
	return &runNowOut{run, run}, nil
}

type submitOut struct {
	RunID int64 `json:"run_id"`
}

func (s *Service) submit(ctx context.Context, _ version, in *wherry.JobSettings) (*submitOut, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	if len(in.Tasks) == 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "tasks is missing")
	}
	var extra struct {
		Token string          `json:"idempotency_token"`
		ACL   json.RawMessage `json:"access_control_list"`
	}
	if err := json.Unmarshal(in.Raw, &extra); err != nil {
		return nil, err
	}
	if s.Permit != nil && len(extra.ACL) > 0 { // checked, and not kept: a run without a job has no permissions
		if _, err := s.Permit(ctx, extra.ACL); err != nil {
			return nil, err
		}
	}
	settings, err := in.Merge(nil, notSettings)
	if err != nil {
		return nil, err
	}
	id := wherry.IdentityFrom(ctx)
	runAs, err := s.prepare(ctx, settings, id.Principal)
	if err != nil {
		return nil, err
	}
	run, err := s.store.Launch(ctx, store.Launch{
		WorkspaceID: id.WorkspaceID, Settings: *settings, RunAs: runAs, Type: wherry.RunTypeSubmit, Trigger: wherry.TriggerOneTime,
		Creator: id.UserName, Token: extra.Token,
	})
	if err != nil {
		return nil, err
	}
	return &submitOut{run}, nil
}

type runIn struct {
	RunID wherry.Int64 `json:"run_id"`
}

func (s *Service) cancel(ctx context.Context, in *runIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.Cancel(ctx, wherry.IdentityFrom(ctx).WorkspaceID, int64(in.RunID))
}

type cancelAllIn struct {
	JobID  wherry.Int64 `json:"job_id"`
	Queued bool         `json:"all_queued_runs"`
}

func (s *Service) cancelAll(ctx context.Context, in *cancelAllIn) (*api.Empty, error) {
	if in.JobID == 0 && !in.Queued {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "job_id or all_queued_runs must be given")
	}
	ws := wherry.IdentityFrom(ctx).WorkspaceID
	if in.JobID != 0 {
		if _, err := s.store.Job(ctx, ws, int64(in.JobID)); err != nil {
			return nil, err
		}
	}
	return &api.Empty{}, s.store.CancelAll(ctx, ws, int64(in.JobID), in.Queued)
}

func (s *Service) deleteRun(ctx context.Context, in *runIn) (*api.Empty, error) {
	return &api.Empty{}, s.store.DeleteRun(ctx, wherry.IdentityFrom(ctx).WorkspaceID, int64(in.RunID))
}

type repairOut struct {
	RepairID int64 `json:"repair_id"`
}

func (s *Service) repair(ctx context.Context, in *wherry.RepairRequest) (*repairOut, error) {
	id, err := s.store.Repair(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in)
	if err != nil {
		return nil, err
	}
	return &repairOut{id}, nil
}
