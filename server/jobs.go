package server

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/wherry-ml/wherry"
	workspaceapi "github.com/wherry-ml/wherry/api/workspace"
	"github.com/wherry-ml/wherry/store/workspace"
)

// permitJob stores the access_control_list that came with a new job, as a PUT
// of its permissions would.
func permitJob(files *workspaceapi.Service) func(ctx context.Context, list json.RawMessage) (func(jobID int64) error, error) {
	return func(ctx context.Context, raw json.RawMessage) (func(int64) error, error) {
		var list []workspace.Access
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "access_control_list: %v", err)
		}
		if err := workspaceapi.CheckPermissions("jobs", list); err != nil {
			return nil, err
		}
		return func(jobID int64) error {
			return files.SetPermissions(ctx, "jobs", strconv.FormatInt(jobID, 10), list)
		}, nil
	}
}
