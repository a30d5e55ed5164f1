package scim

import (
	"context"
	"slices"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

// assignments are the calls that give principals and groups a workspace: the
// account's, and the workspace's own.
func (a *API) assignments() []api.Route {
	const account = "/api/2.0/accounts/{account}/workspaces/{workspace_id}/permissionassignments"
	routes := []api.Route{{Method: "GET", Path: account + "/permissions", Permission: api.Admin, Summary: "List the levels that a workspace can be assigned at", Handler: api.JSON(a.levels)}}
	for _, base := range []string{account, "/api/2.0/preview/permissionassignments"} {
		routes = append(
			routes,
			api.Route{Method: "GET", Path: base, Permission: api.Admin, Summary: "List who a workspace is assigned to", Handler: api.JSON(a.assigned)},
			api.Route{Method: "PUT", Path: base + "/principals/{principal_id}", Permission: api.Admin, Summary: "Assign a workspace to a user, service principal or group", Handler: api.JSON(a.assign)},
			api.Route{Method: "DELETE", Path: base + "/principals/{principal_id}", Permission: api.Admin, Summary: "Take a workspace's assignment away", Handler: api.JSON(a.unassign)},
		)
	}
	return routes
}

// assignmentIn names a workspace and one of those it is assigned to.
type assignmentIn struct {
	Workspace   wherry.Int64 `json:"workspace_id"`
	Principal   wherry.Int64 `json:"principal_id"`
	Permissions []string     `json:"permissions"`
}

// workspace is the one of the path, or else the request's.
func (in *assignmentIn) workspace(ctx context.Context) int64 {
	if in.Workspace != 0 {
		return int64(in.Workspace)
	}
	return wherry.IdentityFrom(ctx).WorkspaceID
}

type assignedPrincipal struct {
	ID          int64  `json:"principal_id"`
	DisplayName string `json:"display_name,omitempty"`
	UserName    string `json:"user_name,omitempty"`
	ServiceName string `json:"service_principal_name,omitempty"`
	GroupName   string `json:"group_name,omitempty"`
}

type assignment struct {
	Principal   assignedPrincipal `json:"principal"`
	Permissions []string          `json:"permissions"`
}

type assignmentList struct {
	Assignments []assignment `json:"permission_assignments"`
}

func assignmentOf(r reference, level string) assignment {
	p := assignedPrincipal{ID: r.number, DisplayName: r.name}
	switch {
	case r.who == nil:
		p.GroupName = r.name
	case r.who.Kind == wherry.KindServicePrincipal:
		p.ServiceName = r.who.ApplicationID
	default:
		p.UserName = r.who.UserName
	}
	return assignment{p, []string{level}}
}

type level struct {
	Level       string `json:"permission_level"`
	Description string `json:"description"`
}

type levelList struct {
	Levels []level `json:"permissions"`
}

func (a *API) levels(context.Context, *api.Empty) (*levelList, error) {
	return &levelList{[]level{{auth.WorkspaceUser, "Can use the workspace"}, {auth.WorkspaceAdmin, "Can administer the workspace"}}}, nil
}

// everyone lists all principals and groups.
func (d *directory) everyone() (list []reference, err error) {
	for _, k := range kinds {
		all, err := auth.Principals(d.tx, k.of)
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			list = append(list, referenceTo(p))
		}
	}
	groups, err := azure.Objects(d.tx, azure.KindGroup)
	for _, g := range groups {
		list = append(list, reference{object: g.ID, number: g.PrincipalID, name: groupName(g)})
	}
	return list, err
}

// assigned lists who has the workspace. The first one is everyone's, and its
// admins are the installation's.
func (a *API) assigned(ctx context.Context, in *assignmentIn) (*assignmentList, error) {
	ws := in.workspace(ctx)
	out := &assignmentList{Assignments: []assignment{}}
	err := a.db.Read(ctx, func(tx *store.Tx) error {
		out.Assignments = out.Assignments[:0]
		if err := store.WorkspaceExists(tx, ws); err != nil {
			return err
		}
		levels, err := auth.Assignments(tx, ws)
		if err != nil {
			return err
		}
		all, err := (&directory{tx: tx}).everyone()
		for _, r := range all {
			level := levels[r.object]
			if ws == wherry.DefaultWorkspace {
				level = auth.WorkspaceUser
				if r.who != nil && r.who.Admin {
					level = auth.WorkspaceAdmin
				}
			}
			if level != "" {
				out.Assignments = append(out.Assignments, assignmentOf(r, level))
			}
		}
		return err
	})
	return out, err
}

func (a *API) assign(ctx context.Context, in *assignmentIn) (*assignment, error) {
	level := ""
	for _, one := range []string{auth.WorkspaceUser, auth.WorkspaceAdmin} { // the higher one wins
		if slices.Contains(in.Permissions, one) {
			level = one
		}
	}
	var out assignment
	return &out, a.setAssignment(ctx, in, level, &out)
}

func (a *API) unassign(ctx context.Context, in *assignmentIn) (*api.Empty, error) {
	return &api.Empty{}, a.setAssignment(ctx, in, "", &assignment{})
}

func (a *API) setAssignment(ctx context.Context, in *assignmentIn, level string, out *assignment) error {
	ws := in.workspace(ctx)
	return a.db.Write(ctx, func(tx *store.Tx) error {
		if err := store.WorkspaceExists(tx, ws); err != nil {
			return err
		}
		d := &directory{tx: tx, by: wherry.IdentityFrom(ctx).UserName}
		r, err := d.byNumber(strconv.FormatInt(int64(in.Principal), 10))
		if err != nil {
			return err
		}
		if *out = assignmentOf(r, level); level == "" {
			out.Permissions = []string{}
		}
		switch {
		case r.who == nil && r.number >= auth.AdminsID:
			return wherry.NotImplemented("assigning a workspace to the built-in group " + r.name)
		case ws != wherry.DefaultWorkspace:
			return auth.Assign(tx, ws, r.object, level)
		case level == "":
			return wherry.Errorf(wherry.CodeInvalidParameter, "the first workspace is everyone's: remove %s, or set active to false", r.name)
		case r.who != nil:
			r.who.Admin = level == auth.WorkspaceAdmin
			return auth.UpdatePrincipal(tx, *r.who)
		case level == auth.WorkspaceAdmin:
			return wherry.NotImplemented("a group as admin of the first workspace; add its members to admins")
		}
		return nil // a group of users of the first workspace, as everyone is
	})
}
