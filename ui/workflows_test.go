//go:build linux

package ui_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/wherry-ml/wherry/server/servertest"
)

// deploys waits for an approval before anything runs; unreadable can not start.
const (
	deploys = `name: release
on: push
jobs:
  deploy: {runs-on: ubuntu-latest, environment: prod, steps: [{run: "true"}]}
  after: {needs: deploy, name: "Tell <everybody>", runs-on: ubuntu-latest, steps: [{run: "true"}]}
`
	unreadable = `name: windows
on: push
jobs:
  a: {runs-on: windows-latest, steps: [{run: "true"}]}
`
)

// TestBrowserWorkflows goes from the list of runs to one that waits, and rejects
// it: the page shows how it ended without being loaded again.
func TestBrowserWorkflows(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	w := chromium(t)
	srv := servertest.Start(t, nil)
	s := &site{T: t, Server: srv}
	do(w, chromedp.Navigate(srv.URL+"/login?next=/workflows"))
	w.eval(`document.querySelector(".login details").open = true`)
	w.eval(fmt.Sprintf(`document.getElementById("token").value = %q`, srv.Token))
	w.follow("Use the token")
	w.shows("No runs yet", "git push origin main")
	w.fits("workflows-empty")

	s.call("PUT", "/api/wherry/environments/prod", m{"name": "prod", "reviewers": []string{"admins"}}, nil)
	s.call("POST", "/api/wherry/repos", m{"name": "app"}, nil)
	pushWorkflows(t, srv)
	do(w, chromedp.Navigate(srv.URL+"/workflows"))
	w.until(`document.body.innerText.includes("release") || (location.reload(), false)`)
	w.shows("release", "windows", "Could not start", "A <release>")
	w.fits("workflows")
	do(w, chromedp.Navigate(srv.URL+"/workflows?repo=app"))
	w.eval(`window.same = true; [...document.querySelectorAll("main a")].find(a => a.textContent.startsWith("windows")).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`)
	w.until(`!window.same && document.readyState === "complete"`)
	w.shows(".github/workflows/windows.yml:4:", `no runner here has the label "windows-latest"`)
	w.fits("workflow-refused")

	do(w, chromedp.Navigate(srv.URL+"/workflows?repo=app"))
	w.eval(`window.same = true; [...document.querySelectorAll("main a")].find(a => a.textContent.startsWith("release")).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`)
	w.until(`!window.same && document.readyState === "complete"`)
	w.shows("Waits for an approval of prod", "Tell <everybody> waits for others")
	w.fits("workflow-waiting")
	w.eval(`document.querySelector("[data-reason]").value = "not on a Friday"`)
	w.follow("Reject")
	w.shows("rejected the deployment to prod: not on a Friday", "Failed", "Run failed jobs again")
	w.fits("workflow-failed")
	w.night()
	w.fits("dark-workflow")
	w.clean()
}

// TestReviewer: a reviewer who is no admin finds on the home page what waits for
// them, reads that run and no other, and approves it there.
func TestReviewer(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	w := enter(t, servertest.Start(t, nil))
	for _, name := range []string{"ann@example.com", "bob@example.com"} {
		w.call("POST", "/api/2.0/preview/scim/v2/Users", m{"userName": name}, nil)
		w.call("POST", "/api/wherry/users/password", m{"user_name": name, "password": "correct horse"}, nil)
	}
	w.call("PUT", "/api/wherry/environments/prod", m{"name": "prod", "reviewers": []string{"ann@example.com"}}, nil)
	w.call("POST", "/api/wherry/repos", m{"name": "app"}, nil)
	pushWorkflows(t, w.Server)
	waiting, other := runsOf(w)
	if to := w.send("GET", "/wherry/app/actions"+strings.TrimPrefix(waiting, "/workflows"), nil).Header.Get("Location"); to != waiting {
		t.Errorf("GitHub's address of the run leads to %q", to)
	}
	w.page(waiting, append([]string{"ann@example.com may approve it"}, adminsOnly...)...) // who is an admin, and no reviewer
	as := func(name string) {
		w.http.Transport = nil
		w.http.Transport = cookies{w.login(url.Values{"user": {name}, "password": {"correct horse"}}).Cookies()}
	}
	as("bob@example.com")
	if body := w.page("/"); strings.Contains(body, waiting) {
		t.Error("what waits for ann is on bob's page")
	}
	for _, path := range []string{waiting, waiting + "/live"} {
		if res := w.send("GET", path, nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("bob reads %s: %s", path, res.Status)
		}
	}
	decision := url.Values{"environment": {"prod"}, "decision": {"approved"}, "reason": {"read"}}
	if res := w.send("POST", waiting+"/review", decision); res.StatusCode != http.StatusForbidden {
		t.Errorf("bob approves: %s", res.Status)
	}
	as("ann@example.com")
	w.page("/", waiting, "waits for an approval of prod", "Approve")
	for path, body := range map[string]string{"/": w.page("/"), waiting: w.page(waiting, "Waits for an approval of", "Approve")} {
		_, body, _ = strings.Cut(body, "<main")
		for _, not := range adminsOnly {
			if strings.Contains(body, not) {
				t.Errorf("ann's page %s has %s", path, not)
			}
		}
	}
	if res := w.send("GET", other, nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("ann reads %s: %s", other, res.Status)
	}
	if res := w.send("POST", waiting+"/cancel", url.Values{}); res.StatusCode != http.StatusForbidden {
		t.Errorf("ann cancels: %s", res.Status)
	}
	if res := w.send("POST", waiting+"/review", decision); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("ann approves: %s", res.Status)
	}
	w.page(waiting, "Approved", "by ann@example.com", "read")
	if body := w.page("/"); strings.Contains(body, waiting) {
		t.Error("what was decided still waits")
	}
}

// runsOf waits for the runs of both workflows: one waits for an approval, the
// other can not start. It returns their pages.
func runsOf(w *site) (waiting, other string) {
	w.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); waiting == "" || other == ""; <-tick.C {
		var list struct {
			Runs []struct {
				ID    int64  `json:"id"`
				Name  string `json:"name"`
				State string `json:"status"`
			} `json:"runs"`
		}
		w.call("GET", "/api/wherry/ci/runs", nil, &list)
		for _, r := range list.Runs {
			switch {
			case r.Name == "release" && r.State == "waiting":
				waiting = fmt.Sprintf("/workflows/runs/%d", r.ID)
			case r.Name == "windows":
				other = fmt.Sprintf("/workflows/runs/%d", r.ID)
			}
		}
		if time.Now().After(deadline) {
			w.Fatalf("nothing waits: %+v", list)
		}
	}
	return waiting, other
}

// adminsOnly is what a run's page has for admins: others would be answered 403.
var adminsOnly = []string{"/cancel", `href="/workflows"`, "/repos/app", "/commits/", "/environments/prod", "/trace?", "what came of it"}

// pushWorkflows pushes one commit with both workflows.
func pushWorkflows(t *testing.T, srv *servertest.Server) {
	t.Helper()
	p := newProject(t, srv, "app")
	p.commit("A <release>", map[string]string{".github/workflows/release.yml": deploys, ".github/workflows/windows.yml": unreadable})
	p.git("push", "-q", "origin", "HEAD:main")
}

// project is a working folder whose origin is a repository of the server.
type project struct {
	*testing.T
	dir string
}

func newProject(t *testing.T, srv *servertest.Server, repo string) *project {
	t.Helper()
	p := &project{t, t.TempDir()}
	p.git("init", "-q", "-b", "main")
	p.git("remote", "add", "origin", strings.Replace(srv.URL, "://", "://git:"+srv.Token+"@", 1)+"/git/"+repo+".git")
	return p
}

// commit writes files and commits all, as Ada.
func (p *project) commit(message string, files map[string]string) {
	p.Helper()
	for name, text := range files {
		name = filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			p.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			p.Fatal(err)
		}
	}
	p.git("add", ".")
	p.git("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-q", "-m", message)
}

func (p *project) git(args ...string) string {
	p.Helper()
	c := exec.CommandContext(p.Context(), "git", args...)
	c.Dir = p.dir
	out, err := c.CombinedOutput()
	if err != nil {
		p.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}
