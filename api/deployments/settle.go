package deployments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// settle does what follows a completed version: it takes away what the bundle
// has no more, which cannot be brought back and so must not come before, and
// writes the file that other tools read. What cannot be deleted is left to the
// next deploy.
func (s *Service) settle(ctx context.Context, c *caller, v deployments.Version) (*deployment.Report, error) {
	report := &deployment.Report{}
	if err := s.step("completed"); err != nil {
		return report, err
	}
	request, err := s.store.Request(ctx, v.DeploymentID, v.Version)
	if err != nil {
		return report, err
	}
	in := &deployment.Request{}
	if err := json.Unmarshal([]byte(request), in); err != nil {
		return report, fmt.Errorf("read the request of version %d: %w", v.Version, err)
	}
	rows, err := s.store.Resources(ctx, v.DeploymentID)
	if err != nil {
		return report, err
	}
	if err := s.metadata(c.WorkspaceID, in, rows); err != nil {
		return report, err
	}
	var deleted []string
	for _, row := range rows {
		if !row.Doomed {
			continue
		}
		err := clearExtras(ctx, c, in, row)
		_, rerr := s.remove(ctx, c, row)
		if err = errors.Join(err, rerr); err != nil {
			report.Left = append(report.Left, fmt.Sprintf("%s: %v", row.Key, err))
			continue
		}
		deleted = append(deleted, row.Key)
		report.Resources = append(report.Resources, deployment.Change{Key: row.Key, Action: deployment.Delete, ID: row.ResourceID})
	}
	return report, s.store.Settle(ctx, v, deleted)
}

// settleAll settles the versions after which a server was killed.
func (s *Service) settleAll(ctx context.Context) error {
	list, err := s.store.Unsettled(ctx)
	if err != nil {
		return err
	}
	for _, v := range list {
		left, err := s.settleOne(ctx, v)
		if err != nil || len(left) > 0 {
			slog.Error("settle a deploy", "deployment", v.DeploymentID, "version", v.Version, "left", left, "err", err)
		}
	}
	return nil
}

func (s *Service) settleOne(ctx context.Context, v deployments.Version) (left []string, err error) {
	d, err := s.deploymentOf(ctx, v)
	if err != nil {
		return nil, err
	}
	c, end, err := s.callerFor(ctx, d.WorkspaceID, v.CreatedBy, "recovery of a deploy")
	if err != nil {
		return nil, err
	}
	defer end()
	report, err := s.settle(ctx, c, v)
	return report.Left, err
}

// remove deletes a resource that the deployment made; one that it found stays,
// and so does one that another deployment has bound, whose it is then.
func (s *Service) remove(ctx context.Context, c *caller, r deployments.Resource) (stays bool, err error) {
	k, ok := kinds[r.Kind]
	if !ok || !r.Owned { // permissions and grants are no resource
		return true, nil
	}
	live, err := k.get(ctx, c, r.ResourceID)
	if err != nil || live == nil {
		return false, err
	}
	if passed, err := s.store.PassOn(ctx, c.WorkspaceID, r); passed || err != nil {
		return passed, err
	}
	return false, k.remove(ctx, c, r.ResourceID)
}

// metadata writes what other tools read of a deployed bundle.
func (s *Service) metadata(ws int64, in *deployment.Request, rows []deployments.Resource) error {
	jobs := map[string]any{}
	for _, r := range rows {
		if key, ok := strings.CutPrefix(r.Key, "jobs."); ok && r.Kind == "jobs" && !r.Doomed {
			at, _, _ := strings.Cut(placeOf(in, r.Key), ":")
			jobs[key] = map[string]any{"id": json.Number(r.ResourceID), "relative_path": at}
		}
	}
	doc := map[string]any{"version": 1, "config": map[string]any{
		"bundle": map[string]any{"git": map[string]any{
			"branch": in.Git.Branch, "origin_url": in.Git.OriginURL, "commit": in.Git.Commit, "bundle_root_path": in.Git.RootPath,
		}},
		"workspace": map[string]any{"file_path": in.FilePath}, "resources": map[string]any{"jobs": jobs},
	}}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return s.put(ws, path.Join(in.StatePath, "metadata.json"), bytes.NewReader(append(b, '\n')))
}

// placeOf is where in the bundle's files a resource is, "" for one that it has
// not.
func placeOf(in *deployment.Request, key string) string {
	for _, r := range in.Resources {
		if r.ID() == key {
			return r.At
		}
	}
	return ""
}

func has(in *deployment.Request, key string) bool {
	return slices.ContainsFunc(in.Resources, func(r deployment.Resource) bool { return r.ID() == key })
}
