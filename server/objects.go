package server

import (
	"context"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// permissionObjects tells the permissions API of the objects that other areas
// keep: that they exist, and who made them.
func permissionObjects(runs *jobs.Store, tracking *mlflow.Store) map[string]func(context.Context, string) (string, error) {
	return map[string]func(context.Context, string) (string, error){
		"jobs": func(ctx context.Context, id string) (string, error) {
			n, err := strconv.ParseInt(id, 10, 64)
			if err != nil {
				return "", wherry.Errorf(wherry.CodeInvalidParameter, "%q is not the id of a job", id)
			}
			j, err := runs.Job(ctx, wherry.IdentityFrom(ctx).WorkspaceID, n)
			if wherry.CodeOf(err) == wherry.CodeInvalidParameter { // the Jobs API's own code for it
				return "", wherry.Errorf(wherry.CodeDoesNotExist, "Job %d does not exist.", n)
			}
			if err != nil {
				return "", err
			}
			return j.Creator, nil
		},
		"experiments": func(ctx context.Context, id string) (string, error) {
			_, err := tracking.Experiment(ctx, wherry.IdentityFrom(ctx).WorkspaceID, id)
			return "", err
		},
	}
}
