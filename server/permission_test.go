package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
)

var variable = regexp.MustCompile(`\{[^}]*\}`)

// callers returns a token of each kind of caller; anonymous has none.
func callers(t *testing.T, s *servertest.Server) map[string]string {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite://"+s.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tokens := map[string]string{"anonymous": "", "admin": s.Token}
	err = db.Write(t.Context(), func(tx *store.Tx) error {
		user, err := auth.CreateUser(tx, "eve@example.com", "", false)
		if err != nil {
			return err
		}
		robot, err := auth.AddServicePrincipal(tx, "", "robot", false)
		if err != nil {
			return err
		}
		for name, p := range map[string]wherry.Principal{"user": user, "service principal": robot} {
			if _, tokens[name], err = auth.IssueToken(tx, wherry.DefaultWorkspace, p.ID, 0, "test", time.Hour); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// TestPermissions calls every route of the table as everyone: who is let in is
// what the table says, and nothing else decides.
func TestPermissions(t *testing.T) {
	s := servertest.Start(t, nil)
	tokens := callers(t, s)
	for _, rt := range server.Table(t) {
		methods := []string{rt.Method}
		if rt.Method == "" {
			methods = []string{"GET", "PUT", "POST", "DELETE", "PATCH"}
		}
		path := variable.ReplaceAllString(strings.TrimSuffix(rt.Path, "{$}"), "7")
		for _, method := range methods {
			got := map[string]answer{}
			for _, who := range []string{"anonymous", "user", "service principal", "admin"} {
				got[who] = ask(t, s, method, path, "", tokens[who])
			}
			check(t, rt.Permission, method+" "+rt.Path, got)
		}
	}
}

// check compares the answers with the permission of the route.
func check(t *testing.T, p api.Permission, route string, got map[string]answer) {
	t.Helper()
	want := map[string]string{}
	switch p {
	case api.Public:
	case api.SignedIn, api.Own:
		want["anonymous"] = "no sign-in"
	case api.Read, api.Write, api.Admin:
		want["anonymous"], want["user"], want["service principal"] = "no sign-in", "not admin", "not admin"
	default:
		t.Errorf("%s: the permission %q is in no row of this test", route, p)
	}
	for who, a := range got {
		if a.refusal() != want[who] {
			t.Errorf("%s (%s) as %s: %d %s, want %q", route, p, who, a.status, a.body, want[who])
		}
	}
}

type answer struct {
	status int
	body   string
}

// refusal is why the table's guard let nobody through, "" if it did.
func (a answer) refusal() string {
	switch {
	case a.status == http.StatusUnauthorized && strings.Contains(a.body, "sign in with a token: none was sent"):
		return "no sign-in"
	case a.status == http.StatusForbidden && strings.Contains(a.body, "only admins may until grants are enforced"):
		return "not admin"
	}
	return ""
}

// ask makes a request, without following where it leads.
func ask(t *testing.T, s *servertest.Server, method, path, body, token string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := http.DefaultTransport.RoundTrip(request(t, s.URL+path, method, body, token).WithContext(ctx))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" { // it goes on until the page is closed
		return answer{res.StatusCode, ""}
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{res.StatusCode, string(b)}
}

// TestUnsupported: what is not there says so by name, with 501, to whoever may
// ask.
func TestUnsupported(t *testing.T) {
	s := servertest.Start(t, nil)
	for _, c := range []struct{ method, path, body, feature string }{
		{"POST", "/api/2.0/serving-endpoints", "{}", "model serving"},
		{"GET", "/api/2.0/pipelines", "", "Lakeflow pipelines"},
		{"POST", "/api/2.0/sql/statements", "{}", "the SQL warehouse API"},
		{"GET", "/api/2.0/lakeview/dashboards", "", "dashboards"},
		{"GET", "/api/2.0/apps", "", "apps"},
		{"GET", "/api/2.0/database/instances", "", "database instances"},
		{"GET", "/api/2.0/genie/spaces", "", "Genie"},
		{"GET", "/api/2.0/vector-search/endpoints", "", "vector search"},
		{"GET", "/api/2.0/instance-pools/list", "", "instance pools"},
		{"GET", "/api/2.0/policies/clusters/list", "", "cluster policies"},
		{"GET", "/api/2.0/repos", "", "Git folders"},
		{"GET", "/api/2.0/git-credentials", "", "Git credentials"},
		{"GET", "/api/2.0/global-init-scripts", "", "global init scripts"},
		{"GET", "/api/2.1/quality-monitoring/tables", "", "quality monitors"},
		{"GET", "/api/data-quality/v1/monitors", "", "data quality monitors"},
		{"GET", "/api/2.0/alerts", "", "alerts"},
		{"POST", "/api/2.0/unity-catalog/temporary-table-credentials", "{}", "credential vending (temporary table credentials)"},
		{"GET", "/api/2.1/unity-catalog/connections", "", "connections"},
		{"POST", "/api/2.0/mlflow/traces", "{}", "MLflow tracing"},
		{"POST", "/api/3.0/mlflow/datasets/create", "{}", "MLflow evaluation datasets"},
		{"POST", "/api/3.0/mlflow/scorers/register", "{}", "MLflow scorers"},
		{"POST", "/api/2.0/mlflow/webhooks", "{}", "MLflow webhooks"},
		{"GET", "/oidc/v1/authorize", "", "sign-in of a person in a browser"},
		{"POST", "/api/2.0/preview/scim/v2/Bulk", `{}`, "the SCIM call"},
		{"POST", "/api/2.0/preview/scim/v2/Groups", `{"displayName": "g", "roles": [{"value": "r"}]}`, "roles of a group"},
		{"POST", "/api/2.2/jobs/create", `{"name": "old", "notebook_task": {"notebook_path": "/a"}}`, "the single-task format"},
		{"POST", "/api/2.2/jobs/create", `{"name": "git", "git_source": {"git_url": "u", "git_provider": "gitHub"}, "tasks": []}`, "git_source"},
		{"POST", "/api/2.2/jobs/create", `{"tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a", "source": "GIT"}}]}`, "the source GIT"},
		{"POST", "/api/2.2/jobs/create", `{"run_as": {"group_name": "g"}, "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}`, "run_as a group"},
		{"POST", "/api/2.2/jobs/create", `{"tasks": [{"task_key": "a", "dbt_task": {}}]}`, "the task type dbt_task"},
		{"POST", "/api/2.2/jobs/create", `{"tasks": [{"task_key": "a", "spark_jar_task": {}}]}`, "the task type spark_jar_task"},
		{"POST", "/api/2.1/clusters/create", `{"spark_version": "17.3.x-scala2.13", "node_type_id": "i3.xlarge", "num_workers": 0, "docker_image": {"url": "x"}}`, "docker_image"},
		{"POST", "/api/2.0/secrets/scopes/create", `{"scope": "s", "scope_backend_type": "AZURE_KEYVAULT"}`, "a secret scope with the backend AZURE_KEYVAULT"},
	} {
		a := ask(t, s, c.method, c.path, c.body, s.Token)
		if a.status != http.StatusNotImplemented || !strings.Contains(a.body, c.feature) {
			t.Errorf("%s %s %s: %d %s, want 501 naming %q", c.method, c.path, c.body, a.status, a.body, c.feature)
		}
	}
	named := 0
	for _, rt := range server.Table(t) {
		feature, ok := strings.CutPrefix(rt.Summary, "Not supported: ")
		if !ok {
			continue
		}
		named++
		method := rt.Method
		if method == "" {
			method = "GET"
		}
		path := variable.ReplaceAllString(strings.ReplaceAll(rt.Path, "/{path...}", "/Volumes/a/b/c"), "7")
		if a := ask(t, s, method, path, "", s.Token); a.status != http.StatusNotImplemented || !strings.Contains(a.body, feature) {
			t.Errorf("%s %s: %d %s, want 501 naming %q", method, path, a.status, a.body, feature)
		}
	}
	if named < 20 {
		t.Errorf("the table names %d routes that are not supported", named)
	}
	if a := ask(t, s, "GET", "/api/2.0/no-such-thing", "", s.Token); a.status != http.StatusNotFound || !json.Valid([]byte(a.body)) {
		t.Errorf("an unknown path: %d %s", a.status, a.body)
	}
}
