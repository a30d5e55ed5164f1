package deployments

import (
	"encoding/json"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, tt := range []struct{ name, want, live, last, fields string }{
		{"the server's own fields", `{"a":1}`, `{"a":1,"created":5,"format":"X"}`, `{"a":1}`, `null`},
		{"a changed field", `{"a":{"b":2}}`, `{"a":{"b":1,"c":3}}`, `{}`, `[{"path":"a.b","before":1,"after":2}]`},
		{"a field taken out", `{}`, `{"a":1}`, `{"a":1}`, `[{"path":"a","before":1,"after":null}]`},
		{"an id as text", `{"job_id":"12"}`, `{"job_id":12}`, `{}`, `null`},
		{"empty is missing", `{"tags":{},"on":false,"x":""}`, `{}`, `{}`, `null`},
		{"tasks by key, in any order", `{"tasks":[{"task_key":"b"},{"task_key":"a","x":1}]}`, `{"tasks":[{"task_key":"a","x":1,"run_if":"ALL_SUCCESS"},{"task_key":"b"}]}`, `{}`, `null`},
		{"tasks come and go", `{"tasks":[{"task_key":"b"}]}`, `{"tasks":[{"task_key":"a"}]}`, `{}`, `[{"path":"tasks[b]","before":null,"after":{"task_key":"b"}},{"path":"tasks[a]","before":{"task_key":"a"},"after":null}]`},
		{"plain lists as a whole", `{"l":["a","b"]}`, `{"l":["a"]}`, `{}`, `[{"path":"l","before":["a"],"after":["a","b"]}]`},
		{"items of plain lists", `{"l":[{"whl":"b"}]}`, `{"l":[{"whl":"a","status":"x"}]}`, `{}`, `[{"path":"l[0].whl","before":"a","after":"b"}]`},
		{"tags that the server adds", `{"tags":[{"key":"a","value":"1"}]}`, `{"tags":[{"key":"a","value":"1"},{"key":"mlflow.x","value":"2"}]}`, `{}`, `null`},
	} {
		parse := func(s string) (v any) {
			if err := json.Unmarshal([]byte(s), &v); err != nil {
				t.Fatal(tt.name, err)
			}
			return v
		}
		got, err := json.Marshal(diff("", parse(tt.want), parse(tt.live), parse(tt.last)))
		if err != nil || string(got) != tt.fields {
			t.Errorf("%s:\n got %s %v\nwant %s", tt.name, got, err, tt.fields)
		}
	}
}
