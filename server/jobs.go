package server

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/workspace"
)

// permitJob stores the access_control_list that came with a new job, as a PUT
// of its permissions would.
func permitJob(objects *workspace.Store) func(ctx context.Context, ws, jobID int64, list json.RawMessage) error {
	return func(ctx context.Context, ws, jobID int64, raw json.RawMessage) error {
		var list []workspace.Access
		if err := json.Unmarshal(raw, &list); err != nil {
			return wherry.Errorf(wherry.CodeInvalidParameter, "access_control_list: %v", err)
		}
		for _, a := range list {
			if _, _, err := a.Principal(); err != nil {
				return err
			}
		}
		_, err := objects.ChangePermissions(ctx, ws, "jobs", strconv.FormatInt(jobID, 10), func([]workspace.Access) ([]workspace.Access, error) {
			return list, nil
		})
		return err
	}
}
