package server_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// TestOpenAPI reads the running server's document with a real validator,
// compares it with the route table, and checks real answers against it.
func TestOpenAPI(t *testing.T) {
	s := servertest.Start(t, nil)
	doc, err := openapi3.NewLoader().LoadFromData(get(t, s, "/api/openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: s.URL}}

	t.Run("routes", func(t *testing.T) { sameRoutes(t, doc) })
	t.Run("schemas", func(t *testing.T) { schemasOfJobs(t, doc) })
	t.Run("answers", func(t *testing.T) { answers(t, s, doc) })
}

// sameRoutes: every route is in the document with its permission, and nothing
// else.
func sameRoutes(t *testing.T, doc *openapi3.T) {
	described := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = op
		}
	}
	for _, rt := range server.Table(t) {
		methods := []string{rt.Method}
		if rt.Method == "" {
			methods = []string{"GET", "PUT", "POST", "DELETE", "PATCH"}
		}
		path := strings.NewReplacer("{$}", "", "...}", "}").Replace(rt.Path)
		if strings.HasSuffix(rt.Path, "/") {
			path += "{path}"
		}
		for _, method := range methods {
			key := method + " " + path
			op := described[key]
			delete(described, key)
			switch {
			case op == nil:
				t.Errorf("%s is not in the document", key)
			case op.Extensions["x-wherry-permission"] != string(rt.Permission):
				t.Errorf("%s: permission %v, want %s", key, op.Extensions["x-wherry-permission"], rt.Permission)
			case op.Summary == "" || op.Summary != rt.Summary || len(op.Tags) != 1 || op.OperationID == "":
				t.Errorf("%s: summary %q, tags %v, id %q", key, op.Summary, op.Tags, op.OperationID)
			}
		}
	}
	if len(described) > 0 {
		t.Errorf("in the document, and in no table: %v", slices.Sorted(maps.Keys(described)))
	}
}

// schemasOfJobs looks at what reflection must have found.
func schemasOfJobs(t *testing.T, doc *openapi3.T) {
	create := doc.Paths.Value("/api/2.2/jobs/create").Post.RequestBody.Value.Content["application/json"].Schema.Value
	task := create.Properties["tasks"].Value.Items.Value
	if !task.Properties["task_key"].Value.Type.Is("string") || task.Properties["for_each_task"] == nil {
		t.Errorf("a new job's task has %v", slices.Sorted(maps.Keys(task.Properties)))
	}
	list := doc.Paths.Value("/api/2.2/jobs/list").Get
	if p := list.Parameters.GetByInAndName("query", "limit"); p == nil || !p.Schema.Value.Type.Is("integer") {
		t.Errorf("jobs/list has the parameters %v", list.Parameters)
	}
	deploy := doc.Paths.Value("/api/wherry/deployments/deploy").Post
	if deploy.RequestBody.Value.Content["application/json"] == nil || deploy.Responses.Value("2XX").Value.Content["application/json"].Schema.Value.Properties["deployment_id"] == nil {
		t.Errorf("a deploy takes and answers something else")
	}
	files := doc.Paths.Value("/api/2.0/fs/files/{path}").Get
	if p := files.Parameters.GetByInAndName("path", "path"); p == nil || !p.Required {
		t.Errorf("fs/files has the parameters %v", files.Parameters)
	}
	failed := list.Responses.Default().Value.Content["application/json"].Schema.Value.Properties
	if failed["error_code"] == nil || failed["message"] == nil {
		t.Errorf("the error is %v", failed)
	}
	if health := doc.Paths.Value("/health").Get; health.Security == nil || len(*health.Security) != 0 {
		t.Errorf("/health asks for %v", health.Security)
	}
}

// answers: what the server says to real requests is as described.
func answers(t *testing.T, s *servertest.Server, doc *openapi3.T) {
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/2.2/jobs/create", `{"name": "one", "tasks": [{"task_key": "a", "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}]}`},
		{"GET", "/api/2.2/jobs/get?job_id=1", ""},
		{"GET", "/api/2.2/jobs/list?limit=5", ""},
		{"POST", "/api/2.2/jobs/run-now", `{"job_id": 1}`},
		{"GET", "/api/2.2/jobs/runs/list", ""},
		{"GET", "/api/2.1/jobs/get?job_id=77", ""},
		{"GET", "/api/2.1/clusters/list", ""},
		{"GET", "/api/2.1/clusters/spark-versions", ""},
		{"GET", "/api/2.0/workspace/list?path=/", ""},
		{"POST", "/api/2.0/secrets/scopes/create", `{"scope": "s"}`},
		{"GET", "/api/2.0/secrets/scopes/list", ""},
		{"GET", "/api/2.1/unity-catalog/catalogs", ""},
		{"GET", "/api/2.1/unity-catalog/schemas/main.nothing", ""},
		{"GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", ""},
		{"POST", "/api/2.0/mlflow/runs/create", `{"experiment_id": "0", "start_time": 1}`},
		{"POST", "/api/2.0/mlflow/runs/search", `{"experiment_ids": ["0"]}`},
		{"POST", "/oidc/v1/token", `{}`},
		{"GET", "/api/2.0/preview/scim/v2/Me", ""},
		{"POST", "/api/2.0/preview/scim/v2/Users", `{"userName": "ann@example.com"}`},
		{"GET", "/api/2.0/preview/scim/v2/Users/99", ""},
		{"POST", "/api/wherry/deployments/plan", `{}`},
		{"GET", "/api/wherry/trace?kind=job_run&id=1", ""},
	} {
		req := request(t, s.URL+c.path, c.method, c.body, s.Token)
		route, params, err := router.FindRoute(req)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
		}}
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
		res, err := http.DefaultClient.Do(request(t, s.URL+c.path, c.method, c.body, s.Token))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options}
		if err := openapi3filter.ValidateResponse(t.Context(), out.SetBodyBytes(body)); err != nil {
			t.Errorf("%s %s: %d %s: %v", c.method, c.path, res.StatusCode, body, err)
		}
	}
}

func request(t *testing.T, url, method, body, token string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

func get(t *testing.T, s *servertest.Server, path string) []byte {
	t.Helper()
	res, err := http.DefaultClient.Do(request(t, s.URL+path, "GET", "", s.Token))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %d %s %v", path, res.StatusCode, b, err)
	}
	return b
}
