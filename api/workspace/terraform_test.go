package workspace_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
)

// recorded is a line of testdata/terraform.txt.
var recorded = regexp.MustCompile(`(?m)^(\S+) [^/]+(/\S*) -> (\d+) +UA=.* auth=(.*) body=(.*)$`)

// TestTerraformRecording sends again what the real Terraform provider databricks
// 1.128.0 sent to a small stub for an apply of a job and the plans after it. The
// job's settings must come back as they were sent, or each plan shows a change.
func TestTerraformRecording(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, nil)
	lines := recorded.FindAllStringSubmatch(string(must(os.ReadFile("testdata/terraform.txt"))(t)), -1)
	if len(lines) != 19 {
		t.Fatalf("%d requests were read", len(lines))
	}
	job, sent := "77", ""
	for _, line := range lines {
		method, path, body := line[1], strings.ReplaceAll(line[2], "job_id=77", "job_id="+job), line[5]
		status, header, answer := request(t, s, method, path, body)
		if status != http.StatusOK || header.Get("X-Databricks-Org-Id") != "1" {
			t.Fatalf("%s %s: %d, X-Databricks-Org-Id %q: %s", method, path, status, header.Get("X-Databricks-Org-Id"), answer)
		}
		switch {
		case strings.HasSuffix(path, "/jobs/create"):
			job, sent = field(answer, "job_id"), body
		case strings.Contains(path, "/jobs/get?"):
			same(t, []byte(sent), answer)
		case strings.Contains(path, "/scim/v2/Me"):
			if field(answer, "userName") != "admin@localhost" || field(answer, "id") == "" {
				t.Errorf("%s: %s", path, answer)
			}
		case strings.HasSuffix(path, "/databricks-config"): // the stub had none, and answered 404
			if field(answer, "host_type") != "WORKSPACE_HOST" {
				t.Errorf("%s: %s", path, answer)
			}
		default:
			t.Errorf("%s %s is in no case of this test", method, path)
		}
	}
}

// same wants each setting that was sent in an answer of jobs/get.
func same(t *testing.T, sent, answer []byte) {
	t.Helper()
	var want map[string]any
	var got struct {
		Settings map[string]any `json:"settings"`
	}
	if err := errors.Join(json.Unmarshal(sent, &want), json.Unmarshal(answer, &got)); err != nil || len(want) == 0 {
		t.Fatalf("sent %s: %v", sent, err)
	}
	for key, value := range want {
		if !reflect.DeepEqual(got.Settings[key], value) {
			t.Errorf("%s is %v, and was sent as %v", key, got.Settings[key], value)
		}
	}
}

// TestTerraformCalls makes calls that the provider's resources make, for a scope,
// a secret, an ACL, a folder, a notebook, a schema, a volume, grants and
// permissions, and looks for what the provider reads from each answer. The
// requests are written by hand, no recording of them was kept.
func TestTerraformCalls(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, nil)
	values := map[string]string{} // $name in a later path or body
	for _, c := range []struct {
		method, path, body string
		status             int
		want               map[string]string // JSON path to value; "*" is anything, and kept under the last part's name
	}{
		{"GET", "/api/2.1/unity-catalog/current-metastore-assignment", "", 200, map[string]string{"metastore_id": "*", "workspace_id": "1"}},
		{"GET", "/api/2.1/unity-catalog/metastore_summary", "", 200, map[string]string{"metastore_id": "$metastore_id"}},

		{"PUT", "/api/2.1/unity-catalog/workspaces/1/metastore", `{"metastore_id":"$metastore_id"}`, 200, nil},
		{"PUT", "/api/2.1/unity-catalog/workspaces/1/metastore", `{"metastore_id":"another"}`, 404, nil},
		{"PUT", "/api/2.1/unity-catalog/workspaces/1/metastore", `{}`, 400, nil},
		{"PUT", "/api/2.1/unity-catalog/workspaces/999/metastore", `{"metastore_id":"$metastore_id"}`, 404, nil},
		{"PATCH", "/api/2.1/unity-catalog/workspaces/1/metastore", `{"metastore_id":"$metastore_id","default_catalog_name":"sales"}`, 501, nil},
		{"DELETE", "/api/2.1/unity-catalog/workspaces/1/metastore?metastore_id=$metastore_id", "", 404, nil},

		{"POST", "/api/2.0/secrets/scopes/create", `{"scope":"terraform"}`, 200, nil},
		{"GET", "/api/2.0/secrets/scopes/list", "", 200, map[string]string{"scopes.0.name": "terraform", "scopes.0.backend_type": "DATABRICKS"}},
		{"POST", "/api/2.0/secrets/put", `{"scope":"terraform","key":"k","string_value":"v"}`, 200, nil},
		{"GET", "/api/2.0/secrets/list?scope=terraform", "", 200, map[string]string{"secrets.0.key": "k", "secrets.0.last_updated_timestamp": "*"}},
		{"POST", "/api/2.0/secrets/acls/put", `{"scope":"terraform","principal":"users","permission":"READ"}`, 200, nil},
		{"GET", "/api/2.0/secrets/acls/get?principal=users&scope=terraform", "", 200, map[string]string{"permission": "READ"}},

		{"POST", "/api/2.0/workspace/mkdirs", `{"path":"/Shared/tf"}`, 200, nil},
		{"GET", "/api/2.0/workspace/get-status?path=%2FShared%2Ftf", "", 200, map[string]string{"object_type": "DIRECTORY", "object_id": "*"}},
		{"POST", "/api/2.0/workspace/import", `{"content":"cHJpbnQoMSk=","format":"SOURCE","language":"PYTHON","overwrite":true,"path":"/Shared/tf/nb"}`, 200, nil},
		{
			"GET", "/api/2.0/workspace/get-status?path=%2FShared%2Ftf%2Fnb&return_git_info=true", "", 200,
			map[string]string{"object_type": "NOTEBOOK", "language": "PYTHON", "object_id": "*", "path": "/Shared/tf/nb"},
		},
		{"PUT", "/api/2.0/permissions/notebooks/$object_id", `{"access_control_list":[{"group_name":"users","permission_level":"CAN_RUN"}]}`, 200, nil},
		{"GET", "/api/2.0/permissions/notebooks/$object_id", "", 200, map[string]string{
			"object_type":                      "notebook",
			"access_control_list.0.group_name": "users", "access_control_list.0.all_permissions.0.permission_level": "CAN_RUN",
		}},

		{"POST", "/api/2.1/unity-catalog/schemas", `{"catalog_name":"workspace","name":"tf"}`, 200, map[string]string{"full_name": "workspace.tf"}},
		{"GET", "/api/2.1/unity-catalog/schemas/workspace.tf", "", 200, map[string]string{"owner": "admin@localhost", "metastore_id": "$metastore_id"}},
		{"POST", "/api/2.1/unity-catalog/volumes", `{"catalog_name":"workspace","name":"files","schema_name":"tf","volume_type":"MANAGED"}`, 200, map[string]string{"full_name": "workspace.tf.files"}},
		{"GET", "/api/2.1/unity-catalog/volumes/workspace.tf.files", "", 200, map[string]string{"volume_type": "MANAGED", "storage_location": "*"}},
		{"GET", "/api/2.1/unity-catalog/permissions/schema/workspace.tf", "", 200, nil},
		{"PATCH", "/api/2.1/unity-catalog/permissions/schema/workspace.tf", `{"changes":[{"add":["USE_SCHEMA"],"principal":"users"}]}`, 200, nil},
		{"GET", "/api/2.1/unity-catalog/permissions/schema/workspace.tf", "", 200, map[string]string{"privilege_assignments.0.principal": "users", "privilege_assignments.0.privileges.0": "USE_SCHEMA"}},

		{"DELETE", "/api/2.1/unity-catalog/volumes/workspace.tf.files", "", 200, nil},
		{"DELETE", "/api/2.1/unity-catalog/schemas/workspace.tf", "", 200, nil},
		{"GET", "/api/2.1/unity-catalog/schemas/workspace.tf", "", 404, map[string]string{"error_code": "SCHEMA_DOES_NOT_EXIST"}},
		{"POST", "/api/2.0/workspace/delete", `{"path":"/Shared/tf/nb"}`, 200, nil},
		{"POST", "/api/2.0/workspace/delete", `{"path":"/Shared/tf","recursive":true}`, 200, nil},
		{"GET", "/api/2.0/workspace/get-status?path=%2FShared%2Ftf", "", 404, map[string]string{"error_code": "RESOURCE_DOES_NOT_EXIST"}},
		{"POST", "/api/2.0/secrets/acls/delete", `{"scope":"terraform","principal":"users"}`, 200, nil},
		{"POST", "/api/2.0/secrets/delete", `{"scope":"terraform","key":"k"}`, 200, nil},
		{"POST", "/api/2.0/secrets/scopes/delete", `{"scope":"terraform"}`, 200, nil},
	} {
		fill := func(v string) string {
			for name, value := range values {
				v = strings.ReplaceAll(v, "$"+name, value)
			}
			return v
		}
		status, header, body := request(t, s, c.method, fill(c.path), fill(c.body))
		if status != c.status || header.Get("X-Databricks-Org-Id") != "1" {
			t.Errorf("%s %s: %d, X-Databricks-Org-Id %q: %s", c.method, c.path, status, header.Get("X-Databricks-Org-Id"), body)
			continue
		}
		for path, want := range c.want {
			got := field(body, path)
			if want == "*" && got != "" {
				values[path[strings.LastIndex(path, ".")+1:]] = got
			} else if got != fill(want) {
				t.Errorf("%s %s: %s is %q, want %q in %s", c.method, c.path, path, got, fill(want), body)
			}
		}
	}
}

func request(t *testing.T, s *servertest.Server, method, path, body string) (int, http.Header, []byte) {
	t.Helper()
	req := must(http.NewRequest(method, s.URL+path, strings.NewReader(body)))(t)
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("User-Agent", "databricks-tf-provider/1.128.0 databricks-sdk-go/0.175.0")
	res := must(http.DefaultClient.Do(req))(t)
	defer res.Body.Close()
	return res.StatusCode, res.Header, must(io.ReadAll(res.Body))(t)
}

// field returns what is at a dotted path in a JSON document, "" if nothing.
func field(body []byte, path string) string {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.UseNumber()
	var at any
	if dec.Decode(&at) != nil {
		return ""
	}
	for part := range strings.SplitSeq(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(v) {
				return ""
			}
			at = v[i]
		default:
			return ""
		}
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}
