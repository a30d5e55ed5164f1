package mlflow_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/wherry-ml/wherry/environment"
)

// browser starts a headless Chromium that is signed in to the server. Errors
// that the pages throw are collected.
func browser(c *client) (ctx context.Context, thrown func() []string) {
	c.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			c.Fatal("chromium is not installed (apt-get install chromium)")
		}
		c.Skip("chromium is not installed (apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.UserDataDir(c.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute), chromedp.WindowSize(1400, 1000))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	c.Cleanup(stop)
	var mu sync.Mutex
	var list []string
	ctx, stop = chromedp.NewContext(allocator, chromedp.WithListener(func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			mu.Lock()
			list = append(list, e.ExceptionDetails.Text)
			mu.Unlock()
		}
	}))
	c.Cleanup(func() { _ = chromedp.Cancel(ctx); stop() })
	if _, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: "wherry_session", Value: c.Token, URL: c.URL, Path: "/"}); err != nil {
		c.Fatalf("start chromium: %v", err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// see opens a page and waits until it shows all of the texts.
func see(t *testing.T, ctx context.Context, address string, texts ...string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	shows(t, ctx, address, texts...)
}

// shows waits until the page that is open shows all of the texts.
func shows(t *testing.T, ctx context.Context, address string, texts ...string) {
	t.Helper()
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		body, err := chromedp.Run(wait, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
		missing := slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return strings.Contains(body, s) })
		if err == nil && len(missing) == 0 {
			return
		}
		if err == nil {
			last = body
		}
		select {
		case <-wait.Done():
			t.Fatalf("%s does not show %q (%v); it shows:\n%s", address, missing, err, last)
		case <-tick.C:
		}
	}
}

// The pages that MLflow itself brings work on our server: an experiment's
// runs, a run with its metrics and artifacts, a registered model and its
// version.
func TestWebUI(t *testing.T) {
	environment.ForTest(t)
	c := newClient(t)
	e, run := c.run()
	c.must("POST", api2+"runs/log-batch", m{
		"run_id": run, "metrics": []m{{"key": "rmse", "value": 0.4321, "timestamp": 1700000000000, "step": 1}},
		"params": []m{{"key": "max_depth", "value": "17"}}, "tags": []m{{"key": "mlflow.runName", "value": "brave-otter"}, {"key": "flavour", "value": "salty"}},
	})
	c.must("POST", api2+"runs/update", m{"run_id": run, "status": "FINISHED", "end_time": 1900000000000})
	c.must("PUT", "/api/2.0/mlflow-artifacts/artifacts/"+e+"/"+run+"/artifacts/notes.txt", "what a fine artifact")
	c.must("POST", api2+"registered-models/create", m{"name": "otters", "description": "a model of otters"})
	c.must("POST", api2+"model-versions/create", m{"name": "otters", "source": "mlflow-artifacts:/" + e + "/" + run + "/artifacts/m", "run_id": run})
	c.must("POST", api2+"registered-models/alias", m{"name": "otters", "alias": "champion", "version": "1"})

	ctx, thrown := browser(c)
	ui := c.URL + "/mlflow/#"
	see(t, ctx, ui+"/experiments/"+e+"/runs", "brave-otter")
	see(t, ctx, ui+"/experiments/"+e+"/runs/"+run, "brave-otter", "rmse", "0.4321", "max_depth", "17", "Finished", "otters")
	see(t, ctx, ui+"/experiments/"+e+"/runs/"+run+"/artifacts", "notes.txt")
	const click = `[...document.querySelectorAll("body *")].filter(e => e.textContent.trim() == "notes.txt").pop().click()`
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](click)); err != nil {
		t.Fatal(err)
	}
	shows(t, ctx, "the artifact", "what a fine artifact")
	see(t, ctx, ui+"/models", "otters")
	see(t, ctx, ui+"/models/otters", "a model of otters", "champion")
	see(t, ctx, ui+"/models/otters/versions/1", "Version 1", "champion")
	if list := thrown(); len(list) > 0 {
		t.Errorf("the pages threw %v", list)
	}
	if dir := os.Getenv("WHERRY_SCREENSHOTS"); dir != "" {
		see(t, ctx, ui+"/experiments/"+e+"/runs/"+run, "0.4321")
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/mlflow-run.png", png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
