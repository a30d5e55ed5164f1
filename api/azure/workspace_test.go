package azure_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	azureapi "github.com/wherry-ml/wherry/api/azure"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
)

// claims are what a token says.
func (s *site) claims(token string) (out doc) {
	s.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// workspace makes a workspace through the management API.
func (s *site) workspace(admin, name string) (host, id string) {
	s.Helper()
	made := s.want(http.StatusCreated, admin, "PUT", management+group+"/providers/Microsoft.Databricks/workspaces/"+name+"?api-version=2024-05-01", `{"location":"westeurope","sku":{"name":"premium"},"properties":{}}`)
	return "https://" + str(made, "properties", "workspaceUrl"), str(made, "properties", "workspaceId")
}

// TestWorkspaces: each workspace that is made has its own jobs, files, secrets,
// experiments and tokens, and says who it is.
func TestWorkspaces(t *testing.T) {
	s := newSite(t)
	admin := s.group()
	blue, blueID := s.workspace(admin, "blue")
	green, greenID := s.workspace(admin, "green")
	token := s.token(s.admin, auth.AudienceWorkspace)
	elsewhere := []string{str(s.want(http.StatusOK, token, "POST", green+"/api/2.0/token/create", `{"comment":"x"}`), "token_value"), s.token(s.principal("nobody", false), auth.AudienceWorkspace)}
	if again, id := s.again(admin, "blue"); again != blue || id != blueID {
		t.Errorf("after a second PUT the workspace is %s, %s", again, id)
	}
	for host, id := range map[string]string{blue: blueID, green: greenID, s.URL: "1"} {
		_, conf, header := s.call("", "GET", host+"/.well-known/databricks-config", "")
		if str(conf, "workspace_id") != id || header.Get("X-Databricks-Org-Id") != id {
			t.Errorf("%s is workspace %v, answered by %s", host, conf["workspace_id"], header.Get("X-Databricks-Org-Id"))
		}
		if _, _, header := s.call(token, "GET", host+"/api/2.0/preview/scim/v2/Me", ""); header.Get("X-Databricks-Org-Id") != id {
			t.Errorf("%s answers as workspace %s", host, header.Get("X-Databricks-Org-Id"))
		}
	}
	for _, c := range []struct{ what, make, body, list, found string }{
		{"jobs", "/api/2.2/jobs/create", `{"name":"nightly","tasks":[{"task_key":"a","notebook_task":{"notebook_path":"/Shared/x"}}]}`, "/api/2.2/jobs/list", "nightly"},
		{"folders", "/api/2.0/workspace/mkdirs", `{"path":"/Shared/only-blue"}`, "/api/2.0/workspace/list?path=/Shared", "only-blue"},
		{"secrets", "/api/2.0/secrets/scopes/create", `{"scope":"only-blue"}`, "/api/2.0/secrets/scopes/list", "only-blue"},
		{"experiments", "/api/2.0/mlflow/experiments/create", `{"name":"/Shared/only-blue"}`, "/api/2.0/mlflow/experiments/search?max_results=10", "only-blue"},
		{"files of DBFS", "/api/2.0/dbfs/put", `{"path":"/only-blue","contents":"eA=="}`, "/api/2.0/dbfs/list?path=/", "only-blue"},
	} {
		s.want(http.StatusOK, token, "POST", blue+c.make, c.body)
		for _, host := range []string{blue, green, s.URL} {
			b, err := json.Marshal(s.want(http.StatusOK, token, "GET", host+c.list, ""))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), c.found) != (host == blue) {
				t.Errorf("%s of %s: %s", c.what, host, b)
			}
		}
	}
	made := s.want(http.StatusOK, token, "POST", blue+"/api/2.0/token/create", `{"comment":"x"}`)
	own := str(made, "token_value")
	s.want(http.StatusOK, own, "GET", blue+"/api/2.0/preview/scim/v2/Me", "")
	if status, out, _ := s.call(own, "GET", green+"/api/2.0/preview/scim/v2/Me", ""); status != http.StatusUnauthorized {
		t.Errorf("a token of another workspace: %d %v", status, out)
	}
	namedByHeader(t, s.URL, blue, map[string]int{token: http.StatusOK, own: http.StatusOK, elsewhere[0]: http.StatusUnauthorized, elsewhere[1]: http.StatusForbidden})
	// Boxes are told the names: a hosts file has no wildcards.
	db, err := store.Open(t.Context(), "sqlite://"+s.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	names := azureapi.New(azureapi.Config{DB: db}).Hosts(t.Context())
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	for _, host := range []string{blue, green} {
		if !slices.Contains(names, strings.TrimPrefix(host, "https://")) {
			t.Errorf("boxes know %v, not %s", names, host)
		}
	}

	// Who has Contributor on a workspace manages it, and nothing else.
	robot := s.principal("robot", false)
	theirs := s.token(robot, auth.AudienceWorkspace)
	s.want(http.StatusForbidden, theirs, "GET", blue+"/api/2.0/workspace/list?path=/Shared", "")
	s.assign(admin, group+"/providers/Microsoft.Databricks/workspaces/blue", "Contributor", robot.object)
	s.want(http.StatusOK, theirs, "GET", blue+"/api/2.0/workspace/list?path=/Shared", "")
	s.want(http.StatusForbidden, theirs, "GET", green+"/api/2.0/workspace/list?path=/Shared", "")
	s.want(http.StatusForbidden, theirs, "GET", s.URL+"/api/2.0/workspace/list?path=/Shared", "")
	s.want(http.StatusForbidden, theirs, "POST", blue+"/api/wherry/tokens", `{"principal":"admin@localhost"}`)

	s.want(http.StatusOK, admin, "DELETE", management+group+"/providers/Microsoft.Databricks/workspaces/blue?api-version=2024-05-01", "")
	s.want(http.StatusNotFound, token, "GET", blue+"/api/2.2/jobs/list", "")
	s.want(http.StatusUnauthorized, own, "GET", s.URL+"/api/2.0/preview/scim/v2/Me", "")
	s.want(http.StatusOK, token, "GET", green+"/api/2.2/jobs/list", "")
}

// TestWorkspaceClusters: a workspace that is deleted takes its clusters along, be
// they pinned.
func TestWorkspaceClusters(t *testing.T) {
	s := newSite(t)
	admin := s.group()
	host, _ := s.workspace(admin, "blue")
	token := s.token(s.admin, auth.AudienceWorkspace)
	made := s.want(http.StatusOK, token, "POST", host+"/api/2.1/clusters/create", `{"cluster_name":"c","spark_version":"17.3.x-scala2.13","num_workers":0}`)
	s.want(http.StatusOK, token, "POST", host+"/api/2.1/clusters/pin", `{"cluster_id":"`+str(made, "cluster_id")+`"}`)
	db, err := store.Open(t.Context(), "sqlite://"+s.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, want := range []int{1, 0} {
		list, err := compute.New(db).Clusters(t.Context(), 0)
		if err != nil || len(list) != want {
			t.Errorf("there are %d clusters, want %d (%v)", len(list), want, err)
		}
		if want == 1 {
			s.want(http.StatusOK, admin, "DELETE", management+group+"/providers/Microsoft.Databricks/workspaces/blue?api-version=2024-05-01", "")
		}
	}
}

// namedByHeader: at the installation's own address the header leads to a workspace,
// whom its host name lets in.
func namedByHeader(t *testing.T, own, host string, want map[string]int) {
	t.Helper()
	for token, status := range want {
		r, err := http.NewRequestWithContext(t.Context(), "GET", own+"/api/2.2/jobs/list", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set(wherry.WorkspaceHeader, strings.TrimPrefix(host, "https://"))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != status || strings.Contains(string(b), "nightly") != (status == http.StatusOK) {
			t.Errorf("%d, want %d: %s, %v", resp.StatusCode, status, b, err)
		}
	}
}

// again changes a workspace's tags.
func (s *site) again(admin, name string) (host, id string) {
	s.Helper()
	made := s.want(http.StatusOK, admin, "PATCH", management+group+"/providers/Microsoft.Databricks/workspaces/"+name+"?api-version=2024-05-01", `{"tags":{"a":"b"}}`)
	if str(made, "tags", "a") != "b" || str(made, "sku", "name") != "premium" {
		s.Errorf("patched: %v", made)
	}
	return "https://" + str(made, "properties", "workspaceUrl"), str(made, "properties", "workspaceId")
}

// A group that Graph made is the one that the account and the workspace show,
// and the other way round, with its members.
func TestGroupsAreTheSame(t *testing.T) {
	s := newSite(t)
	toGraph, toWorkspace := s.token(s.admin, auth.AudienceGraph), s.token(s.admin, auth.AudienceWorkspace)
	ci := s.principal("ci", false)
	made := s.want(http.StatusCreated, toGraph, "POST", graph+"/v1.0/groups", `{"displayName":"team","mailNickname":"team","mailEnabled":false,"securityEnabled":true}`)
	s.want(http.StatusNoContent, toGraph, "POST", graph+"/v1.0/groups/"+str(made, "id")+"/members/$ref", `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/`+ci.object+`"}`)
	const scim = "https://accounts.azuredatabricks.net/api/2.0/accounts/00000000-0000-4000-8000-000000000001/scim/v2/Groups"
	list := s.want(http.StatusOK, toWorkspace, "GET", scim+"?filter=displayName+eq+team", "")["Resources"].([]any)
	if len(list) != 1 || str(list[0].(doc)["members"].([]any)[0].(doc), "display") != "ci" {
		t.Fatalf("the account shows %v", list)
	}
	s.want(http.StatusOK, toWorkspace, "PATCH", s.URL+"/api/2.0/preview/scim/v2/Groups/"+str(list[0].(doc), "id"), `{"Operations":[{"op":"replace","path":"displayName","value":"crew"},{"op":"add","path":"entitlements","value":[{"value":"workspace-access"}]},{"op":"remove","path":"members"}]}`)
	got := s.want(http.StatusOK, toGraph, "GET", graph+"/v1.0/groups/"+str(made, "id"), "")
	if str(got, "displayName") != "crew" || got["wherry.scim"] != nil {
		t.Errorf("Graph shows %v", got)
	}
	if members := s.want(http.StatusOK, toGraph, "GET", graph+"/v1.0/groups/"+str(made, "id")+"/members", "")["value"].([]any); len(members) != 0 {
		t.Errorf("members in Graph: %v", members)
	}
	s.refused(http.StatusBadRequest, "Request_BadRequest", toGraph, "POST", graph+"/v1.0/groups", `{"displayName":"Admins","mailNickname":"admins"}`)
	s.refused(http.StatusBadRequest, "Request_BadRequest", toGraph, "PATCH", graph+"/v1.0/groups/"+str(made, "id"), `{"displayName":"users"}`)
}

// Who is assigned a workspace as its admin makes jobs there, but lets none run as
// someone else, and changes none that does.
func TestManagersRunAsThemselves(t *testing.T) {
	s := newSite(t)
	host, id := s.workspace(s.group(), "blue")
	ci := s.principal("ci", false)
	token, admin := s.token(ci, auth.AudienceWorkspace), s.token(s.admin, auth.AudienceWorkspace)
	const accounts = "https://accounts.azuredatabricks.net/api/2.0/accounts/00000000-0000-4000-8000-000000000001/"
	const job = `"name":"j","tasks":[{"task_key":"a","spark_python_task":{"python_file":"/Shared/a.py"}}]`
	s.want(http.StatusForbidden, token, "POST", host+"/api/2.2/jobs/create", `{`+job+`}`)
	number := str(s.want(http.StatusOK, admin, "GET", accounts+"scim/v2/ServicePrincipals?filter=applicationId+eq+"+ci.client, "")["Resources"].([]any)[0].(doc), "id")
	s.want(http.StatusOK, admin, "PUT", accounts+"workspaces/"+id+"/permissionassignments/principals/"+number, `{"permissions":["ADMIN"]}`)
	s.want(http.StatusOK, token, "POST", host+"/api/2.2/jobs/create", `{`+job+`}`)
	s.want(http.StatusOK, token, "POST", host+"/api/2.2/jobs/create", `{"run_as":{"service_principal_name":"`+ci.client+`"},`+job+`}`)
	for _, other := range []string{`{"user_name":"admin@localhost"}`, `{"service_principal_name":"` + s.admin.client + `"}`} {
		s.want(http.StatusForbidden, token, "POST", host+"/api/2.2/jobs/create", `{"run_as":`+other+`,`+job+`}`)
		s.want(http.StatusForbidden, token, "POST", host+"/api/2.2/jobs/runs/submit", `{"run_as":`+other+`,`+job+`}`)
	}
	made := s.want(http.StatusOK, admin, "POST", host+"/api/2.2/jobs/create", `{"run_as":{"user_name":"admin@localhost"},`+job+`}`)
	shared := fmt.Sprintf("%.0f", made["job_id"])
	s.want(http.StatusForbidden, token, "POST", host+"/api/2.2/jobs/update", `{"job_id":`+shared+`,"new_settings":{"name":"k"}}`)
	s.want(http.StatusForbidden, token, "POST", host+"/api/2.2/jobs/reset", `{"job_id":`+shared+`,"new_settings":{`+job+`}}`)
}
