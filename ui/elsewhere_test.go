package ui_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/store"
)

// TestPagesOfAnotherWorkspace: jobs and runs of a workspace that was made are on
// the pages, which name it; for its own API they stay its own.
func TestPagesOfAnotherWorkspace(t *testing.T) {
	w := open(t)
	db, err := store.Open(t.Context(), "sqlite://"+w.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	err = db.Write(t.Context(), func(tx *store.Tx) (err error) {
		id, err = auth.CreateWorkspace(tx)
		return err
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	first, host := client.New(w.URL, w.Token), auth.WorkspaceHost(id)
	there := first.In(host)
	var job struct {
		ID int64 `json:"job_id"`
	}
	if err := there.Do(t.Context(), "POST", "/api/2.2/jobs/create", m{"name": "far otters", "schedule": m{"quartz_cron_expression": "0 0 1 * * ?", "timezone_id": "UTC"}, "tasks": []m{notebookTask("load"), notebookTask("bad")}}, &job); err != nil {
		t.Fatal(err)
	}
	w.page("/jobs", "far otters", "in "+host)
	w.page("/search?q=otters", "far otters", "in "+host)
	w.page(fmt.Sprintf("/jobs/%d", job.ID), "far otters", "Workspace", host)
	run := w.start(job.ID, url.Values{})
	w.follow(run)
	w.page(run, host)
	number := run[strings.LastIndex(run, "/")+1:]
	if res := w.send("GET", "/jobs/0/runs/"+number, nil); res.Header.Get("Location") != run { // as the trace links it
		t.Errorf("a run's id alone leads to %s %q", res.Status, res.Header.Get("Location"))
	}
	var tasks struct {
		Tasks []struct {
			ID int64 `json:"run_id"`
		} `json:"tasks"`
	}
	if err := there.Do(t.Context(), "GET", "/api/2.2/jobs/runs/get?run_id="+number, nil, &tasks); err != nil || len(tasks.Tasks) != 2 {
		t.Fatal(tasks, err)
	}
	w.page(fmt.Sprintf("%s/tasks/%d", run, tasks.Tasks[0].ID), host)
	home := w.page("/", "Last failures", "Last runs", "far otters", "Next by schedule", "in "+host)
	if n := strings.Count(home, run+`"`); n != 2 {
		t.Errorf("the home page names the run %d times:\n%s", n, home)
	}
	w.page("/runs", "far otters", "in "+host)
	if err := first.Do(t.Context(), "GET", "/api/2.2/jobs/runs/get?run_id="+number, nil, nil); err == nil {
		t.Error("the first workspace's API gives a run of another")
	}

	// Somebody else sees none of it, and at the other workspace nobody the first's.
	own := w.create(m{"name": "near otters", "tasks": []m{notebookTask("load")}})
	res, err := there.Send(t.Context(), "GET", "/jobs", nil, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || strings.Contains(string(b), "near otters") || !strings.Contains(string(b), "far otters") {
		t.Errorf("the jobs of %s: %v\n%s", host, err, b)
	}
	if res, err := there.Send(t.Context(), "GET", fmt.Sprintf("/jobs/%d", own), nil, -1); err == nil {
		t.Errorf("the page of the first workspace's job at %s: %s", host, res.Status)
		_ = res.Body.Close()
	}
	w.call("POST", "/api/2.0/preview/scim/v2/Users", m{"userName": "bob@example.com"}, nil)
	var token struct {
		Value string `json:"token_value"`
	}
	w.call("POST", "/api/wherry/tokens", m{"principal": "bob@example.com"}, &token)
	w.http.Transport = cookies{[]*http.Cookie{{Name: auth.CookieName, Value: token.Value}}}
	if res := w.send("GET", run, nil); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusBadRequest {
		t.Errorf("another's run: %s", res.Status)
	}
	if text := w.page("/runs"); strings.Contains(text, "otters") {
		t.Errorf("another's runs:\n%s", text)
	}
}
