//go:build linux

package ui_test

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/server/servertest"
)

const (
	// checked has jobs that need others, groups and warnings in its output, and
	// tests of which one fails; the last job waits for prod.
	checked = `name: ci-build-test
on: [push, pull_request]
jobs:
  lint:
    runs-on: ubuntu-latest
    steps:
      - name: Check the format
        run: |
          echo "::group::What black says"
          echo "would reformat <nothing>"
          echo "::endgroup::"
          echo "::warning file=a.py::a line is long"
          echo "All done!"
          printf '| file | lines |\n|---|---|\n| a.py | **one** |\n\n<b onclick="alert(1)">bold</b>\n' >> "$GITHUB_STEP_SUMMARY"
  test:
    needs: lint
    runs-on: ubuntu-latest
    steps:
      - name: Run the tests
        run: |
          printf '\033[32m41 passed\033[0m, 1 failed\n'
          printf '<testsuite name="unit" tests="42" failures="1" skipped="2" time="3.5"><testcase classname="tests.test_otter" name="test_counts"><failure message="no"/></testcase></testsuite>' > junit.xml
      - {uses: actions/upload-artifact@v4, with: {name: results, path: junit.xml}}
      - name: No test may fail
        run: |
          echo "Error: tests.test_otter::test_counts failed"
          exit 1
  docs: {needs: lint, runs-on: ubuntu-latest, steps: [{name: Build the pages, run: echo built}]}
  publish: {needs: [test, docs], runs-on: ubuntu-latest, steps: [{run: "true"}]}
`
	released = `name: cd-deploy
on: {push: {branches: [main]}}
jobs:
  deploy: {runs-on: ubuntu-latest, environment: prod, steps: [{run: "true"}]}
`
	otters = `bundle: {name: otters}
targets:
  prod: {}
resources:
  jobs:
    nightly:
      name: otters nightly
      # One at a time: they share the river.
      max_concurrent_runs: 1
      tasks: [{task_key: count, spark_python_task: {python_file: a.py}}]
`
)

// delivery is a browser at a server to which a project was pushed and deployed.
type delivery struct {
	*window
	*site
	project *project
	nightly int64 // the deployed job
}

// TestBrowserDelivery goes from a pushed commit to what is deployed, as a person
// does: its checks, the approval, the environment, the drift and the trace.
func TestBrowserDelivery(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	w := chromium(t)
	srv := servertest.Start(t, nil)
	d := &delivery{window: w, site: &site{T: t, Server: srv}}
	do(w, chromedp.Navigate(srv.URL+"/login?next=/repos"))
	w.eval(`document.querySelector(".login details").open = true`)
	w.eval(fmt.Sprintf(`document.getElementById("token").value = %q`, srv.Token))
	w.follow("Use the token")
	w.shows("No repositories yet", "wherry repo create")
	w.fits("repos-empty")
	w.follow("Environments")
	w.shows("No environments yet", "wherry env set prod")
	w.fits("environments-empty")
	w.follow("Drift")
	w.shows("Nothing is deployed", "wherry bundle deploy -t prod")
	w.fits("drift-empty")

	d.prepare()
	d.commits()
	d.run()
	d.place()
	d.drift()
	d.walk()
	d.dark()
	w.clean()
}

// prepare pushes a project with a change that waits in a pull request, and
// deploys its bundle.
func (d *delivery) prepare() {
	d.window.Helper()
	d.call("PUT", "/api/wherry/environments/staging", m{"name": "staging"}, nil)
	d.call("PUT", "/api/wherry/environments/prod", m{"name": "prod", "reviewers": []string{"admins"}, "verify_job": "nightly", "gate": true, "branches": []string{"main", "release/*"}}, nil)
	d.call("POST", "/api/wherry/repos", m{"name": "otters"}, nil)
	d.project = newProject(d.window.T, d.Server, "otters")
	d.project.commit("Count <otters> at night", map[string]string{
		"databricks.yml": otters, "a.py": "print(1)\n", ".github/workflows/ci.yml": checked, ".github/workflows/cd.yml": released,
	})
	d.project.git("push", "-q", "origin", "main")
	d.project.git("tag", "v1.0.0")
	d.project.git("push", "-q", "origin", "v1.0.0")
	d.project.git("checkout", "-q", "-b", "faster")
	d.project.commit("Count faster", map[string]string{"a.py": "print(2)\n"})
	d.project.git("push", "-q", "origin", "faster")
	d.call("POST", "/api/wherry/repos/otters/pulls", m{"title": "Count faster", "base": "main", "head": "faster"}, nil)
	d.project.git("checkout", "-q", "main")
	d.call("PUT", "/api/wherry/repos/otters/protections", m{"pattern": "main", "checks": []string{"ci-build-test"}}, nil)

	b, err := bundle.Load(d.project.Context(), bundle.Options{Dir: d.project.dir, Target: "prod"})
	if err != nil {
		d.window.Fatal(err)
	}
	report, err := deploy.Deploy(d.project.Context(), client.New(d.URL, d.Token), b, deploy.Options{})
	if err != nil {
		d.window.Fatal(err)
	}
	for _, r := range report.Resources {
		if r.Key == "jobs.nightly" {
			d.nightly, err = strconv.ParseInt(r.ID, 10, 64)
		}
	}
	if err != nil || d.nightly == 0 {
		d.window.Fatalf("the job was not deployed: %v %+v", err, report)
	}
}

// at opens a page.
func (d *delivery) at(path string) {
	d.window.Helper()
	do(d.window, chromedp.Navigate(d.URL+path))
}

// again opens a page until it says something.
func (d *delivery) again(path, text string) {
	d.window.Helper()
	d.at(path)
	d.until(fmt.Sprintf(`document.body.innerText.includes(%q) || (document.readyState === "complete" && location.reload(), false)`, text))
}

// choose follows the first link in the page whose text begins so.
func (d *delivery) choose(text string) {
	d.window.Helper()
	d.eval(`document.body.dataset.left = "1"`)
	d.eval(fmt.Sprintf(`[...document.querySelectorAll("main a")].find(a => a.textContent.trim().startsWith(%q)).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`, text))
	d.until(`document.readyState === "complete" && !document.body.dataset.left`)
}

// commits looks at the repository, and at a commit with its checks.
func (d *delivery) commits() {
	d.again("/repos", "Failed")
	d.shows("otters", "main", "1 open")
	d.fits("repos")
	d.window.follow("otters")
	d.shows("Count <otters> at night", "Ada", "ci-build-test", "cd-deploy", "protected", "v1.0.0", "Count faster", "Open", "faster → main")
	d.fits("repo")
	d.choose(d.project.git("rev-parse", "--short=8", "HEAD"))
	d.shows("Count <otters> at night", "ci-build-test", "Failed", "Pending", "Runs of workflows")
	d.fits("commit")
}

// run looks at a run with its jobs, groups and tests.
func (d *delivery) run() {
	d.choose("ci-build-test")
	d.until(`document.body.dataset.ended || !document.body.dataset.live`)
	d.shows("No test may fail", "publish", "Skipped", "tests.test_otter::test_counts failed", "42", "Whole log")
	d.until(`document.querySelectorAll("svg.dag .node").length === 4`)
	d.eval(`[...document.querySelectorAll(".steps summary")].find(s => s.textContent.includes("Check the format")).click()`)
	d.shows("What black says", "a line is long", "All done!")
	if do(d.window, chromedp.Evaluate[bool](`document.body.innerText.includes("would reformat")`)) {
		d.window.Error("a group is open")
	}
	if !do(d.window, chromedp.Evaluate[bool](`document.querySelector(".nb-md td strong").textContent === "one" && !document.querySelector("[onclick]")`)) {
		d.window.Error("the summary is not what Markdown says")
	}
	d.fits("workflow-run")
	d.at("/workflows")
	d.shows("ci-build-test", "cd-deploy", "Waiting")
	d.fits("workflow-list")
}

// place approves what waits for prod, from the page of the environment.
func (d *delivery) place() {
	d.at("/environments")
	d.shows("staging", "nothing is deployed", "prod", "otters 1", "admins", "Not proved yet", "1 to approve")
	d.fits("environments")
	d.window.follow("prod")
	d.shows("waits for an approval", "otters", "version 1", "admin@localhost", "on: what is not proved is rolled back", "live")
	d.fits("environment")
	d.eval(`document.querySelector("[data-reason]").value = "the tests are green"`)
	d.window.follow("Approve")
	d.shows("Approved", "the tests are green")
	d.until(`document.body.dataset.ended || !document.body.dataset.live`)
	d.shows("Succeeded")
	d.again("/environments/prod", "the tests are green")
	d.fits("environment-approved")
	d.at("/")
	d.shows("Environments", "otters 1")
	d.fits("home-environments")
}

// drift changes a job by hand twice: one change is reverted, one adopted.
func (d *delivery) drift() {
	change := func(settings m) {
		d.call("POST", "/api/2.2/jobs/update", m{"job_id": d.nightly, "new_settings": settings}, nil)
	}
	change(m{"max_concurrent_runs": 5, "timeout_seconds": 60})
	d.again("/drift", "max_concurrent_runs")
	d.shows("jobs.nightly", "changed by admin@localhost", "Drifted", "Not run yet", "timeout_seconds")
	d.fits("drift")
	d.window.follow("Revert")
	d.shows("Nothing differs", "In sync", "reverted")
	d.fits("drift-settled")
	change(m{"max_concurrent_runs": 3})
	d.again("/drift", "max_concurrent_runs")
	d.window.follow("Adopt …")
	d.shows("-      max_concurrent_runs: 1", "+      max_concurrent_runs: 3", "One at a time", "git apply")
	d.fits("drift-adopt")
	d.eval(`document.querySelector("input[name=note]").value = "databricks.yml"`)
	d.window.follow("Mark as adopted")
	d.shows("adopted: waits for the next deploy")
	d.window.follow("Compare everything now")
	d.shows("adopted: waits for the next deploy", "databricks.yml")
	d.fits("drift-adopted")
}

// walk goes through the graph from the commit to the deployment.
func (d *delivery) walk() {
	d.at("/environments/prod")
	d.window.follow("where it came from")
	d.shows("Around it", "deployment", "commit")
	d.until(`document.querySelector("svg.trace a[aria-current]").textContent.includes("deployment")`)
	d.fits("trace-deployment")
	d.eval(`document.body.dataset.left = "1"`)
	d.eval(`[...document.querySelectorAll("svg.trace a")].find(a => a.textContent.trim().startsWith("commit")).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`)
	d.until(`document.readyState === "complete" && !document.body.dataset.left && document.querySelector("svg.trace a[aria-current]").textContent.includes("commit")`)
	d.shows("ci-build-test", "push", "tests")
	d.fits("trace-commit")
	d.eval(`document.body.dataset.left = "1"`)
	d.eval(`[...document.querySelectorAll("svg.trace a")].find(a => a.querySelector("title").textContent.startsWith("workflow job deploy")).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`)
	d.until(`document.readyState === "complete" && !document.body.dataset.left && document.querySelector("svg.trace a[aria-current]").textContent.includes("deploy")`)
	d.shows("approval", "approved by admin@localhost")
	d.fits("trace-job")
}

// dark looks at the pages by night.
func (d *delivery) dark() {
	d.night()
	sha := d.project.git("rev-parse", "HEAD")
	for name, path := range map[string]string{
		"dark-repo": "/repos/otters", "dark-environment": "/environments/prod", "dark-drift": "/drift", "dark-run": "/workflows/runs/1", "dark-trace": "/trace?kind=commit&id=" + sha,
	} {
		d.at(path)
		d.until(`document.readyState === "complete"`)
		d.fits(name)
	}
}

// Those who may not read through the API see none of it on pages, and nobody
// changes anything from another site.
func TestDeliveryWhoMaySee(t *testing.T) {
	w := open(t)
	w.call("POST", "/api/wherry/repos", m{"name": "otters"}, nil)
	w.call("PUT", "/api/wherry/environments/prod", m{"name": "prod"}, nil)
	posts := []string{"/drift/compare", "/drift/1/revert", "/drift/1/adopt", "/workflows/runs/1/cancel", "/workflows/runs/1/rerun"}
	for _, origin := range []string{"", "http://evil.example", "null"} {
		for _, path := range append(posts, "/workflows/runs/1/review") {
			r, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			res, err := w.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %q: %s", path, origin, res.Status)
			}
		}
	}
	w.page("/repos/otters", "It is empty")
	w.page("/environments/prod", "Nothing:")
	for _, path := range []string{"/repos/beavers", "/repos/otters?ref=none", "/repos/otters/commits/--output=x", "/environments/none", "/drift/7", "/workflows/runs/7"} {
		if res := w.send("GET", path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}

	w.call("POST", "/api/2.0/preview/scim/v2/Users", m{"userName": "ann@example.com"}, nil)
	w.call("POST", "/api/wherry/users/password", m{"user_name": "ann@example.com", "password": "correct horse"}, nil)
	w.http.Transport = cookies{w.login(map[string][]string{"user": {"ann@example.com"}, "password": {"correct horse"}}).Cookies()}
	for _, path := range []string{"/repos", "/repos/otters", "/environments", "/environments/prod", "/drift", "/trace"} {
		if res := w.send("GET", path, nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s for a non-admin: %s", path, res.Status)
		}
	}
	for _, path := range posts {
		if res := w.send("POST", path, nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s for a non-admin: %s", path, res.Status)
		}
	}
	w.navigation()
	body, err := io.ReadAll(w.send("GET", "/", nil).Body)
	if err != nil || strings.Contains(string(body), "/environments/prod") {
		t.Errorf("a non-admin's home page has environments: %v", err)
	}
}

// navigation follows the links at the top of the caller's home page: each is
// answered, and what is not there would be refused.
func (w *site) navigation() {
	w.Helper()
	home := w.page("/", `aria-label="Main"`)
	start := strings.Index(home, "<header")
	top := home[start : start+strings.Index(home[start:], "</header>")]
	for _, path := range []string{"/jobs", "/runs", "/repos", "/workflows", "/environments", "/drift", "/models", "/catalog", "/compute", "/workspace/", "/trace", "/mlflow/", "/search"} {
		linked := strings.Contains(top, `"`+path+`"`)
		if status := w.send("GET", path, nil).StatusCode; linked != (status != http.StatusForbidden && status != http.StatusNotFound) {
			w.Errorf("%s is linked: %v, and answers %d", path, linked, status)
		}
	}
}

// The pages of a large repository and of its environments are small and quick.
func TestDeliveryPagesAreSmall(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	w := open(t)
	w.call("POST", "/api/wherry/repos", m{"name": "otters"}, nil)
	p := newProject(t, w.Server, "otters")
	for i := range 40 {
		p.commit(fmt.Sprintf("Change %d: %s", i, strings.Repeat("otters ", 40)), map[string]string{"a.py": strconv.Itoa(i)})
		p.git("branch", fmt.Sprintf("topic/%d", i))
		p.git("tag", fmt.Sprintf("v%d", i))
	}
	p.git("push", "-q", "origin", "--all")
	p.git("push", "-q", "origin", "--tags")
	for sha := range strings.Lines(p.git("rev-list", "main")) {
		for _, check := range []string{"ci-build-test", "cd-deploy-infra", "cd-deploy-databricks"} {
			w.call("POST", "/api/wherry/repos/otters/commits/"+strings.TrimSpace(sha)+"/statuses", m{"context": check, "state": "success", "path": "javascript:alert(1)"}, nil)
		}
	}
	for i := range 20 {
		w.call("PUT", fmt.Sprintf("/api/wherry/environments/e%d", i), m{"name": fmt.Sprintf("e%d", i), "reviewers": []string{"admins"}}, nil)
	}
	run := w.manyVersions(300)
	w.page("/trace?kind=mlflow_run&direction=forward&id="+run, "There is more", "Only the nearest are here")
	w.page("/repos/otters", "Older commits", "topic/12", "more branches and tags")
	w.page("/repos/otters?ref=main&skip=30", "Change 9:")
	for _, path := range []string{"/repos", "/repos/otters", "/repos/otters/commits/main", "/environments", "/environments/e1", "/drift", "/", "/trace?kind=mlflow_run&direction=forward&id=" + run} {
		best := time.Hour
		for range 10 {
			start := time.Now()
			body := w.page(path)
			best = min(best, time.Since(start))
			if len(body) > 150_000 || strings.Contains(body, "javascript:") {
				t.Fatalf("%s has %d bytes, or a link that acts", path, len(body))
			}
		}
		t.Logf("%s: %v", path, best)
		if best > 50*time.Millisecond {
			t.Errorf("%s takes %v", path, best)
		}
	}
}

// manyVersions registers a model n times from one run, whose id it returns.
func (w *site) manyVersions(n int) string {
	w.Helper()
	const api = "/api/2.0/mlflow/"
	var e struct {
		ID string `json:"experiment_id"`
	}
	w.call("POST", api+"experiments/create", m{"name": "/Shared/e"}, &e)
	var run struct {
		Run struct {
			Info struct {
				ID string `json:"run_id"`
			}
		}
	}
	w.call("POST", api+"runs/create", m{"experiment_id": e.ID}, &run)
	w.call("POST", api+"registered-models/create", m{"name": "otters"}, nil)
	for range n {
		w.call("POST", api+"model-versions/create", m{"name": "otters", "source": "mlflow-artifacts:/x", "run_id": run.Run.Info.ID}, nil)
	}
	return run.Run.Info.ID
}
