package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/deployments"
)

// The public deployments API: a lock, a state and a history for deployers, as
// the public SDKs (packages bundle and bundledeployments) call it.

func (s *Service) publicRoutes() []api.Route {
	const base = "/api/2.0/bundle/deployments"
	const one, version = base + "/{id}", base + "/{id}/versions/{version}"
	return []api.Route{
		{Method: "POST", Path: base, Permission: api.Write, Summary: "Create a deployment", Handler: api.JSON(s.createDeployment)},
		{Method: "GET", Path: base, Permission: api.Read, Summary: "List deployments", Handler: api.JSON(s.listDeployments)},
		{Method: "GET", Path: one, Permission: api.Read, Summary: "Get a deployment", Handler: api.JSON(s.getDeployment)},
		{Method: "DELETE", Path: one, Permission: api.Write, Summary: "Forget a deployment", Handler: api.JSON(s.deleteDeployment)},
		{Method: "POST", Path: one + "/versions", Permission: api.Write, Summary: "Begin a version, locking the deployment", Handler: api.JSON(s.createVersion)},
		{Method: "GET", Path: one + "/versions", Permission: api.Read, Summary: "List versions", Handler: api.JSON(s.listVersions)},
		{Method: "GET", Path: version, Permission: api.Read, Summary: "Get a version", Handler: api.JSON(s.getVersion)},
		{Method: "POST", Path: version + "/heartbeat", Permission: api.Write, Summary: "Keep the lock", Handler: api.JSON(s.beat)},
		{Method: "POST", Path: version + "/complete", Permission: api.Write, Summary: "Complete a version, releasing the lock", Handler: api.JSON(s.completeVersion)},
		{Method: "POST", Path: version + "/operations", Permission: api.Write, Summary: "Record what a version did to a resource", Handler: api.JSON(s.createOperation)},
		{Method: "GET", Path: version + "/operations", Permission: api.Read, Summary: "List what a version did", Handler: api.JSON(s.listOperations)},
		{Method: "GET", Path: version + "/operations/{key...}", Permission: api.Read, Summary: "Get what a version did to a resource", Handler: api.JSON(s.getOperation)},
		{Method: "GET", Path: one + "/resources", Permission: api.Read, Summary: "List a deployment's resources", Handler: api.JSON(s.listResources)},
		{Method: "GET", Path: one + "/resources/{key...}", Permission: api.Read, Summary: "Get one of a deployment's resources", Handler: api.JSON(s.getResource)},
	}
}

type deploymentView struct {
	Name          string `json:"name"`
	DisplayName   string `json:"display_name,omitempty"`
	TargetName    string `json:"target_name,omitempty"`
	Mode          string `json:"deployment_mode,omitempty"`
	Status        string `json:"status"`
	LastVersionID string `json:"last_version_id,omitempty"`
	CreatedBy     string `json:"created_by"`
	CreateTime    string `json:"create_time"`
	UpdateTime    string `json:"update_time"`
	DestroyedBy   string `json:"destroyed_by,omitempty"`
	DestroyTime   string `json:"destroy_time,omitempty"`
}

func stamp(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
}

func versionID(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func viewDeployment(d deployments.Deployment) *deploymentView {
	return &deploymentView{
		Name: "deployments/" + d.ID, DisplayName: d.DisplayName, TargetName: d.Target, Mode: d.Mode, Status: d.Status, LastVersionID: versionID(d.LastVersion),
		CreatedBy: d.CreatedBy, CreateTime: stamp(d.CreatedAt), UpdateTime: stamp(d.UpdatedAt), DestroyedBy: d.DestroyedBy, DestroyTime: stamp(d.DestroyedAt),
	}
}

// publicRequest is the input of every call of the public API.
type publicRequest struct {
	ID           string `json:"id"`
	DeploymentID string `json:"deployment_id"`
	PathVersion  string `json:"version"`
	Key          string `json:"key"`
	PageSize     int    `json:"page_size"`
	PageToken    string `json:"page_token"`

	DisplayName string          `json:"display_name"`
	TargetName  string          `json:"target_name"`
	Mode        string          `json:"deployment_mode"`
	VersionID   string          `json:"version_id"`
	VersionType string          `json:"version_type"`
	CLIVersion  string          `json:"cli_version"`
	GitInfo     deployments.Git `json:"git_info"`
	Reason      string          `json:"completion_reason"`
	Force       bool            `json:"force"`

	ResourceKey  string          `json:"resource_key"`
	ActionType   string          `json:"action_type"`
	Status       string          `json:"status"`
	ResourceID   string          `json:"resource_id"`
	ErrorMessage string          `json:"error_message"`
	State        json.RawMessage `json:"state"`
}

func (in *publicRequest) page() (limit, offset int, err error) {
	limit = in.PageSize
	if limit <= 0 || limit > 1000 {
		limit = 100
	}
	if in.PageToken != "" {
		if offset, err = strconv.Atoi(in.PageToken); err != nil || offset < 0 {
			return 0, 0, wherry.Errorf(wherry.CodeInvalidParameter, "page_token %q is not one of ours", in.PageToken)
		}
	}
	return limit, offset, nil
}

// nextPage is the token of the next page of a list that was asked for one more
// than fits.
func nextPage(got, limit, offset int) string {
	if got <= limit {
		return ""
	}
	return strconv.Itoa(offset + limit)
}

func (in *publicRequest) version() (int64, error) {
	n, err := strconv.ParseInt(in.PathVersion, 10, 64)
	if err != nil {
		return 0, wherry.Errorf(wherry.CodeInvalidParameter, "%q is not the number of a version", in.PathVersion)
	}
	return n, nil
}

func workspace(ctx context.Context) int64 { return wherry.IdentityFrom(ctx).WorkspaceID }

func (s *Service) createDeployment(ctx context.Context, in *publicRequest) (*deploymentView, error) {
	id := wherry.IdentityFrom(ctx)
	if strings.ContainsAny(in.DeploymentID, "/?# ") || len(in.DeploymentID) > 128 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "deployment_id %q is not valid", in.DeploymentID)
	}
	d, err := s.store.Create(ctx, deployments.Deployment{
		ID: in.DeploymentID, WorkspaceID: id.WorkspaceID, DisplayName: in.DisplayName, Bundle: in.DisplayName, Target: in.TargetName, Mode: in.Mode,
		Status: deployments.StatusActive, CreatedBy: id.UserName,
	})
	if err != nil {
		return nil, err
	}
	return viewDeployment(d), nil
}

func (s *Service) listDeployments(ctx context.Context, in *publicRequest) (*struct {
	Deployments []*deploymentView `json:"deployments"`
	Next        string            `json:"next_page_token,omitempty"`
}, error,
) {
	limit, offset, err := in.page()
	if err != nil {
		return nil, err
	}
	list, err := s.store.List(ctx, workspace(ctx), limit+1, offset)
	if err != nil {
		return nil, err
	}
	out := &struct {
		Deployments []*deploymentView `json:"deployments"`
		Next        string            `json:"next_page_token,omitempty"`
	}{Next: nextPage(len(list), limit, offset)}
	for _, d := range list[:min(limit, len(list))] {
		out.Deployments = append(out.Deployments, viewDeployment(d))
	}
	return out, nil
}

func (s *Service) getDeployment(ctx context.Context, in *publicRequest) (*deploymentView, error) {
	d, err := s.store.Get(ctx, workspace(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return viewDeployment(d), nil
}

func (s *Service) deleteDeployment(ctx context.Context, in *publicRequest) (*api.Empty, error) {
	return &api.Empty{}, s.store.Delete(ctx, workspace(ctx), in.ID, wherry.IdentityFrom(ctx).UserName)
}

type versionView struct {
	Name         string          `json:"name"`
	VersionID    string          `json:"version_id"`
	VersionType  string          `json:"version_type"`
	Status       string          `json:"status"`
	Reason       string          `json:"completion_reason,omitempty"`
	DisplayName  string          `json:"display_name,omitempty"`
	TargetName   string          `json:"target_name,omitempty"`
	Mode         string          `json:"deployment_mode,omitempty"`
	CLIVersion   string          `json:"cli_version"`
	GitInfo      deployments.Git `json:"git_info"`
	Previous     string          `json:"previous_version_id,omitempty"`
	CreatedBy    string          `json:"created_by"`
	CreateTime   string          `json:"create_time"`
	CompletedBy  string          `json:"completed_by,omitempty"`
	CompleteTime string          `json:"complete_time,omitempty"`
}

func viewVersion(v deployments.Version) *versionView {
	return &versionView{
		Name: fmt.Sprintf("deployments/%s/versions/%d", v.DeploymentID, v.Version), VersionID: versionID(v.Version), VersionType: v.Kind, Status: v.Status, Reason: v.Reason,
		DisplayName: v.DisplayName, TargetName: v.Target, Mode: v.Mode, CLIVersion: v.CLIVersion, GitInfo: v.Git, Previous: versionID(v.Version - 1),
		CreatedBy: v.CreatedBy, CreateTime: stamp(v.CreatedAt), CompletedBy: v.CompletedBy, CompleteTime: stamp(v.CompletedAt),
	}
}

func (s *Service) createVersion(ctx context.Context, in *publicRequest) (*versionView, error) {
	if in.VersionType != deployments.KindDeploy && in.VersionType != deployments.KindDestroy {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "version_type must be %s or %s", deployments.KindDeploy, deployments.KindDestroy)
	}
	next, err := strconv.ParseInt(in.VersionID, 10, 64)
	if err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "version_id %q is not a number", in.VersionID)
	}
	v, err := s.store.Begin(ctx, workspace(ctx), deployments.Version{
		DeploymentID: in.ID, Version: next, Kind: in.VersionType, DisplayName: in.DisplayName, Target: in.TargetName, Mode: in.Mode, CLIVersion: in.CLIVersion,
		Git: in.GitInfo, CreatedBy: wherry.IdentityFrom(ctx).UserName,
	}, false)
	if err != nil {
		return nil, err
	}
	return viewVersion(v), nil
}

func (s *Service) listVersions(ctx context.Context, in *publicRequest) (*struct {
	Versions []*versionView `json:"versions"`
	Next     string         `json:"next_page_token,omitempty"`
}, error,
) {
	limit, offset, err := in.page()
	if err != nil {
		return nil, err
	}
	list, err := s.store.Versions(ctx, workspace(ctx), in.ID, limit+1, offset)
	if err != nil {
		return nil, err
	}
	out := &struct {
		Versions []*versionView `json:"versions"`
		Next     string         `json:"next_page_token,omitempty"`
	}{Next: nextPage(len(list), limit, offset)}
	for _, v := range list[:min(limit, len(list))] {
		out.Versions = append(out.Versions, viewVersion(v))
	}
	return out, nil
}

func (s *Service) getVersion(ctx context.Context, in *publicRequest) (*versionView, error) {
	n, err := in.version()
	if err != nil {
		return nil, err
	}
	v, err := s.store.Version(ctx, workspace(ctx), in.ID, n)
	if err != nil {
		return nil, err
	}
	return viewVersion(v), nil
}

func (s *Service) beat(ctx context.Context, in *publicRequest) (*struct {
	ExpireTime string `json:"expire_time"`
}, error,
) {
	n, err := in.version()
	if err != nil {
		return nil, err
	}
	expires, err := s.store.Heartbeat(ctx, workspace(ctx), in.ID, n)
	return &struct {
		ExpireTime string `json:"expire_time"`
	}{stamp(expires)}, err
}

func (s *Service) completeVersion(ctx context.Context, in *publicRequest) (*versionView, error) {
	n, err := in.version()
	if err != nil {
		return nil, err
	}
	v, err := s.store.Version(ctx, workspace(ctx), in.ID, n)
	if err != nil {
		return nil, err
	}
	switch in.Reason {
	case deployments.ReasonSuccess, deployments.ReasonFailure, deployments.ReasonForce:
	default:
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "completion_reason %q is not known", in.Reason)
	}
	id := wherry.IdentityFrom(ctx)
	if v.CreatedBy != id.UserName && !in.Force {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "version %d was begun by %s: give force to complete it", n, v.CreatedBy)
	}
	if v.Resumable {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "the server completes version %d itself", n)
	}
	if err := s.store.Complete(ctx, workspace(ctx), v, in.Reason, id.UserName, id.RunID); err != nil {
		return nil, err
	}
	return s.getVersion(ctx, in)
}

type operationView struct {
	Name         string `json:"name"`
	ResourceKey  string `json:"resource_key"`
	ResourceType string `json:"resource_type,omitempty"`
	ActionType   string `json:"action_type"`
	Status       string `json:"status"`
	ResourceID   string `json:"resource_id"`
	ErrorMessage string `json:"error_message,omitempty"`
	State        string `json:"state,omitempty"` // a JSON document as text: one of the SDK's packages wants a string
	CreateTime   string `json:"create_time"`
}

// resourceType is the public word for a section: jobs → DEPLOYMENT_RESOURCE_TYPE_JOB.
func resourceType(kind string) string {
	word := strings.ToUpper(strings.TrimSuffix(kind, "s"))
	if strings.Contains(kind, ".") || kind == "files" || kind == "" {
		return ""
	}
	return "DEPLOYMENT_RESOURCE_TYPE_" + word
}

func viewOperation(o deployments.Operation) *operationView {
	return &operationView{
		Name: fmt.Sprintf("deployments/%s/versions/%d/operations/%s", o.DeploymentID, o.Version, o.Key), ResourceKey: o.Key, ResourceType: resourceType(o.Kind),
		ActionType: o.Action, Status: o.Status, ResourceID: o.ResourceID, ErrorMessage: o.Message, CreateTime: stamp(o.CreatedAt), State: o.State,
	}
}

// document is a JSON document that came as itself or, from one of the SDK's
// packages, as text.
func document(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (s *Service) createOperation(ctx context.Context, in *publicRequest) (*operationView, error) {
	n, err := in.version()
	if err != nil {
		return nil, err
	}
	kind, rest, ok := strings.Cut(in.ResourceKey, ".")
	if !ok || rest == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "resource_key %q must be like jobs.nightly", in.ResourceKey)
	}
	o, err := s.store.PublicOperation(ctx, workspace(ctx), deployments.Operation{
		DeploymentID: in.ID, Version: n, Key: in.ResourceKey, Kind: kind, Action: in.ActionType, Status: in.Status, ResourceID: in.ResourceID,
		Message: in.ErrorMessage, State: document(in.State),
	})
	if err != nil {
		return nil, err
	}
	return viewOperation(o), nil
}

func (s *Service) listOperations(ctx context.Context, in *publicRequest) (*struct {
	Operations []*operationView `json:"operations"`
}, error,
) {
	n, err := in.version()
	if err != nil {
		return nil, err
	}
	if _, err := s.store.Version(ctx, workspace(ctx), in.ID, n); err != nil {
		return nil, err
	}
	list, err := s.store.Operations(ctx, in.ID, n)
	out := &struct {
		Operations []*operationView `json:"operations"`
	}{}
	for _, o := range list {
		out.Operations = append(out.Operations, viewOperation(o))
	}
	return out, err
}

func (s *Service) getOperation(ctx context.Context, in *publicRequest) (*operationView, error) {
	n, err := in.version()
	if err != nil {
		return nil, err
	}
	o, err := s.store.Operation(ctx, workspace(ctx), in.ID, n, in.Key)
	if err != nil {
		return nil, err
	}
	return viewOperation(o), nil
}

type resourceView struct {
	Name          string `json:"name"`
	ResourceKey   string `json:"resource_key"`
	ResourceType  string `json:"resource_type"`
	ResourceID    string `json:"resource_id"`
	LastAction    string `json:"last_action_type,omitempty"`
	LastVersionID string `json:"last_version_id,omitempty"`
	State         string `json:"state,omitempty"`
}

func (s *Service) resources(ctx context.Context, in *publicRequest) (list []*resourceView, err error) {
	if _, err := s.store.Get(ctx, workspace(ctx), in.ID); err != nil {
		return nil, err
	}
	rows, err := s.store.Resources(ctx, in.ID)
	for _, r := range rows {
		v := &resourceView{
			Name: fmt.Sprintf("deployments/%s/resources/%s", in.ID, r.Key), ResourceKey: r.Key, ResourceType: resourceType(r.Kind), ResourceID: r.ResourceID,
			LastAction: r.Action, LastVersionID: versionID(r.Version), State: r.State,
		}
		list = append(list, v)
	}
	return list, err
}

func (s *Service) listResources(ctx context.Context, in *publicRequest) (*struct {
	Resources []*resourceView `json:"resources"`
}, error,
) {
	list, err := s.resources(ctx, in)
	return &struct {
		Resources []*resourceView `json:"resources"`
	}{list}, err
}

func (s *Service) getResource(ctx context.Context, in *publicRequest) (*resourceView, error) {
	list, err := s.resources(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.ResourceKey == in.Key {
			return r, nil
		}
	}
	return nil, wherry.Errorf(wherry.CodeDoesNotExist, "Deployment %s has no resource %s.", in.ID, in.Key)
}
