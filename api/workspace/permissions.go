package workspace

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	db "github.com/wherry-ml/wherry/store"
	store "github.com/wherry-ml/wherry/store/workspace"
)

// objectKind is one type of object that permissions may be set on.
type objectKind struct {
	path   string   // in URLs
	name   string   // object_type in answers
	levels []string // the highest first; an owner's, IS_OWNER, is held by one principal
}

var tree = []string{"CAN_MANAGE", "CAN_EDIT", "CAN_RUN", "CAN_READ"}

// objectKinds are those of the platform's documentation.
var objectKinds = []objectKind{
	{"jobs", "job", []string{"IS_OWNER", "CAN_MANAGE", "CAN_MANAGE_RUN", "CAN_VIEW"}},
	{"pipelines", "pipelines", []string{"IS_OWNER", "CAN_MANAGE", "CAN_RUN", "CAN_VIEW"}},
	{"sql/warehouses", "warehouses", []string{"IS_OWNER", "CAN_MANAGE", "CAN_MONITOR", "CAN_USE", "CAN_VIEW"}},
	{"warehouses", "warehouses", []string{"IS_OWNER", "CAN_MANAGE", "CAN_MONITOR", "CAN_USE", "CAN_VIEW"}},
	{"clusters", "cluster", []string{"CAN_MANAGE", "CAN_RESTART", "CAN_ATTACH_TO"}},
	{"cluster-policies", "cluster-policy", []string{"CAN_USE"}},
	{"instance-pools", "instance-pool", []string{"CAN_MANAGE", "CAN_ATTACH_TO"}},
	{"notebooks", "notebook", tree},
	{"directories", "directory", tree},
	{"files", "file", tree},
	{"repos", "repo", tree},
	{"experiments", "mlflowExperiment", []string{"CAN_MANAGE", "CAN_EDIT", "CAN_READ"}},
	{"registered-models", "registered-model", []string{"CAN_MANAGE", "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE_STAGING_VERSIONS", "CAN_EDIT", "CAN_READ"}},
	{"serving-endpoints", "serving-endpoint", []string{"CAN_MANAGE", "CAN_QUERY", "CAN_VIEW"}},
	{"authorization", "tokens", []string{"CAN_USE"}},
	{"sql/queries", "query", tree},
	{"queries", "query", tree},
	{"sql/dashboards", "dashboard", tree},
	{"dashboards", "dashboard", tree},
	{"sql/alerts", "alert", tree},
	{"alerts", "alert", tree},
	{"apps", "apps", []string{"CAN_MANAGE", "CAN_USE"}},
	{"database-instances", "database-instances", []string{"CAN_MANAGE", "CAN_USE"}},
}

func (s *Service) permissionRoutes() []api.Route {
	// One pattern for all: the type may have two parts ("sql/warehouses").
	const path = "/api/2.0/permissions/{path...}"
	return []api.Route{
		{Method: "GET", Path: path, Permission: api.Read, Summary: "Get permissions of an object, or the levels it has", Handler: api.JSON(s.getPermissions)},
		{Method: "PUT", Path: path, Permission: api.Write, Summary: "Replace permissions of an object (stored, not enforced)", Handler: api.JSON(s.setPermissions)},
		{Method: "PATCH", Path: path, Permission: api.Write, Summary: "Change permissions of an object (stored, not enforced)", Handler: api.JSON(s.updatePermissions)},
	}
}

type permissionsInput struct {
	Path string         `json:"path"`
	List []store.Access `json:"access_control_list"`
}

type grantedLevel struct {
	Level         string   `json:"permission_level"`
	Inherited     bool     `json:"inherited"`
	InheritedFrom []string `json:"inherited_from_object,omitempty"`
}

type accessOutput struct {
	UserName             string         `json:"user_name,omitempty"`
	GroupName            string         `json:"group_name,omitempty"`
	ServicePrincipalName string         `json:"service_principal_name,omitempty"`
	DisplayName          string         `json:"display_name,omitempty"`
	All                  []grantedLevel `json:"all_permissions"`
}

type levelOutput struct {
	Level       string `json:"permission_level"`
	Description string `json:"description"`
}

// permissionsOutput is the answer of all calls: of an object, or its levels.
type permissionsOutput struct {
	ObjectID   string         `json:"object_id,omitempty"`
	ObjectType string         `json:"object_type,omitempty"`
	List       []accessOutput `json:"access_control_list,omitempty"`
	Levels     []levelOutput  `json:"permission_levels,omitempty"`
}

// object is what a path of the permissions API names.
type object struct {
	objectKind
	id      string
	creator string
}

func (s *Service) object(ctx context.Context, p string) (*object, error) {
	for _, k := range objectKinds {
		id, ok := strings.CutPrefix(p, k.path+"/")
		if !ok || id == "" || strings.Contains(id, "/") {
			continue
		}
		o := &object{objectKind: k, id: id}
		var err error
		switch find := s.Objects[k.path]; {
		case find != nil:
			o.creator, err = find(ctx, id)
		case k.path == "notebooks" || k.path == "directories" || k.path == "files":
			err = s.checkTree(ctx, id)
		}
		return o, err
	}
	return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%.200q does not name an object with permissions", p)
}

func (s *Service) checkTree(ctx context.Context, id string) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%q is not an object id", id)
	}
	if n == 0 {
		return nil // the root folder
	}
	_, err = s.store.ByID(ctx, wherry.IdentityFrom(ctx).WorkspaceID, n)
	return err
}

func (s *Service) getPermissions(ctx context.Context, in *permissionsInput) (*permissionsOutput, error) {
	if p, ok := strings.CutSuffix(in.Path, "/permissionLevels"); ok {
		o, err := s.object(ctx, p)
		if err != nil {
			return nil, err
		}
		out := &permissionsOutput{}
		for _, l := range o.levels {
			out.Levels = append(out.Levels, levelOutput{l, strings.ToLower(strings.ReplaceAll(l, "_", " "))})
		}
		return out, nil
	}
	o, err := s.object(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Permissions(ctx, wherry.IdentityFrom(ctx).WorkspaceID, o.path, o.id)
	return o.answer(o.withOwner(list)), err
}

// withOwner adds the creator as owner (or manager, where there are no owners)
// if nobody is.
func (o *object) withOwner(list []store.Access) []store.Access {
	level := o.levels[0]
	if o.creator == "" || level != "IS_OWNER" && len(list) > 0 || slices.ContainsFunc(list, func(a store.Access) bool { return a.Level == level }) {
		return list
	}
	list = slices.DeleteFunc(slices.Clone(list), func(a store.Access) bool { return a.UserName == o.creator })
	return append([]store.Access{{UserName: o.creator, Level: level}}, list...)
}

func (o *object) answer(list []store.Access) *permissionsOutput {
	out := &permissionsOutput{ObjectID: "/" + o.path + "/" + o.id, ObjectType: o.name}
	for _, a := range list {
		out.List = append(out.List, accessOutput{
			UserName: a.UserName, GroupName: a.GroupName, ServicePrincipalName: a.ServicePrincipalName,
			All: []grantedLevel{{Level: a.Level}},
		})
	}
	highest := o.levels[0]
	if highest == "IS_OWNER" {
		highest = "CAN_MANAGE"
	}
	out.List = append(out.List, accessOutput{GroupName: "admins", All: []grantedLevel{{Level: highest, Inherited: true, InheritedFrom: []string{"/" + o.path + "/"}}}})
	return out
}

func (s *Service) setPermissions(ctx context.Context, in *permissionsInput) (*permissionsOutput, error) {
	return s.changePermissions(ctx, in, func([]store.Access) []store.Access { return nil })
}

func (s *Service) updatePermissions(ctx context.Context, in *permissionsInput) (*permissionsOutput, error) {
	return s.changePermissions(ctx, in, func(have []store.Access) []store.Access { return have })
}

// changePermissions puts the entries of a request over those that keep leaves.
// One principal owns a job: naming two is refused, naming a new one replaces
// the old, and where none is named the present owner stays.
func (s *Service) changePermissions(ctx context.Context, in *permissionsInput, keep func([]store.Access) []store.Access) (*permissionsOutput, error) {
	o, err := s.object(ctx, in.Path)
	if err != nil {
		return nil, err
	}
	owners, err := o.check(in.List)
	if err != nil {
		return nil, err
	}
	list, err := s.store.ChangePermissions(ctx, wherry.IdentityFrom(ctx).WorkspaceID, o.path, o.id, func(have []store.Access) ([]store.Access, error) {
		owner := slices.IndexFunc(have, isOwner)
		list := slices.Clone(keep(have))
		if owners > 0 {
			list = slices.DeleteFunc(list, isOwner)
		} else if owner >= 0 && !slices.ContainsFunc(list, isOwner) {
			list = append(list, have[owner])
		}
		return put(list, in.List, owners), nil
	})
	if err != nil {
		return nil, err
	}
	return o.answer(o.withOwner(list)), nil
}

func isOwner(a store.Access) bool { return a.Level == "IS_OWNER" }

// put puts checked entries over a list: each takes the place of what its
// principal had. Without an owner among them the one that there is stays it.
func put(list, entries []store.Access, owners int) []store.Access {
	for _, a := range entries {
		kind, name, _ := a.Principal()
		same := func(b store.Access) bool { k, n, _ := b.Principal(); return k == kind && n == name }
		list = slices.DeleteFunc(list, func(b store.Access) bool { return same(b) && !(isOwner(b) && owners == 0) })
		if !slices.ContainsFunc(list, same) {
			list = append(list, a)
		}
	}
	return list
}

// PermitJob checks the access_control_list that comes with a new job, and
// returns what stores it in the job's transaction, as a PUT of the job's
// permissions would.
func PermitJob(ctx context.Context, raw json.RawMessage) (also func(tx *db.Tx, jobID int64) error, err error) {
	var list []store.Access
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "access_control_list: %v", err)
	}
	i := slices.IndexFunc(objectKinds, func(k objectKind) bool { return k.path == "jobs" })
	owners, err := objectKinds[i].check(list)
	if err != nil {
		return nil, err
	}
	ws := wherry.IdentityFrom(ctx).WorkspaceID
	return func(tx *db.Tx, jobID int64) error {
		return store.PutPermissions(ctx, tx, ws, "jobs", strconv.FormatInt(jobID, 10), put(nil, list, owners))
	}, nil
}

// check checks the entries of a request and counts the owners in it.
func (o objectKind) check(list []store.Access) (owners int, err error) {
	for _, a := range list {
		if _, _, err := a.Principal(); err != nil {
			return 0, err
		}
		if !slices.Contains(o.levels, a.Level) {
			return 0, wherry.Errorf(wherry.CodeInvalidParameter, "permission_level %q is not one of a %s: %s", a.Level, o.name, strings.Join(o.levels, ", "))
		}
		if a.Level == "IS_OWNER" {
			if a.GroupName != "" {
				return 0, wherry.Errorf(wherry.CodeInvalidParameter, "a group cannot own a %s", o.name)
			}
			owners++
		}
	}
	if owners > 1 {
		return 0, wherry.Errorf(wherry.CodeInvalidParameter, "The %s must have exactly one owner.", o.name)
	}
	return owners, nil
}

func (s *Service) getConf(w http.ResponseWriter, r *http.Request) error {
	out := map[string]*string{}
	for key := range strings.SplitSeq(r.URL.Query().Get("keys"), ",") {
		if key == "" {
			continue
		}
		value, err := s.store.Setting(r.Context(), wherry.IdentityFrom(r.Context()).WorkspaceID, key)
		if err != nil {
			return err
		}
		out[key] = value
	}
	return api.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) setConf(w http.ResponseWriter, r *http.Request) error {
	values := map[string]string{}
	if err := api.Decode(r, &values); err != nil {
		return err
	}
	if len(values) > 100 {
		return wherry.Errorf(wherry.CodeInvalidParameter, "at most 100 settings at once")
	}
	if err := s.store.Set(r.Context(), wherry.IdentityFrom(r.Context()).WorkspaceID, values); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
