// Package demo runs the flights example from its commit to a traced row of
// predictions, through the same calls that a user's own client makes.
package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/examples"
	"github.com/wherry-ml/wherry/state"
)

//go:embed land.py
var landing []byte

// The names that the example's bundle takes by default.
const (
	account = "nycflightslake"
	tenant  = "11111111-1111-1111-1111-111111111111"
	scope   = "flights"
	jobKey  = "flights_pipeline"
)

// Demo is one run of the demo against a server.
type Demo struct {
	State       state.Dir
	Environment *environment.Environment
	Client      *client.Client
	Server      client.Info
	// Say is told what is done; it is never nil.
	Say func(format string, args ...any)
	// Tail shows the job's run until it ends.
	Tail func(ctx context.Context, runID int64) (*run.Result, error)
}

// Run does all of it. The report holds what was reached even if err is not
// nil.
func (d *Demo) Run(ctx context.Context) (*Report, error) {
	started := time.Now()
	r := &Report{}
	defer func() { r.Seconds = time.Since(started).Seconds() }()
	project, err := d.copyProject(ctx)
	if err != nil {
		return r, fmt.Errorf("copy the example: %w", err)
	}
	landed := make(chan error, 1)
	if err := d.prepareLake(ctx); err != nil {
		return r, fmt.Errorf("prepare the lake: %w", err)
	}
	// The feed lands data while the bundle is deployed, as in life.
	landing, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { landed <- d.land(landing) }()
	jobID, err := d.deploy(ctx, project)
	if err != nil {
		cancel()
		if lerr := <-landed; lerr != nil {
			d.Say("the landing was stopped")
		}
		return r, fmt.Errorf("deploy: %w", err)
	}
	if err := <-landed; err != nil {
		return r, fmt.Errorf("land the raw data: %w", err)
	}
	runID, err := run.Start(ctx, d.Client, jobID, run.Options{})
	if err != nil {
		return r, err
	}
	d.Say("job run %d: %s/jobs/%d/runs/%d", runID, d.Client.URL, jobID, runID)
	result, err := d.Tail(ctx, runID)
	if err != nil {
		return r, err
	}
	r.fill(result)
	if !result.Succeeded() {
		return r, fmt.Errorf("the job run ended %s: %s", result.State, result.Message)
	}
	return r, d.report(ctx, r)
}

// copyProject copies the example into the state directory and commits it, once
// for each version of the example.
func (d *Demo) copyProject(ctx context.Context) (string, error) {
	project := d.State.Path("demo", "flights")
	if err := os.MkdirAll(project, 0o755); err != nil {
		return "", err
	}
	source, err := fs.Sub(examples.Flights, "flights")
	if err != nil {
		return "", err
	}
	err = fs.WalkDir(source, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		target := filepath.Join(project, filepath.FromSlash(name))
		if old, err := os.ReadFile(target); err == nil && string(old) == string(data) {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return state.WriteFile(target, data, 0o644)
	})
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(project, ".git")); errors.Is(err, fs.ErrNotExist) {
		if err := git(ctx, project, "init", "--quiet", "--initial-branch", "main"); err != nil {
			return "", err
		}
	}
	if err := git(ctx, project, "add", "--all"); err != nil {
		return "", err
	}
	if git(ctx, project, "diff", "--cached", "--quiet") == nil {
		return project, nil // committed by the demo before
	}
	d.Say("committing the example in %s", project)
	return project, git(ctx, project, "commit", "--quiet", "--message", "Flights: predict late arrivals")
}

// git runs git as the demo's own author, whatever the user's configuration.
func git(ctx context.Context, dir string, args ...string) error {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "user.name=wherry demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

type servicePrincipal struct {
	ID           int64  `json:"id"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// prepareLake makes what a platform team would have given the project: the
// storage account, a service principal that may use it, and its secret.
func (d *Demo) prepareLake(ctx context.Context) error {
	if err := d.Client.Do(ctx, "POST", "/api/wherry/storage/accounts", map[string]any{"name": account}, nil); err != nil {
		return err
	}
	err := d.Client.Do(ctx, "POST", "/api/2.0/secrets/scopes/create", map[string]any{"scope": scope}, nil)
	if err != nil && wherry.CodeOf(err) != wherry.CodeAlreadyExists {
		return err
	}
	if _, err := d.principal(); err == nil {
		return nil
	}
	d.Say("making a service principal for the lake")
	var sp servicePrincipal
	if err := d.Client.Do(ctx, "POST", "/api/wherry/service-principals", map[string]any{"display_name": "flights lake"}, &sp); err != nil {
		return err
	}
	grant := map[string]any{"account": account, "principal_id": sp.ID, "write": true}
	if err := d.Client.Do(ctx, "POST", "/api/wherry/storage/grants", grant, nil); err != nil {
		return err
	}
	for key, value := range map[string]string{"sp-client-id": sp.ClientID, "sp-client-secret": sp.ClientSecret} {
		put := map[string]any{"scope": scope, "key": key, "string_value": value}
		if err := d.Client.Do(ctx, "POST", "/api/2.0/secrets/put", put, nil); err != nil {
			return err
		}
	}
	b, err := json.Marshal(sp)
	if err != nil {
		return err
	}
	return state.WriteFile(d.principalFile(), b, 0o600)
}

// principalFile keeps the feed's own credentials, as a feed would.
func (d *Demo) principalFile() string { return d.State.Path("demo", "feed.json") }

func (d *Demo) principal() (sp servicePrincipal, err error) {
	b, err := os.ReadFile(d.principalFile())
	if err != nil {
		return sp, err
	}
	return sp, json.Unmarshal(b, &sp)
}

// land puts the raw data into the lake by the production host names, outside
// of any sandbox: through the proxy.
func (d *Demo) land(ctx context.Context) error {
	sp, err := d.principal()
	if err != nil {
		return err
	}
	script := d.State.Path("demo", "land.py")
	if err := state.WriteFile(script, landing, 0o644); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, d.Environment.Python, script)
	c.Env = append(os.Environ(), "ACCOUNT="+account, "TENANT_ID="+tenant, "CLIENT_ID="+sp.ClientID, "CLIENT_SECRET="+sp.ClientSecret)
	for k, v := range egress.Env(d.Server.ProxyURL, egress.Directory(d.State)) {
		c.Env = append(c.Env, k+"="+v)
	}
	var out struct {
		Files    int   `json:"files"`
		Uploaded int   `json:"uploaded"`
		Bytes    int64 `json:"bytes"`
	}
	var stderr strings.Builder
	c.Stderr = &stderr
	b, err := c.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return fmt.Errorf("the landing printed %q: %w", b, err)
	}
	d.Say("lake: %d files, %.1f MB in abfss://raw@%s.dfs.core.windows.net (%d uploaded)", out.Files, float64(out.Bytes)/1e6, account, out.Uploaded)
	return nil
}

func (d *Demo) deploy(ctx context.Context, project string) (jobID int64, err error) {
	b, err := bundle.Load(ctx, bundle.Options{Dir: project, Target: "dev"})
	if err != nil {
		return 0, err
	}
	report, err := deploy.Deploy(ctx, d.Client, b, deploy.Options{
		Python: d.Environment.Python, StandIns: true, Progress: func(line string) { d.Say("%s", line) }, CLIVersion: "wherry",
	})
	if err != nil {
		return 0, err
	}
	d.Say("deployed commit %.12s to target %s: version %d, %d files uploaded", b.Git.Commit, b.Target, report.Version, report.Uploaded)
	for _, s := range report.StandIns {
		d.Say("stand-in: %s %s", s.Kind, s.Name)
	}
	for _, r := range report.Resources {
		if r.Key == "jobs."+jobKey {
			return strconv.ParseInt(r.ID, 10, 64)
		}
	}
	return 0, fmt.Errorf("the deployment has no job %s", jobKey)
}
