package jobs

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
)

type findIn struct {
	RunID wherry.Int64 `json:"run_id"`
	JobID wherry.Int64 `json:"job_id"`
}

// Found are the workspaces of a run, of a job, or of all jobs.
type Found struct {
	// Workspaces are host names; "" is the first, at the server's own address.
	Workspaces []string `json:"workspaces"`
}

// workspaces tells in which workspace a run or a job is, whose ids are of the whole
// installation, or which workspaces have jobs: to an admin at the installation's
// own address. Others find what is in their own workspace.
func (s *Service) workspaces(ctx context.Context, in *findIn) (*Found, error) {
	id := wherry.IdentityFrom(ctx)
	var list []int64
	var err error
	switch {
	case in.RunID != 0:
		list = make([]int64, 1)
		list[0], err = s.store.WorkspaceOfRun(ctx, int64(in.RunID))
	case in.JobID != 0:
		list = make([]int64, 1)
		list[0], err = s.store.WorkspaceOfJob(ctx, int64(in.JobID))
	default:
		list, err = s.store.Workspaces(ctx)
	}
	if err != nil {
		return nil, err
	}
	out := &Found{Workspaces: []string{}}
	for _, ws := range list {
		if of := id.Scope(); of == 0 || of == ws {
			out.Workspaces = append(out.Workspaces, auth.ElsewhereHost(ws))
		}
	}
	return out, nil
}
