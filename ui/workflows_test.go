//go:build linux

package ui_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
