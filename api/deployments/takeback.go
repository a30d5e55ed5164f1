package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"

	"github.com/wherry-ml/wherry/store/deployments"
)

// failed takes back what a version did and completes it as failed.
func (s *Service) failed(ctx context.Context, v deployments.Version, reason string) error {
	d, err := s.deploymentOf(ctx, v)
	if err != nil {
		return err
	}
	c, end, err := s.callerFor(ctx, d.WorkspaceID, v.CreatedBy, "recovery of a deploy")
	if err != nil {
		return err
	}
	defer end()
	c.deployment = d.ID
	if err := s.takeBack(ctx, c, v); err != nil {
		slog.Error("take back a deploy", "deployment", v.DeploymentID, "version", v.Version, "err", err)
	}
	return s.store.Fail(ctx, v, reason, v.CreatedBy)
}

// takeBack undoes a version's operations, the last one first.
func (s *Service) takeBack(ctx context.Context, c *caller, v deployments.Version) error {
	if err := s.orphans(ctx, c, v.DeploymentID); err != nil {
		return err
	}
	ops, err := s.store.Operations(ctx, v.DeploymentID, v.Version)
	if err != nil {
		return err
	}
	var errs []error
	for i := len(ops) - 1; i >= 0; i-- {
		op := ops[i]
		if set, ok := setExtras[path.Ext(op.Kind)]; ok {
			errs = append(errs, set(ctx, c, kindOf(strings.TrimSuffix(op.Kind, path.Ext(op.Kind))), op.ResourceID, listOf(op.State), listOf(op.Before)))
			continue
		}
		k := kinds[op.Kind]
		var before, state map[string]any
		_ = json.Unmarshal([]byte(op.Before), &before)
		_ = json.Unmarshal([]byte(op.State), &state)
		switch {
		case op.Action == deployments.ActionCreate && op.Kind != "jobs" && op.ResourceID != "":
			id := op.ResourceID
			if op.Status == deployments.OperationPending && k.find != nil {
				if id, err = k.find(ctx, c, state); err != nil || id == "" {
					errs = append(errs, err)
					continue
				}
			}
			if live, err := k.get(ctx, c, id); err == nil && live != nil {
				errs = append(errs, k.remove(ctx, c, id))
			}
		case op.Action == deployments.ActionRecreate && before != nil:
			errs = append(errs, s.unmake(ctx, c, k, op, before, state))
		case (op.Action == deployments.ActionUpdate || op.Action == deployments.ActionBind) && before != nil:
			errs = append(errs, restore(ctx, c, k, op, before, state))
		}
	}
	return errors.Join(errs...)
}

// restore gives a changed resource its old settings. One that was to be renamed
// is looked for under both names.
func restore(ctx context.Context, c *caller, k kind, op deployments.Operation, before, state map[string]any) error {
	id := op.ResourceID
	live, err := k.get(ctx, c, id)
	if err == nil && live == nil && k.find != nil {
		id = k.name(state)
		live, err = k.get(ctx, c, id)
	}
	if err != nil || live == nil || len(diff("", before, live, nil)) == 0 {
		return err
	}
	_, err = k.update(ctx, c, id, live, restorable(op.Kind, before, state))
	return err
}

// unmake takes back a resource that was made anew: the old one comes back with
// its settings; what it held is gone, as the deployer was told.
func (s *Service) unmake(ctx context.Context, c *caller, k kind, op deployments.Operation, before, state map[string]any) error {
	if id, err := k.find(ctx, c, state); err != nil {
		return err
	} else if id != "" && op.Status == deployments.OperationSucceeded {
		if err := k.remove(ctx, c, id); err != nil {
			return err
		}
	}
	if id, err := k.find(ctx, c, before); err != nil || id != "" {
		return err
	}
	_, err := k.create(ctx, c, restorable(op.Kind, before, state))
	return err
}

// restorable is what an update takes to bring old settings back: all of a job's,
// of other kinds only the fields that the deploy set.
func restorable(kind string, before, state map[string]any) map[string]any {
	if kind == "jobs" {
		return before
	}
	back := map[string]any{}
	for key := range state {
		if v, ok := before[key]; ok {
			back[key] = v
		}
	}
	return back
}

// orphans deletes jobs that carry a deployment's id and that it does not know
// of: they were made by a deploy that was killed or failed.
func (s *Service) orphans(ctx context.Context, c *caller, deploymentID string) error {
	rows, err := s.store.Resources(ctx, deploymentID)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, r := range rows {
		known[r.ResourceID] = r.Kind == "jobs" || known[r.ResourceID]
	}
	token := ""
	for {
		var page struct {
			Jobs []struct {
				ID       int64 `json:"job_id"`
				Settings struct {
					Deployment struct {
						ID string `json:"deployment_id"`
					} `json:"deployment"`
				} `json:"settings"`
			} `json:"jobs"`
			Next string `json:"next_page_token"`
		}
		if err := c.call(ctx, "GET", "/api/2.2/jobs/list?limit=100&page_token="+urlQuery(token), nil, &page); err != nil {
			if missing(err) { // a server without jobs
				return nil
			}
			return err
		}
		for _, j := range page.Jobs {
			id := fmt.Sprint(j.ID)
			if j.Settings.Deployment.ID == deploymentID && !known[id] {
				if err := removeJob(ctx, c, id); err != nil {
					return err
				}
			}
		}
		if token = page.Next; token == "" {
			return nil
		}
	}
}

// recover takes back what a killed server left half deployed, and puts the live
// files of those deployments right. One that can not be taken back now is left
// as it is, to the next start or, once its lease is over, to the next deploy:
// the others and the server go on.
func (s *Service) recover(ctx context.Context) error {
	list, err := s.store.Unfinished(ctx)
	if err != nil {
		return err
	}
	for _, v := range list {
		if err := s.recoverOne(ctx, v); err != nil {
			slog.Error("take back a deploy that was broken off", "deployment", v.DeploymentID, "version", v.Version, "err", err)
		}
	}
	if err := s.settleAll(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

func (s *Service) recoverOne(ctx context.Context, v deployments.Version) error {
	d, err := s.deploymentOf(ctx, v)
	if err != nil {
		return err
	}
	slog.Info("taking back a deploy that was broken off", "root", d.RootPath, "version", v.Version)
	if d.FilePath != "" {
		if err := s.goLive(d.WorkspaceID, v.TreeDigest, d.TreeDigest, d.FilePath); err != nil {
			return fmt.Errorf("restore the files of %s: %w", d.RootPath, err)
		}
	}
	return s.failed(ctx, v, deployments.ReasonExpired)
}

func (s *Service) deploymentOf(ctx context.Context, v deployments.Version) (deployments.Deployment, error) {
	return s.store.ByID(ctx, v.DeploymentID)
}
