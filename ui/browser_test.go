package ui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

// window is a headless Chromium; all that goes wrong in its pages is kept.
type window struct {
	*testing.T
	ctx    context.Context
	axe    string // axe-core's source, "" without it
	width  int64  // what it is as wide as, when fits has looked at it
	mu     sync.Mutex
	errors []string
}

func chromium(t *testing.T) *window {
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is not installed (apt-get install chromium)")
		}
		t.Skip("chromium is not installed (apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	w := &window{T: t, width: 1280}
	source, err := axe(t)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Logf("accessibility is not checked: %v", err)
	}
	w.axe = string(source)
	w.ctx, stop = chromedp.NewContext(allocator, chromedp.WithListener(w.listen))
	t.Cleanup(func() { _ = chromedp.Cancel(w.ctx); stop() })
	if _, err := chromedp.Run(w.ctx, chromedp.EmulateViewport(1280, 900)); err != nil { // the browser lives as long as the context it is started with
		t.Fatalf("start chromium: %v", err)
	}
	return w
}

func (w *window) listen(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		w.errors = append(w.errors, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Source == "security" {
			w.errors = append(w.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

func do[T any](w *window, action chromedp.Action[T]) (out T) {
	w.Helper()
	ctx, cancel := w.bounded()
	defer cancel()
	out, err := chromedp.Run(ctx, action)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *window) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.ctx, 2*time.Minute)
}

func (w *window) size(width, height int64) { do(w, chromedp.EmulateViewport(width, height)) }

func (w *window) eval(js string) { do(w, chromedp.Evaluate[chromedp.Void](js)) }

// until waits for a condition in the page.
func (w *window) until(js string) {
	w.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-tick.C {
		ok, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("!!document.body && !!("+js+")")) // fails while a page is left
		if err == nil && ok {
			return
		}
	}
	w.Fatalf("%s does not become true; the page shows:\n%s", js, do(w, chromedp.Evaluate[string]("location + '\\n' + document.body.innerText")))
}

// shows waits until the page shows all of the texts.
func (w *window) shows(texts ...string) {
	w.Helper()
	b, err := json.Marshal(texts)
	if err != nil {
		w.Fatal(err)
	}
	w.until(string(b) + ".every(t => document.body.innerText.includes(t))")
}

// follow clicks the first link or button with that text and waits for its page.
func (w *window) follow(text string) {
	w.Helper()
	w.eval(`document.body.dataset.left = "1"`)
	w.eval(fmt.Sprintf(`[...document.querySelectorAll("main a, main button, nav a")].find(e => e.textContent.trim() === %q).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`, text))
	w.until(`document.readyState === "complete" && !document.body.dataset.left`)
}

// fits checks that nothing makes the page scroll sideways and that axe-core
// finds nothing serious, at both widths, and takes pictures if they are wanted.
func (w *window) fits(name string) {
	w.Helper()
	dir := os.Getenv("WHERRY_SCREENSHOTS")
	for _, width := range []int64{360, 1280} {
		w.size(width, 900)
		if over := do(w, chromedp.Evaluate[int64]("document.documentElement.scrollWidth - innerWidth")); over > 0 {
			widest := do(w, chromedp.Evaluate[string](`[...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.parentElement.closest(".scroll, pre")).map(e => e.outerHTML.slice(0, 120)).join("\n")`))
			w.Errorf("%s is %d pixels too wide at %d:\n%s", name, over, width, widest)
		}
		w.accessible(fmt.Sprintf("%s at %d", name, width))
		if dir == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, width)), do(w, chromedp.FullScreenshot(100)), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	w.size(w.width, 900)
}

const explore = `# Databricks notebook source
# MAGIC %md
# MAGIC ## Delays by *carrier*
# MAGIC What the data looks like before training.

# COMMAND ----------

import os, time
from IPython.display import HTML, display

while not os.path.exists("/Workspace/go"):
    time.sleep(0.02)
print("\033[32mready\033[0m: the file is there")

# COMMAND ----------

import pandas as pd

pd.DataFrame({"carrier": ["UA", "B6", "EV"], "flights": [58665, 54635, 54173], "late": [0.21, 0.24, 0.32]})

# COMMAND ----------

display(HTML("<div id='x'>no script</div><script>document.getElementById('x').textContent = 'a script drew this'</script>"))
dbutils.notebook.exit("three carriers")
`

const broken = `# Databricks notebook source
limit = 0

# COMMAND ----------

def rate(late, flights):
    return late / flights

print("about to divide")
rate(12, limit)

# COMMAND ----------

print("never")
`

// put writes a file of the workspace.
func put(t *testing.T, s *servertest.Server, name, text string) {
	t.Helper()
	name = filepath.Join(s.State.Workspace(1), name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pipeline() []m {
	after := func(keys ...string) (list []m) {
		for _, k := range keys {
			list = append(list, m{"task_key": k})
		}
		return list
	}
	script := m{"python_file": "/Workspace/Shared/say.py", "parameters": []string{"--day", "{{job.parameters.day}}"}}
	condition := func(right string) m {
		return m{"op": "GREATER_THAN", "left": "{{job.parameters.rows}}", "right": right}
	}
	return []m{
		{"task_key": "enough_rows", "condition_task": condition("1000")},
		{"task_key": "explore", "notebook_task": m{"notebook_path": "/Shared/explore"}, "depends_on": []m{{"task_key": "enough_rows", "outcome": "true"}}},
		{"task_key": "complain", "spark_python_task": script, "depends_on": []m{{"task_key": "enough_rows", "outcome": "false"}}},
		{"task_key": "score", "spark_python_task": script, "depends_on": after("explore")},
		{"task_key": "report_by_carrier_and_month", "spark_python_task": script, "depends_on": after("explore")},
		{"task_key": "publish", "spark_python_task": script, "depends_on": after("score", "report_by_carrier_and_month")},
	}
}

// TestBrowser goes through the pages as a person does: sign in, start a job,
// watch it end, look at its notebook, its failure and its trace.
func TestBrowser(t *testing.T) {
	environment.ForTest(t)
	w := chromium(t)
	srv := servertest.Start(t, nil)
	put(t, srv, "Shared/explore.py", explore)
	put(t, srv, "Shared/broken.py", broken)
	put(t, srv, "Shared/say.py", "import sys\nprint('\\033[36msay\\033[0m', *sys.argv[1:])\n")
	s := &site{T: t, Server: srv}
	s.create(m{"name": "carriers", "tasks": pipeline(), "tags": m{"team": "river"}, "parameters": []m{{"name": "day", "default": "monday"}, {"name": "rows", "default": "5000"}}})
	s.create(m{"name": "divides", "tasks": []m{{"task_key": "broken", "notebook_task": m{"notebook_path": "/Shared/broken"}}}})

	do(w, chromedp.Navigate(srv.URL+"/jobs"))
	w.shows("Sign in")
	w.fits("login")
	w.eval(`document.querySelector(".login details").open = true`)
	w.eval(fmt.Sprintf(`document.getElementById("token").value = %q`, srv.Token))
	w.follow("Use the token")
	w.shows("carriers", "divides", "Run now")
	w.follow("carriers")
	w.shows("It has not run yet")
	w.follow("Run now")
	w.eval(`window.same = true`)
	w.shows("Running", "run 1")
	w.until(`document.querySelector("#run-dag .node.s-running")`)
	w.fits("run-live")
	put(t, srv, "go", "")
	w.until(`document.body.dataset.ended && window.same`) // it was not loaded again
	w.shows("Succeeded", "Excluded", "Where the time went")
	w.fits("run")
	w.follow("explore")
	w.shows("Delays by carrier", "ready", "58665", "three carriers")
	w.until(`document.querySelector("iframe.nb-frame").style.height`)                                                                                                             // its script ran, and told its height
	w.until(`(() => { const f = document.querySelector("iframe.nb-frame"), h = f.dataset.h; f.dataset.h = f.style.height; return h === f.style.height && parseInt(h) < 100 })()`) // and stays so
	w.fits("task")
	w.follow("what it came of")
	w.shows("job run", "carriers")
	w.fits("trace")

	do(w, chromedp.Navigate(srv.URL+"/jobs"))
	w.follow("divides")
	w.follow("Run now")
	w.until(`document.body.dataset.ended`)
	w.shows("ZeroDivisionError", "about to divide", "Failed")
	w.fits("failed")
	w.follow("divides")
	w.shows("Tasks and runs")
	w.fits("job")
	do(w, chromedp.Navigate(srv.URL+"/jobs"))
	w.shows("Run now")
	w.fits("jobs")
	do(w, chromedp.Navigate(srv.URL+"/"))
	w.shows("Last failures")
	w.fits("home")
	w.night()
	do(w, chromedp.Navigate(srv.URL+"/jobs/1/runs/1"))
	w.shows("Succeeded")
	w.fits("dark")
	w.clean()
}
