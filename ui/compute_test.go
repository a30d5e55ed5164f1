//go:build linux

package ui_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
)

// signIn gives a site of a running server the session of a browser.
func signIn(t *testing.T, srv *servertest.Server) *site {
	t.Helper()
	w := &site{T: t, Server: srv, http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	w.http.Transport = cookies{w.login(url.Values{"token": {srv.Token}, "next": {"/"}}).Cookies()}
	return w
}

// press sends the form of a button and returns the status.
func (w *site) press(path string) int {
	w.Helper()
	res := w.send("POST", path, nil)
	if to := res.Header.Get("Location"); res.StatusCode == http.StatusSeeOther && !strings.HasPrefix(path, to) {
		w.Errorf("%s leads to %q", path, to)
	}
	return res.StatusCode
}

func TestComputePages(t *testing.T) {
	environment.ForTest(t)
	w := signIn(t, servertest.Start(t, nil))
	w.page("/compute", "No clusters", "data-live")
	var made struct {
		ID string `json:"cluster_id"`
	}
	w.call("POST", "/api/2.1/clusters/create", m{
		"cluster_name": "river <b>", "spark_version": "16.4.x-scala2.13", "node_type_id": "Standard_DS3_v2", "num_workers": 4, "autotermination_minutes": 20,
		"init_scripts": []m{{"workspace": m{"destination": "/x.sh"}}},
	}, &made)
	page := "/compute/" + made.ID
	w.page("/compute", page, "river &lt;b&gt;", "Standard_DS3_v2", "<td>4</td>")
	w.page(page, "num_workers 4 accepted, run as local[", "init_scripts are stored and not run", "after 20 minutes", "CREATING", "user: admin@localhost", "num_workers: 4", page+"/terminate")
	if status := w.press(page + "/terminate"); status != http.StatusSeeOther {
		t.Errorf("terminate: %d", status)
	}
	if body := w.page(page, "Terminated by admin@localhost", page+"/start", "code: USER_REQUEST"); strings.Contains(body, page+"/terminate") {
		t.Error("it can be terminated again")
	}
	if status := w.press(page + "/restart"); status != http.StatusBadRequest {
		t.Errorf("restart of what does not run: %d", status)
	}
	if status := w.press(page + "/start"); status != http.StatusSeeOther {
		t.Errorf("start: %d", status)
	}
	w.page(page, "STARTING")

	w.jobCluster()
	w.page("/compute", "Of runs of jobs", "/compute/of-a-run")
	if body := w.page("/compute/of-a-run", "Terminated", `href="/jobs/0/runs/77"`, "with its run"); strings.Contains(body, "/start") {
		t.Error("the cluster of a run has a button to start it")
	}
	for path, want := range map[string]int{"/compute/of-a-run/start": http.StatusBadRequest, "/compute/none/start": http.StatusNotFound, "/compute/none/terminate": http.StatusNotFound} {
		if status := w.press(path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	if res := w.send("GET", "/compute/none", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("a cluster that is not there: %s", res.Status)
	}
	w.foreign(page + "/terminate")
}

// jobCluster stores what a run of a job left behind.
func (w *site) jobCluster() {
	w.Helper()
	db, err := store.Open(w.Context(), "sqlite://"+w.State.Path("wherry.db"))
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	_, err = compute.New(db).Create(w.Context(), wherry.Cluster{
		ID: "of-a-run", WorkspaceID: wherry.DefaultWorkspace, Name: "job-cluster", Source: wherry.ClusterSourceJob, Owner: wherry.Principal{ID: 1}, JobRunID: 77, Key: "k",
		State: wherry.ClusterTerminated, Spec: []byte(`{"spark_version": "16.4.x-scala2.13"}`),
	})
	if err != nil {
		w.Fatal(err)
	}
}

// foreign sends a form that another site's page would send.
func (w *site) foreign(path string) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), "POST", w.URL+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Origin", "http://evil.example")
	res, err := w.http.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusForbidden {
		w.Errorf("%s from elsewhere: %s %s", path, res.Status, body)
	}
}
