//go:build linux

package ui_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

const makeTable = `# Databricks notebook source
spark.sql("CREATE TABLE workspace.default.otters (id BIGINT COMMENT 'of the collar', place STRING) COMMENT 'seen at night'")
spark.sql("INSERT INTO workspace.default.otters VALUES (1, 'bank'), (2, 'weir')")
spark.table("workspace.default.otters").count()
with open("/Volumes/workspace/default/raw/seen.csv", "w") as f:
    f.write("1,bank\n")
`

// press sends keys as a keyboard does: a page may keep one from being written
// where the focus is then.
func (w *window) press(keys ...string) {
	w.Helper()
	w.until(`document.readyState === "complete"`) // the page hears keys then
	ctx, cancel := w.bounded()
	defer cancel()
	for _, key := range keys {
		down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: key}
		switch key {
		case "Escape":
			down.Text, down.WindowsVirtualKeyCode = "", 27
		case "Enter":
			down.Text, down.WindowsVirtualKeyCode = "\r", 13
		}
		up := down
		up.Type, up.Text = input.DispatchKeyEventTypeKeyUp, ""
		for _, e := range []input.DispatchKeyEventParams{down, up} {
			if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, e); err != nil {
				w.Fatal(err)
			}
		}
	}
}

// write writes into what has the focus.
func (w *window) write(text string) { w.press(strings.Split(text, "")...) }

// TestBrowserData goes through the pages of data, compute and the workspace: a
// table that a cluster makes is there without loading the page again.
func TestBrowserData(t *testing.T) {
	environment.ForTest(t)
	w := chromium(t)
	srv := servertest.Start(t, nil)
	s := &site{T: t, Server: srv}
	put(t, srv, "Shared/river/count.py", makeTable)
	put(t, srv, "Shared/river/settings.yml", "days: 3\n")
	s.call("POST", unity+"volumes", m{"catalog_name": "workspace", "schema_name": "default", "name": "raw", "volume_type": "MANAGED"}, nil)
	s.call("PATCH", unity+"permissions/schema/workspace.default", m{"changes": []m{{"principal": "rangers", "add": []string{"SELECT", "MODIFY"}}}}, nil)
	s.call("POST", "/api/2.0/mlflow/unity-catalog/registered-models/create", m{"name": "workspace.default.otter_model"}, nil)
	var cluster struct {
		ID string `json:"cluster_id"`
	}
	s.call("POST", "/api/2.1/clusters/create", m{
		"cluster_name": "river", "spark_version": "16.4.x-scala2.13", "node_type_id": "Standard_DS3_v2", "autoscale": m{"min_workers": 1, "max_workers": 3},
	}, &cluster)
	job := s.create(m{"name": "otters nightly", "tasks": []m{{"task_key": "count", "existing_cluster_id": cluster.ID, "notebook_task": m{"notebook_path": "/Shared/river/count"}}}})

	do(w, chromedp.Navigate(srv.URL+"/login?next=/catalog"))
	w.eval(`document.querySelector(".login details").open = true`)
	w.eval(fmt.Sprintf(`document.getElementById("token").value = %q`, srv.Token))
	w.follow("Use the token")
	w.shows("workspace", "default")
	w.fits("catalogs")
	w.follow("default")
	w.shows("raw", "otter_model", "rangers")
	w.eval(`window.same = true`)
	s.call("POST", "/api/2.2/jobs/run-now", m{"job_id": job}, nil)
	w.until(`window.same && [...document.querySelectorAll("#schema-tables a")].some(a => a.textContent === "otters")`) // without another load
	w.fits("schema")
	w.follow("otters")
	w.shows("seen at night", "of the collar", "CREATE TABLE", "WRITE", "Read by")
	w.until(`document.querySelector("#table-readers tbody a") && !document.querySelector("#table-history").textContent.includes("unknown writer")`)
	w.fits("table")
	w.eval(`document.querySelector("#table-history tbody a").dispatchEvent(new MouseEvent("click", {bubbles: true}))`) // its writer
	w.shows("count", "Succeeded")
	for _, width := range []int64{360, 1280} {
		w.size(width, 900)
		w.width = width
		w.volume()
		w.folders()
		w.keys()
	}
	w.compute()
	w.search()
	w.rest(srv.URL)
	w.dark(srv.URL)
	w.clean()
}

// volume walks from the navigation to a volume's files.
func (w *window) volume() {
	w.follow("Catalog")
	w.follow("workspace")
	w.shows("Schemas")
	w.fits("catalog")
	w.follow("default")
	w.follow("raw")
	w.shows("/Volumes/workspace/default/raw", "seen.csv", "7 B")
	w.fits("volume")
}

func (w *window) folders() {
	w.follow("Workspace")
	w.fits("workspace")
	w.follow("Shared/")
	w.follow("river/")
	w.shows("count", "Notebook, Python", "settings.yml")
	w.fits("folder")
	w.follow("count")
	w.shows("seen at night", "Download")
	w.fits("notebook")
	w.follow("river")
	w.follow("settings.yml")
	w.shows("days: 3")
	w.fits("file")
}

// keys goes to another page, looks at the keys and searches, without a mouse.
func (w *window) keys() {
	w.press("g", "j")
	w.shows("otters nightly")
	w.press("?")
	w.until(`document.querySelector("#keys").matches(":popover-open")`)
	w.fits("keys")
	w.press("Escape")
	w.until(`!document.querySelector("#keys").matches(":popover-open")`)
	w.press("/")
	w.until(`document.activeElement.id === "find"`)
	w.write("OTTER")
	w.press("Enter")
	w.shows("otters nightly", "workspace.default.otters", "workspace.default.otter_model")
	w.fits("search")
}

// compute ends the cluster and starts it again, with the page open.
func (w *window) compute() {
	w.follow("Compute")
	w.shows("river", "Running", "Standard_DS3_v2", "1 to 3")
	w.fits("compute")
	w.follow("river")
	w.shows("autoscale 1-3 accepted, run as local[", "CREATING", "RUNNING")
	w.fits("cluster")
	w.follow("Terminate")
	w.shows("Terminated by admin@localhost", "TERMINATING")
	w.fits("cluster-terminated")
	w.follow("Start")
	w.shows("STARTING", "Running", "Restart")
}

func (w *window) search() {
	w.follow("Jobs")
	w.press("/")
	w.write("nothing of the kind")
	w.press("Enter")
	w.shows("has “nothing of the kind” in its name")
	w.fits("search-none")
}

// rest looks at the pages that no walk leads to.
func (w *window) rest(base string) {
	w.Helper()
	for name, path := range map[string]string{
		"runs": "/runs", "models": "/models", "model": "/models/workspace.default.otter_model", "trace-form": "/trace", "job-facts": "/jobs/1", "task-facts": "/jobs/1/runs/1/tasks/2",
	} {
		do(w, chromedp.Navigate(base+path))
		w.until(`document.readyState === "complete"`)
		w.fits(name)
	}
	w.clean()
	do(w, chromedp.Navigate(base+"/catalog/nothing"))
	w.shows("nothing")
	w.fits("error")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = nil // the browser tells of the 404
}

// dark looks at the new pages by night.
func (w *window) dark(base string) {
	w.night()
	for name, path := range map[string]string{
		"dark-table": "/catalog/workspace/default/tables/otters", "dark-compute": "/compute", "dark-notebook": "/workspace/Shared/river/count", "dark-file": "/workspace/Shared/river/settings.yml",
	} {
		do(w, chromedp.Navigate(base+path))
		w.until(`document.readyState === "complete"`)
		w.fits(name)
	}
}

// night makes the browser wish for dark pages.
func (w *window) night() {
	w.Helper()
	wish := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
	if _, err := chromedp.Call(w.ctx, emulation.SetEmulatedMedia, wish); err != nil {
		w.Fatal(err)
	}
}

// clean checks that nothing went wrong in the pages.
func (w *window) clean() {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errors) > 0 {
		w.Errorf("the pages' errors:\n%s", strings.Join(w.errors, "\n"))
	}
}
