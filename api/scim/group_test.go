package scim_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/service/iam"
	"github.com/databricks/databricks-sdk-go/service/oauth2"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/scim"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

func names(doc document, list string) string {
	var out []string
	for _, m := range doc[list].([]any) {
		out = append(out, m.(document)["display"].(string))
	}
	return strings.Join(out, " ")
}

func inGroup(t *testing.T, db *store.DB, principal int64, group ...string) (in bool) {
	t.Helper()
	if err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
		in, err = auth.InGroup(tx, principal, group)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestGroups(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		call := served(t, db)
		ann := call(201, "POST", "/Users", `{"userName": "ann@example.com"}`)["id"].(string) // 2
		bob := call(201, "POST", "/Users", `{"userName": "bob@example.com"}`)["id"].(string) // 3
		team := call(201, "POST", "/Groups", `{"displayName": "Team", "externalId": "x-1", "members": [{"value": "`+ann+`"}], "entitlements": [{"value": "workspace-access"}]}`)
		id := team["id"].(string)
		if team["displayName"] != "Team" || team["externalId"] != "x-1" || names(team, "members") != "ann@example.com" || len(team["entitlements"].([]any)) != 1 {
			t.Errorf("created %v", team)
		}
		call(409, "POST", "/Groups", `{"displayName": "team"}`)
		for _, wrong := range []string{`{"displayName": ""}`, `{"displayName": "x", "members": [{"value": "99"}]}`, `{"displayName": "x", "members": [{"value": "ann"}]}`} {
			call(400, "POST", "/Groups", wrong)
		}
		for _, name := range []string{"admins", "Users"} {
			call(409, "POST", "/Groups", `{"displayName": "`+name+`"}`)
		}
		call(501, "POST", "/Groups", `{"displayName": "x", "roles": [{"value": "arn"}]}`)
		// A group in a group; who is in it is in both.
		all := call(201, "POST", "/Groups", `{"displayName": "everybody else", "members": [{"value": "`+id+`"}]}`)["id"].(string)
		if got := call(200, "GET", "/Users/"+ann, ""); names(got, "groups") != "users Team everybody else" {
			t.Errorf("ann is in %v", got["groups"])
		}
		if got := call(200, "GET", "/Groups/"+id, ""); names(got, "groups") != "everybody else" {
			t.Errorf("Team is in %v", got["groups"])
		}
		if !inGroup(t, db, 2, "nothing", "Everybody Else") || inGroup(t, db, 3, "team", "admins") || !inGroup(t, db, 3, "users") || !inGroup(t, db, 1, "admins") || inGroup(t, db, 99, "users") {
			t.Error("InGroup is wrong")
		}
		for _, circle := range []string{id, all} {
			call(400, "PATCH", "/Groups/"+id, `{"Operations": [{"op": "add", "path": "members", "value": [{"value": "`+circle+`"}]}]}`)
		}
		patched := call(200, "PATCH", "/Groups/"+id, `{"Operations": [
			{"op": "Add", "value": {"members": [{"value": "`+bob+`"}, {"value": "`+ann+`"}]}}, {"op": "remove", "path": "members[value eq \"`+ann+`\"]"},
			{"op": "replace", "path": "displayName", "value": "Crew"}, {"op": "add", "path": "entitlements", "value": [{"value": "allow-cluster-create"}]},
			{"op": "remove", "path": "entitlements[value eq \"workspace-access\"]"}]}`)
		if names(patched, "members") != "bob@example.com" || patched["displayName"] != "Crew" || patched["externalId"] != "x-1" || patched["entitlements"].([]any)[0].(document)["value"] != "allow-cluster-create" {
			t.Errorf("patched %v", patched)
		}
		if inGroup(t, db, 2, "crew") || !inGroup(t, db, 3, "crew") {
			t.Error("InGroup does not follow a patch")
		}
		if got := call(200, "PUT", "/Groups/"+id, `{"displayName": "Crew", "members": [{"value": "`+ann+`"}]}`); names(got, "members") != "ann@example.com" || got["externalId"] != nil {
			t.Errorf("replaced %v", got)
		}
		call(200, "PATCH", "/Groups/"+id, `{"Operations": [{"op": "remove", "path": "members"}]}`)
		call(501, "PATCH", "/Groups/"+id, `{"Operations": [{"op": "add", "path": "roles", "value": [{"value": "r"}]}]}`)
		call(400, "PATCH", "/Groups/"+id, `{"Operations": [{"op": "move", "path": "members"}]}`)
		// What is removed is in nothing, and what held it stays.
		call(200, "PATCH", "/Groups/"+id, `{"Operations": [{"op": "add", "path": "members", "value": {"value": "`+ann+`"}}]}`)
		call(204, "DELETE", "/Users/"+ann, "")
		if got := call(200, "GET", "/Groups/"+id, ""); names(got, "members") != "" || inGroup(t, db, 2, "crew") {
			t.Errorf("after a removal %v", got)
		}
		call(204, "DELETE", "/Groups/"+id, "")
		call(404, "GET", "/Groups/"+id, "")
		call(404, "GET", "/Groups/crew", "")
	})
}

// Members of the built-in groups are who administers, and everyone.
func TestBuiltInGroups(t *testing.T) {
	db := storetest.SQLite(t)
	call := served(t, db)
	ann := call(201, "POST", "/Users", `{"userName": "ann@example.com"}`)["id"].(string)
	const admins, users = "/Groups/1000000001", "/Groups/1000000002"
	got := call(200, "PATCH", admins, `{"Operations": [{"op": "add", "path": "members", "value": [{"value": "`+ann+`"}]}]}`)
	if names(got, "members") != "Admin ann@example.com" || !inGroup(t, db, 2, "admins") {
		t.Errorf("admins %v", got)
	}
	call(200, "PATCH", admins, `{"Operations": [{"op": "remove", "path": "members[value eq \"`+ann+`\"]"}]}`)
	if inGroup(t, db, 2, "admins") {
		t.Error("ann is still an admin")
	}
	call(400, "PATCH", admins, `{"Operations": [{"op": "remove", "path": "members[value eq \"1\"]"}]}`)
	call(400, "PATCH", users, `{"Operations": [{"op": "remove", "path": "members[value eq \"`+ann+`\"]"}]}`)
	call(400, "PATCH", users, `{"Operations": [{"op": "replace", "path": "displayName", "value": "all"}]}`)
	call(400, "DELETE", users, "")
	team := call(201, "POST", "/Groups", `{"displayName": "Team"}`)["id"].(string)
	call(501, "PATCH", admins, `{"Operations": [{"op": "add", "path": "members", "value": [{"value": "`+team+`"}]}]}`)
	call(501, "PATCH", "/Groups/"+team, `{"Operations": [{"op": "add", "path": "members", "value": [{"value": "1000000002"}]}]}`)
	call(501, "PATCH", users, `{"Operations": [{"op": "add", "path": "entitlements", "value": [{"value": "workspace-access"}]}]}`)
	// A user's own document says where they are, too.
	put := call(200, "PUT", "/Users/"+ann, `{"userName": "ann@example.com", "groups": [{"value": "`+team+`"}, {"value": "1000000001"}]}`)
	if names(put, "groups") != "users admins Team" {
		t.Errorf("ann is in %v", put["groups"])
	}
	if put = call(200, "PUT", "/Users/"+ann, `{"userName": "ann@example.com", "groups": []}`); names(put, "groups") != "users" {
		t.Errorf("ann is in %v", put["groups"])
	}
}

// The real client, at the workspace's path and at the account's: both show the
// same groups, users and service principals.
func TestGoSDKGroups(t *testing.T) {
	db := storetest.SQLite(t)
	signIn := auth.New(db)
	if err := signIn.Bootstrap(t.Context(), "dapi-test"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api.NewMux(signIn, scim.New(db).Routes()...))
	t.Cleanup(server.Close)
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: server.URL, Token: "dapi-test"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := databricks.NewAccountClient(&databricks.Config{Host: server.URL, Token: "dapi-test", AccountID: "00000000-0000-4000-8000-000000000001"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	user, err := a.UsersV2.Create(ctx, iam.CreateAccountUserRequest{UserName: "ann@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	service, err := a.ServicePrincipalsV2.Create(ctx, iam.CreateAccountServicePrincipalRequest{DisplayName: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	group, err := a.GroupsV2.Create(ctx, iam.CreateAccountGroupRequest{DisplayName: "team", Members: []iam.ComplexValue{{Value: user.Id}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.GroupsV2.Patch(ctx, iam.PatchGroupRequest{Id: group.Id, Schemas: []iam.PatchSchema{iam.PatchSchemaUrnIetfParamsScimApiMessages20PatchOp}, Operations: []iam.Patch{
		{Op: iam.PatchOpAdd, Path: "members", Value: []map[string]string{{"value": service.Id}}},
		{Op: iam.PatchOpRemove, Path: `members[value eq "` + user.Id + `"]`},
	}}); err != nil {
		t.Fatal(err)
	}
	found, err := w.GroupsV2.ListAll(ctx, iam.ListGroupsRequest{Filter: `displayName eq "team"`})
	if err != nil || len(found) != 1 || len(found[0].Members) != 1 || found[0].Members[0].Value != service.Id {
		t.Errorf("groups %+v %v", found, err)
	}
	if got, err := w.ServicePrincipalsV2.Get(ctx, iam.GetServicePrincipalRequest{Id: service.Id}); err != nil || !slices.ContainsFunc(got.Groups, func(v iam.ComplexValue) bool { return v.Display == "team" }) {
		t.Errorf("service principal %+v %v", got, err)
	}
	if err := w.GroupsV2.Update(ctx, iam.UpdateGroupRequest{Id: group.Id, DisplayName: "crew"}); err != nil {
		t.Error(err)
	}
	if got, err := a.GroupsV2.Get(ctx, iam.GetAccountGroupRequest{Id: group.Id}); err != nil || got.DisplayName != "crew" || len(got.Members) != 0 {
		t.Errorf("group %+v %v", got, err)
	}
	id := mustNumber(t, service.Id)
	secret, err := a.ServicePrincipalSecrets.Create(ctx, oauth2.CreateServicePrincipalSecretRequest{ServicePrincipalId: service.Id})
	if err != nil || secret.Secret == "" {
		t.Errorf("secret %+v %v", secret, err)
	}
	policy, err := a.ServicePrincipalFederationPolicy.Create(ctx, oauth2.CreateServicePrincipalFederationPolicyRequest{ServicePrincipalId: id, PolicyId: "ci", Policy: oauth2.FederationPolicy{
		OidcPolicy: &oauth2.OidcFederationPolicy{Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:wherry/p:ref:refs/heads/main", Audiences: []string{"x"}},
	}})
	if err != nil || policy.PolicyId != "ci" {
		t.Errorf("policy %+v %v", policy, err)
	}
	if err := w.GroupsV2.Delete(ctx, iam.DeleteGroupRequest{Id: group.Id}); err != nil {
		t.Error(err)
	}
	if _, err := a.GroupsV2.Get(ctx, iam.GetAccountGroupRequest{Id: group.Id}); !apierr.IsMissing(err) {
		t.Errorf("a group that was removed: %v", err)
	}
}

func mustNumber(t *testing.T, s string) int64 {
	t.Helper()
	n := wherry.Int64(0)
	if err := n.UnmarshalJSON([]byte(`"` + s + `"`)); err != nil {
		t.Fatal(err)
	}
	return int64(n)
}

// Who is assigned a workspace as its admin manages it, also through a group.
func TestWorkspaceAssignments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		signIn := auth.New(db)
		if err := signIn.Bootstrap(t.Context(), "dapi-test"); err != nil {
			t.Fatal(err)
		}
		var ws int64
		if err := db.Write(t.Context(), func(tx *store.Tx) (err error) {
			ws, err = auth.CreateWorkspace(tx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(api.NewMux(signIn, scim.New(db).Routes()...))
		t.Cleanup(server.Close)
		a, err := databricks.NewAccountClient(&databricks.Config{Host: server.URL, Token: "dapi-test", AccountID: "00000000-0000-4000-8000-000000000001"})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		user, err := a.UsersV2.Create(ctx, iam.CreateAccountUserRequest{UserName: "ann@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		group, err := a.GroupsV2.Create(ctx, iam.CreateAccountGroupRequest{DisplayName: "team", Members: []iam.ComplexValue{{Value: user.Id}}})
		if err != nil {
			t.Fatal(err)
		}
		ann := wherry.Principal{ID: mustNumber(t, user.Id), Kind: wherry.KindUser}
		manages := func() bool {
			ok, err := signIn.Administers(ctx, ann, ws)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if manages() {
			t.Error("nobody assigned it yet")
		}
		got, err := a.WorkspaceAssignment.Update(ctx, iam.UpdateWorkspaceAssignments{WorkspaceId: ws, PrincipalId: mustNumber(t, group.Id), Permissions: []iam.WorkspacePermission{"USER", "ADMIN"}})
		if err != nil || len(got.Permissions) != 1 || got.Permissions[0] != "ADMIN" || got.Principal.GroupName != "team" || !manages() {
			t.Errorf("assigned %+v %v", got, err)
		}
		list, err := a.WorkspaceAssignment.ListByWorkspaceId(ctx, ws)
		if err != nil || len(list.PermissionAssignments) != 1 {
			t.Errorf("assignments %+v %v", list, err)
		}
		if err := a.WorkspaceAssignment.DeleteByWorkspaceIdAndPrincipalId(ctx, ws, mustNumber(t, group.Id)); err != nil || manages() {
			t.Errorf("unassigned: %v", err)
		}
		if _, err := a.WorkspaceAssignment.Update(ctx, iam.UpdateWorkspaceAssignments{WorkspaceId: 1, PrincipalId: ann.ID, Permissions: []iam.WorkspacePermission{"ADMIN"}}); err != nil || !inGroup(t, db, ann.ID, "admins") {
			t.Errorf("an admin of the first workspace: %v", err)
		}
		if _, err := a.WorkspaceAssignment.Update(ctx, iam.UpdateWorkspaceAssignments{WorkspaceId: 5, PrincipalId: ann.ID, Permissions: []iam.WorkspacePermission{"USER"}}); !apierr.IsMissing(err) {
			t.Errorf("a workspace that is not there: %v", err)
		}
	})
}
