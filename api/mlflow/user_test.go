package mlflow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// TestRunUser: a run is its starter's where the client names nobody, and always
// within a task, whose process runs as root.
func TestRunUser(t *testing.T) {
	c := newClient(t)
	db, err := store.Open(t.Context(), "sqlite://"+c.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var task string
	err = db.Write(t.Context(), func(tx *store.Tx) (err error) {
		_, task, err = auth.IssueToken(tx, wherry.DefaultWorkspace, 1, 4711, "a task's", time.Hour)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const admin = "admin@localhost"
	for name, run := range map[string]struct {
		token, id, tag   string
		wantID, wantUser string
	}{
		"nobody":            {c.Token, "", "", admin, admin},
		"user_id":           {c.Token, "bob", "", "bob", "bob"},
		"tag":               {c.Token, "", "bob", "bob", "bob"},
		"both":              {c.Token, "bob", "carl", "bob", "carl"},
		"nobody in a task":  {task, "", "", admin, admin},
		"process of a task": {task, "root", "root", admin, admin},
	} {
		body := m{"experiment_id": "0", "user_id": run.id, "tags": []m{{"key": "team", "value": "blue"}}}
		if run.tag != "" {
			body["tags"] = []m{{"key": "mlflow.user", "value": run.tag}, {"key": "team", "value": "blue"}}
		}
		c.Token = run.token
		id := c.must("POST", api2+"runs/create", body, "run", "info", "run_id")
		if got := c.must("GET", api2+"runs/get?run_id="+id, nil, "run", "info", "user_id"); got != run.wantID {
			t.Errorf("%s: user_id %s, want %s", name, got, run.wantID)
		}
		filter := fmt.Sprintf("tags.`mlflow.user` = '%s' AND tags.team = 'blue' AND attributes.run_id = '%s'", run.wantUser, id)
		if got := c.must("POST", api2+"runs/search", m{"experiment_ids": []string{"0"}, "filter": filter}, "runs"); got == "<nil>" {
			t.Errorf("%s: no run with %s", name, filter)
		}
	}
}
