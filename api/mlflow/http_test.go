package mlflow_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
)

// client calls a server of this test with the admin's token.
type client struct {
	*testing.T
	*servertest.Server
}

func newClient(t *testing.T) *client { return &client{t, servertest.Start(t, nil)} }

// do sends a request and returns status and body. body may be nil, a string or
// a document.
func (c *client) do(method, path string, body any, header ...string) (int, string) {
	c.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		doc, err := json.Marshal(b)
		if err != nil {
			c.Fatal(err)
		}
		r = bytes.NewReader(doc)
	}
	req, err := http.NewRequest(method, c.URL+path, r)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := noRedirect.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// must sends a request that succeeds and returns one string of the answer, by
// the path of its keys.
func (c *client) must(method, path string, body any, keys ...string) string {
	c.Helper()
	status, text := c.do(method, path, body)
	if status != http.StatusOK {
		c.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if len(keys) == 0 {
		return text
	}
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		c.Fatal(err)
	}
	for _, k := range keys {
		m, _ := doc.(map[string]any)
		doc = m[k]
	}
	return fmt.Sprint(doc)
}

type m = map[string]any

const api2 = "/api/2.0/mlflow/"

func (c *client) run() (experiment, run string) {
	experiment = c.must("POST", api2+"experiments/create", m{"name": "e" + c.Name()}, "experiment_id")
	return experiment, c.must("POST", api2+"runs/create", m{"experiment_id": experiment}, "run", "info", "run_id")
}

// Each line is a known vulnerability of MLflow's own server (mlflow.md §6b).
func TestVulnerabilities(t *testing.T) {
	c := newClient(t)
	_, run := c.run()
	secret := filepath.Join(filepath.Dir(c.State.Artifacts()), "admin-token")
	if _, err := os.Stat(secret); err != nil {
		t.Fatal(err)
	}
	c.must("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/"+run+"/artifacts/a.html", "<script>alert(1)</script>")
	c.must("POST", api2+"registered-models/create", m{"name": "m"})
	refused := func(want string, method, path string, body any, header ...string) {
		t.Helper()
		status, text := c.do(method, path, body, header...)
		if !strings.Contains(want, fmt.Sprint(status)) || strings.Contains(text, c.Token) || strings.Contains(text, "root:") {
			t.Errorf("%s %s %v: %d %.200s; want %s", method, path, body, status, text, want)
		}
	}
	for _, p := range []string{"../../../../etc/passwd", "..%2f..%2f..%2fadmin-token", "%252e%252e%252fadmin-token", "/etc/passwd", "/no/such/file", "C:/x", `..\..\admin-token`, "a?/../../x", "a%00b", "file:///etc/passwd"} {
		q := strings.ReplaceAll(p, "?", "%3F")
		refused("400", "GET", "/mlflow/get-artifact?run_uuid="+run+"&path="+q, nil)
		refused("400", "POST", "/mlflow/ajax-api/2.0/mlflow/upload-artifact?run_uuid="+run+"&path="+q, "x")
		refused("400", "GET", api2+"artifacts/list?run_id="+run+"&path="+q, nil)
		refused("400", "GET", "/api/2.0/mlflow-artifacts/artifacts?path="+q, nil)
	}
	for _, p := range []string{"..%2f..%2ftmp%2fx", "%2e%2e/admin-token", "%252E%252E%252F..%252fadmin-token", "%2fetc%2fpasswd", "1%5c..%5c..%5cx", ".tmp/x", ".models/../admin-token"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			refused("400 301 307", method, "/api/2.0/mlflow-artifacts/artifacts/"+p, "x")
		}
	}
	for _, source := range []string{
		"//proc/self/root", "/etc", "file:///etc", "file://./etc", "etc/passwd", "", "http://h/api/2.0/mlflow-artifacts/artifacts/../../../etc", "http://169.254.169.254/latest",
		"http:///#/../../../etc/", "http://host#/../..", "http:///;/../..", "http:///?/../../../etc/", "dbfs:/../../etc", "s3:/bucket/../../etc", "mlflow-artifacts:/../../etc", "mlflow-artifacts://h/..%2f..", "mlflow-artifacts:/.tmp/x",
		`\\host\share`, "ftp://h/x", "runs:/" + run + "/../../x", "models:/m-00000000000000000000000000000000/../x", "models:/nosuch/1", "s3://b/x?y=/../..", "C:\\x", "mlflow-artifacts:/1/%252e%252e/x",
	} {
		refused("400 404", "POST", api2+"model-versions/create", m{"name": "m", "source": source, "run_id": run})
		refused("400 404", "POST", api2+"model-versions/create", m{"name": "m", "source": source, "tags": []m{{"key": "mlflow.prompt.is_prompt", "value": "true"}}})
		if source != "" {
			refused("400", "POST", api2+"experiments/create", m{"name": "at " + source, "artifact_location": source})
		}
	}
	if got := c.must("GET", api2+"model-versions/search", nil); got != "{}" {
		t.Errorf("refused versions were made: %s", got)
	}
	for _, name := range []string{"a/b", "a%2Fb", "..", "a:b", ""} {
		refused("400", "POST", api2+"registered-models/create", m{"name": name})
	}
	// Another site's page.
	refused("403", "POST", "/ajax-api/2.0/mlflow/experiments/update", `{"experiment_id":"1"}`, "Origin", "https://evil.example", "Content-Type", "text/plain")
	refused("403", "POST", "/mlflow/ajax-api/2.0/mlflow/experiments/create", m{"name": "x"}, "Origin", "https://evil.example")
	refused("403", "POST", "/mlflow/graphql", m{"query": "{test(inputString:\"x\"){output}}"}, "Origin", "https://evil.example")
	refused("403", "GET", api2+"experiments/search", nil, "Host", "evil.example")
	// Without sign-in, and with the password that MLflow once had.
	for _, rt := range [][2]string{{"POST", api2 + "runs/create"}, {"GET", "/mlflow/"}, {"POST", "/mlflow/graphql"}, {"GET", "/api/2.0/mlflow-artifacts/artifacts"}, {"POST", "/ajax-api/3.0/mlflow/traces"}, {"POST", "/api/2.0/mlflow/users/create"}, {"GET", "/ajax-api/3.0/jobs/1"}, {"POST", "/api/2.0/fs/create-upload-url"}} {
		refused("401 404", rt[0], rt[1], nil, "Authorization", "")
		refused("401 404", rt[0], rt[1], nil, "Authorization", "Basic YWRtaW46cGFzc3dvcmQxMjM0")
	}
	refused("404 501", "GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=http://127.0.0.1", nil)
	refused("501", "POST", api2+"webhooks", m{"url": "http://169.254.169.254"})
	// A signed URL is for one file, one way, and for a while.
	refused("403", "GET", "/api/wherry/signed-files/1/"+run+"/artifacts/a.html?expires=99999999999&signature=00", nil, "Authorization", "")
	refused("403", "PUT", "/api/wherry/signed-files/1/"+run+"/artifacts/a.html?expires=99999999999", "x", "Authorization", "")
	// What users upload does not run in our origin.
	req, _ := http.NewRequest("GET", c.URL+"/mlflow/get-artifact?run_id="+run+"&path=a.html", nil)
	req.Header.Set("Authorization", "Bearer "+c.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if h := resp.Header; !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("an uploaded page is sent with %v", h)
	}
}

func TestLimits(t *testing.T) {
	c := newClient(t)
	_, run := c.run()
	many := func(n int, f func(int) m) (list []m) {
		for i := range n {
			list = append(list, f(i))
		}
		return list
	}
	metric := func(i int) m { return m{"key": fmt.Sprint("k", i), "value": 1, "timestamp": 1} }
	pair := func(i int) m { return m{"key": fmt.Sprint("k", i), "value": "v"} }
	for name, body := range map[string]m{
		"metrics":  {"run_id": run, "metrics": many(1001, metric)},
		"params":   {"run_id": run, "params": many(101, pair)},
		"tags":     {"run_id": run, "tags": many(101, pair)},
		"all":      {"run_id": run, "metrics": many(950, metric), "params": many(51, pair)},
		"bytes":    {"run_id": run, "tags": []m{{"key": "k", "value": strings.Repeat("x", 1_000_000)}}},
		"key":      {"run_id": run, "tags": []m{{"key": strings.Repeat("k", 251), "value": "v"}}},
		"key path": {"run_id": run, "metrics": []m{{"key": "../x", "value": 1, "timestamp": 1}}},
		"no value": {"run_id": run, "metrics": []m{{"key": "x", "timestamp": 1}}},
		"no text":  {"run_id": run, "params": []m{{"key": "x", "value": "a\x00b"}}},
	} {
		if status, text := c.do("POST", api2+"runs/log-batch", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %.200s", name, status, text)
		}
	}
	for _, path := range []string{"runs/search", "experiments/search", "logged-models/search"} {
		for _, n := range []int{0, -1, 50_001} {
			if status, _ := c.do("POST", api2+path, m{"max_results": n, "experiment_ids": []string{"0"}}); status != http.StatusBadRequest {
				t.Errorf("%s max_results %d: %d", path, n, status)
			}
		}
	}
	if status, text := c.do("POST", api2+"experiments/create", m{"name": strings.Repeat("n", 501)}); status != http.StatusBadRequest {
		t.Errorf("long name: %d %s", status, text)
	}
	status, text := c.do("POST", "/api/2.0/mlflow-artifacts/mpu/create/1/x", m{})
	if status != http.StatusNotImplemented || !strings.Contains(text, "NOT_IMPLEMENTED") {
		t.Errorf("mpu: %d %s", status, text)
	}
}

func TestGraphQL(t *testing.T) {
	c := newClient(t)
	_, run := c.run()
	c.must("POST", api2+"runs/log-batch", m{"run_id": run, "metrics": []m{{"key": "a", "value": "NaN", "timestamp": 5, "step": 2}, {"key": "b", "value": 1.5, "timestamp": 5}}, "params": []m{{"key": "p", "value": "q"}}})
	ask := func(query string, variables m) string {
		t.Helper()
		return c.must("POST", "/mlflow/graphql", m{"query": query, "variables": variables})
	}
	got := ask(`query GetRun($data: MlflowGetRunInput!) @component(name: "MLflow.ExperimentRunTracking") {
		one: mlflowGetRun(input: $data) { apiError { code message } run { __typename info { runUuid status startTime } ...rest modelVersions { name } } } }
		fragment rest on MlflowRun { data { metrics { key value step } params { key value } } experiment { experimentId name } }`, m{"data": m{"runId": run}})
	for _, want := range []string{`"runUuid":"` + run + `"`, `"status":"RUNNING"`, `{"key":"a","value":null,"step":"2"}`, `{"key":"b","value":1.5,"step":"0"}`, `"params":[{"key":"p","value":"q"}]`, `"modelVersions":[]`, `"__typename":"MlflowRun"`, `"errors":null`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if got := ask(`{ test(inputString: "héllo \n") { output @include(if: true) } }`, nil); !strings.Contains(got, `"output":"héllo \n"`) {
		t.Error(got)
	}
	deep := strings.Repeat("{ a ", 60) + strings.Repeat("}", 60)
	for name, q := range map[string]string{
		"root fields": "{" + strings.Repeat(`test(inputString:"x"){output} `, 11) + "}",
		"aliases":     "{" + aliases(11) + "}",
		"depth":       deep,
		"loop":        "{ ...a } fragment a on Query { ...a }",
		"unknown":     "{ nope { x } }",
		"leaf":        `{ test(inputString:"x") }`,
		"syntax":      "{ test(",
		"selections":  "{ test(inputString:\"x\") {" + strings.Repeat("output ", 1001) + "} }",
	} {
		if got := ask(q, nil); !strings.Contains(got, `"errors":["`) {
			t.Errorf("%s is answered: %.200s", name, got)
		}
	}
}

func aliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d: test(inputString:"x"){output} `, i)
	}
	return b.String()
}

// Artifact locations are written for the client that asks.
func TestLocations(t *testing.T) {
	c := newClient(t)
	e, run := c.run()
	get := func(agent string) string {
		_, text := c.do("GET", api2+"runs/get?run_id="+run, nil, "User-Agent", agent)
		var out struct {
			Run struct {
				Info struct {
					URI string `json:"artifact_uri"`
				} `json:"info"`
			} `json:"run"`
		}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatal(err)
		}
		return out.Run.Info.URI
	}
	plain, databricks := "mlflow-artifacts:/"+e+"/"+run+"/artifacts", "dbfs:/databricks/mlflow-tracking/"+e+"/"+run+"/artifacts"
	if got := get("mlflow-python-client/3.17.2"); got != plain {
		t.Errorf("plain: %s", got)
	}
	if got := get("unknown databricks-sdk-py/0.162.0 python/3.11"); got != databricks {
		t.Errorf("Databricks mode: %s", got)
	}
	c.must("POST", api2+"registered-models/create", m{"name": "m"})
	for _, source := range []string{plain + "/model", databricks + "/model", c.URL + "/api/2.0/mlflow-artifacts/artifacts/" + e + "/" + run + "/artifacts/model", "runs:/" + run + "/model"} {
		if got := c.must("POST", api2+"model-versions/create", m{"name": "m", "source": source, "run_id": run}, "model_version", "source"); got != plain+"/model" {
			t.Errorf("%s became %s", source, got)
		}
	}
	// The Files API and the proxy show the same files.
	status, text := c.do("PUT", "/api/2.0/fs/files/WorkspaceInternal/Mlflow/Artifacts/"+e+"/Runs/"+run+"/artifacts/model/a b.txt?overwrite=true", "hello")
	if status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
	if got := c.must("GET", "/api/2.0/mlflow-artifacts/artifacts/"+e+"/"+run+"/artifacts/model/a%20b.txt", nil); got != "hello" {
		t.Errorf("the proxy reads %q", got)
	}
	if got := c.must("GET", "/mlflow/model-versions/get-artifact?name=m&version=1&path=a%20b.txt", nil); got != "hello" {
		t.Errorf("the version's file reads %q", got)
	}
	if got := c.must("GET", api2+"artifacts/list?run_id="+run+"&path=model", nil); !strings.Contains(got, `"path":"model/a b.txt"`) {
		t.Errorf("listing: %s", got)
	}
}
