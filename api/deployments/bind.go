package deployments

import (
	"context"
	"net/http"
	"slices"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// existing reads a resource that exists, for bind and generate.
func (s *Service) existing(ctx context.Context, c *caller, kindName, id string) (map[string]any, error) {
	k, ok := kinds[kindName]
	if !ok {
		return nil, wherry.NotImplemented("the resource type " + kindName)
	}
	live, err := k.get(ctx, c, id)
	if err == nil && live == nil {
		err = wherry.Errorf(wherry.CodeDoesNotExist, "there is no %s %s", kindName, id)
	}
	return live, err
}

func (s *Service) serveExisting(w http.ResponseWriter, r *http.Request) error {
	live, err := s.existing(r.Context(), s.caller(r), r.PathValue("type"), r.PathValue("id"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, deployment.Existing{Config: live})
}

// serveBind ties a key to a resource: the next deploy changes that instead of
// making a new one. It is not the deployment's to delete, unless it made it.
func (s *Service) serveBind(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Binding](r)
	if err != nil {
		return err
	}
	c := s.caller(r)
	if _, err := s.existing(r.Context(), c, in.Type, in.ID); err != nil {
		return err
	}
	_, err = s.store.Bind(r.Context(), deployments.Deployment{
		WorkspaceID: c.WorkspaceID, RootPath: in.RootPath, FilePath: in.FilePath, Bundle: in.Bundle, Target: in.Target, Mode: publicMode(in.Mode),
		DisplayName: in.Bundle, Status: deployments.StatusActive, CreatedBy: c.UserName,
	}, deployments.Resource{Key: in.Type + "." + in.Key, Kind: in.Type, ResourceID: in.ID, Action: deployments.ActionBind})
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

// serveUnbind forgets a resource. A job loses what ties it to the bundle: it is
// one made by hand from then on.
func (s *Service) serveUnbind(w http.ResponseWriter, r *http.Request) error {
	in, err := decode[deployment.Binding](r)
	if err != nil {
		return err
	}
	ctx, c := r.Context(), s.caller(r)
	d, ok, err := s.store.AtRoot(ctx, c.WorkspaceID, in.RootPath)
	if err != nil {
		return err
	}
	if !ok {
		return wherry.Errorf(wherry.CodeDoesNotExist, "nothing is deployed to %s", in.RootPath)
	}
	key := in.Type + "." + in.Key
	rows, err := s.store.Resources(ctx, d.ID)
	if err != nil {
		return err
	}
	if err := s.store.Unbind(ctx, c.WorkspaceID, d.ID, key); err != nil {
		return err
	}
	if i := slices.IndexFunc(rows, func(row deployments.Resource) bool { return row.Key == key && row.Kind == "jobs" }); i >= 0 {
		err := c.call(ctx, "POST", "/api/2.2/jobs/update", map[string]any{"job_id": number(rows[i].ResourceID), "fields_to_remove": []string{"deployment", "edit_mode"}}, nil)
		if err != nil && !missing(err) {
			return err
		}
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}
