package deploy

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
)

// Rollback deploys a former version of a deployment again.
func Rollback(ctx context.Context, c *client.Client, id string, in deployment.Rollback) (*deployment.Report, error) {
	report := &deployment.Report{}
	return report, c.Do(ctx, "POST", "/api/wherry/deployments/"+url.PathEscape(id)+"/rollback", in, report)
}

// History lists the versions of a deployment, the newest first.
func History(ctx context.Context, c *client.Client, id string) (*deployment.History, error) {
	h := &deployment.History{}
	return h, c.Do(ctx, "GET", "/api/wherry/deployments/"+url.PathEscape(id)+"/history", nil, h)
}

// PrintRollback shows what a rollback did.
func PrintRollback(w io.Writer, r *deployment.Report) {
	unchanged := printChanges(w, r)
	for _, key := range r.Kept {
		fmt.Fprintf(w, "  %s: kept, for it may hold data (--auto-approve deletes it)\n", key)
	}
	fmt.Fprintf(w, "deployed version %d, which restores version %d: %d resources unchanged\n", r.Version, r.Restores, unchanged)
}

// printChanges shows what changed and what could not be deleted; it counts the
// rest.
func printChanges(w io.Writer, r *deployment.Report) (unchanged int) {
	for _, change := range r.Resources {
		if change.Action == deployment.Unchanged {
			unchanged++
			continue
		}
		PrintChange(w, deployment.Change{Key: change.Key, Action: change.Action, Name: change.Name, MovedFrom: change.MovedFrom, SharedWith: change.SharedWith})
	}
	for _, left := range r.Left {
		fmt.Fprintf(w, "! not deleted, the next deploy tries again: %s\n", left)
	}
	return unchanged
}
