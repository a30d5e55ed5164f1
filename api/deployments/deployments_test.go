package deployments_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	catalogapi "github.com/wherry-ml/wherry/api/catalog"
	"github.com/wherry-ml/wherry/api/deployments"
	jobsapi "github.com/wherry-ml/wherry/api/jobs"
	"github.com/wherry-ml/wherry/api/scim"
	workspaceapi "github.com/wherry-ml/wherry/api/workspace"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/catalog"
	deploymentstore "github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/store/workspace"
)

// site is the part of a server that deploys need; it can be killed and started
// again on the same state.
type site struct {
	t       *testing.T
	db      *store.DB
	dir     state.Dir
	service *deployments.Service
	client  *client.Client
	mu      sync.Mutex
	mux     http.Handler
	ciRun   string // the job of a workflow that all calls come from
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteOn(t, storetest.SQLite(t))
}

func newSiteOn(t *testing.T, db *store.DB) *site {
	t.Helper()
	s := &site{t: t, db: db, dir: state.Dir(t.TempDir())}
	if err := s.dir.Create(); err != nil {
		t.Fatal(err)
	}
	s.start()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		mux := s.mux
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.client = client.New(server.URL, "secret")
	return s
}

// start builds everything anew, as a restarted server does.
func (s *site) start() {
	s.t.Helper()
	ctx := context.Background()
	signIn := auth.New(s.db)
	check(s.t, signIn.Bootstrap(ctx, "secret"))
	catalogs := catalog.New(s.db)
	check(s.t, catalogs.Bootstrap(ctx, bundle.LocalUser))
	catalogAPI := catalogapi.New(catalogs, s.dir)
	check(s.t, catalogAPI.Start(ctx))
	files := workspaceapi.New(workspace.New(s.db), catalogs, s.dir)
	check(s.t, files.Start())
	jobsAPI := jobsapi.New(jobs.New(s.db), s.dir)
	jobsAPI.Permit = workspaceapi.PermitJob
	s.service = deployments.New(s.db, deploymentstore.New(s.db), s.dir)
	routes := slices.Concat(catalogAPI.Routes(), files.Routes(), jobsAPI.Routes(), scim.New(s.db).Routes(), s.service.Routes())
	routes = append(routes, api.Route{Method: "GET", Path: "/health", Permission: api.Public, Handler: api.Raw(func(http.ResponseWriter, *http.Request) error { return nil })})
	mux := api.NewMux(signIn, routes...)
	mux.CIRun = func(context.Context, int64, string) (string, error) { return s.ciRun, nil }
	check(s.t, s.service.Start(ctx, mux))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mux = mux
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a project.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(name), 0o755))
		check(t, os.WriteFile(name, []byte(text), 0o644))
	}
}

func (s *site) deploy(dir string) (*deploy.Report, error) {
	s.t.Helper()
	return s.deployWith(dir, deploy.Options{StandIns: true})
}

// deployLossy deploys what deletes data.
func (s *site) deployLossy(dir string) (*deploy.Report, error) {
	s.t.Helper()
	return s.deployWith(dir, deploy.Options{StandIns: true, Approve: func(*deployment.Plan) bool { return true }})
}

func (s *site) deployWith(dir string, opts deploy.Options) (*deploy.Report, error) {
	s.t.Helper()
	b, err := bundle.Load(context.Background(), bundle.Options{Dir: dir})
	check(s.t, err)
	for _, p := range b.Problems.List() {
		s.t.Error(b.Problems.Format(p))
	}
	return deploy.Deploy(context.Background(), s.client, b, opts)
}

// jobs returns the settings' descriptions by name; a name that comes twice is an
// error.
func (s *site) jobs() map[string]string {
	s.t.Helper()
	var out struct {
		Jobs []struct {
			Settings struct{ Name, Description string }
		}
	}
	check(s.t, s.client.Do(context.Background(), "GET", "/api/2.2/jobs/list?limit=100", nil, &out))
	found := map[string]string{}
	for _, j := range out.Jobs {
		if _, twice := found[j.Settings.Name]; twice {
			s.t.Errorf("the job %s is there twice", j.Settings.Name)
		}
		found[j.Settings.Name] = j.Settings.Description
	}
	return found
}

func (s *site) live(name string) string {
	return s.liveAt(filepath.Join("Users", bundle.LocalUser, ".bundle/x/default/files", name))
}

func (s *site) liveAt(name string) string {
	b, err := os.ReadFile(filepath.Join(s.dir.Workspace(1), name))
	if err != nil {
		return "none"
	}
	return string(b)
}

func (s *site) schema(name string) bool {
	return s.client.Do(context.Background(), "GET", "/api/2.1/unity-catalog/schemas/"+name, nil, nil) == nil
}

const first = `
bundle: {name: x}
resources:
  jobs:
    one: {name: one, description: old, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]}
`

const second = `
bundle: {name: x}
resources:
  schemas:
    s: {catalog_name: lab, name: made}
  jobs:
    one: {name: one, description: new, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]}
    two: {name: two, tasks: [{task_key: a, run_job_task: {job_id: "${resources.jobs.one.id}"}}]}
`

func TestServerKilledAtEachStepLeavesTheOldDeployWhole(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old", ".gitignore": "databricks.yml\n"})
	if _, err := s.deploy(dir); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"databricks.yml": second, "a.py": "new"})
	for _, at := range []string{"tree", "schemas.s", "jobs.one", "jobs.two", "files"} {
		s.service.OnStep(func(step string) error {
			if step == at {
				return deployments.ErrKilled
			}
			return nil
		})
		if _, err := s.deploy(dir); err == nil {
			t.Fatalf("a deploy killed at %s did not fail", at)
		}
		s.start()
		if got := s.jobs(); !maps.Equal(got, map[string]string{"one": "old"}) {
			t.Errorf("killed at %s: jobs %v", at, got)
		}
		if got := s.live("a.py"); got != "old" {
			t.Errorf("killed at %s: the live file is %q", at, got)
		}
		if s.schema("lab.made") {
			t.Errorf("killed at %s: the schema stays", at)
		}
	}
	r, err := s.deploy(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.jobs(); !maps.Equal(got, map[string]string{"one": "new", "two": ""}) || s.live("a.py") != "new" || !s.schema("lab.made") {
		t.Errorf("after the repeat: jobs %v, file %q", got, s.live("a.py"))
	}
	if again, err := s.deploy(dir); err != nil || again.Changed || again.Uploaded != 0 || again.Version != r.Version {
		t.Errorf("a deploy with nothing to do: %+v %v", again, err)
	}
}

func TestFailedDeployIsTakenBack(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old"})
	if _, err := s.deploy(dir); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"a.py": "new", "databricks.yml": second + `
    zoo: {name: zoo, schedule: {quartz_cron_expression: "* * * * * ?", timezone_id: UTC}, tasks: [{task_key: a, spark_python_task: {python_file: a.py}}]}
`})
	_, err := s.deploy(dir)
	if err == nil || !strings.Contains(err.Error(), "databricks.yml:10:5: jobs.zoo") {
		t.Fatalf("error %v", err)
	}
	if got := s.jobs(); !maps.Equal(got, map[string]string{"one": "old"}) || s.live("a.py") != "old" || s.schema("lab.made") {
		t.Errorf("after a failed deploy: jobs %v, file %q", got, s.live("a.py"))
	}
	write(t, dir, map[string]string{"databricks.yml": second})
	if _, err := s.deploy(dir); err != nil {
		t.Fatal(err)
	}
}

// TestDeployKeepsWhatTasksWrote: a deploy, one that fails and one that is killed
// change the bundle's own files only, in the same folder, which a task in flight
// has its tree mounted over.
func TestDeployKeepsWhatTasksWrote(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old", "src/gone/b.py": "b", "src/c.py": "c"})
	_, err := s.deploy(dir)
	check(t, err)
	files := filepath.Join(s.dir.Workspace(1), "Users", bundle.LocalUser, ".bundle/x/default/files")
	before, err := os.Stat(files)
	check(t, err)
	outside := t.TempDir()
	write(t, files, map[string]string{"data/out.csv": "1,2", "src/model.bin": "m", "new.py/x": "in the way"})
	check(t, os.RemoveAll(filepath.Join(files, "src", "gone")))
	check(t, os.Remove(filepath.Join(files, "src", "c.py")))
	check(t, os.Symlink(outside, filepath.Join(files, "lib")))

	check(t, os.RemoveAll(filepath.Join(dir, "src")))
	write(t, dir, map[string]string{"a.py": "new", "new.py": "n", "lib/d.py": "d", "deep/e.py": "e"})
	s.service.OnStep(func(step string) error {
		if step == "files" {
			return deployments.ErrKilled
		}
		return nil
	})
	if _, err := s.deploy(dir); err == nil {
		t.Fatal("a killed deploy did not fail")
	}
	s.start()
	for name, want := range map[string]string{"a.py": "old", "src/c.py": "c", "src/gone/b.py": "b", "deep/e.py": "none", "data/out.csv": "1,2", "src/model.bin": "m"} {
		if got := s.live(name); got != want {
			t.Errorf("after a killed deploy: %s is %q, want %q", name, got, want)
		}
	}
	_, err = s.deploy(dir)
	check(t, err)
	for name, want := range map[string]string{"a.py": "new", "new.py": "n", "lib/d.py": "d", "deep/e.py": "e", "src/c.py": "none", "data/out.csv": "1,2", "src/model.bin": "m"} {
		if got := s.live(name); got != want {
			t.Errorf("after a deploy: %s is %q, want %q", name, got, want)
		}
	}
	if after, err := os.Stat(files); err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder is another one: %v", err)
	}
	if _, err := os.Stat(filepath.Join(files, "src", "gone")); err == nil {
		t.Error("an empty folder stays")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("a link led the deploy out: %v %v", left, err)
	}
}

// Deployers at once wait for each other: what is there in the end is of one.
func TestDeployersAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := newSiteOn(t, db)
		var g errgroup.Group
		for i := range 4 {
			dir := t.TempDir()
			write(t, dir, map[string]string{"databricks.yml": strings.Replace(second, "description: new", fmt.Sprint("description: d", i), 1), "a.py": fmt.Sprint("d", i)})
			g.Go(func() error {
				for range 3 {
					if _, err := s.deploy(dir); err != nil {
						return err
					}
				}
				return nil
			})
		}
		check(t, g.Wait())
		if got := s.jobs(); len(got) != 2 || got["one"] != s.live("a.py") {
			t.Errorf("jobs %v and file %q are not of one deploy", got, s.live("a.py"))
		}
	})
}

func TestSelectedResourcesOnly(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	ctx := context.Background()
	write(t, dir, map[string]string{"databricks.yml": second + "    three: {name: three}\n", "a.py": "a"})
	b, err := bundle.Load(ctx, bundle.Options{Dir: dir})
	check(t, err)
	_, err = deploy.Deploy(ctx, s.client, b, deploy.Options{StandIns: true, Select: []string{"jobs.two"}})
	check(t, err)
	if got := s.jobs(); len(got) != 2 || s.schema("lab.made") {
		t.Errorf("jobs %v", got)
	}
	if _, err := deploy.Deploy(ctx, s.client, b, deploy.Options{Select: []string{"jobs.four"}}); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
		t.Errorf("an unknown resource was selected: %v", err)
	}
	if _, err := s.deploy(dir); err != nil || len(s.jobs()) != 3 {
		t.Errorf("then all: %v %v", s.jobs(), err)
	}
}

func TestPlanNamesFieldsAndDrift(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	ctx := context.Background()
	write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old"})
	r, err := s.deploy(dir)
	check(t, err)
	id := r.Resources[0].ID
	// Someone edits the job by hand.
	check(t, s.client.Do(ctx, "POST", "/api/2.2/jobs/update", map[string]any{"job_id": id, "new_settings": map[string]any{"description": "by hand"}}, nil))
	b, err := bundle.Load(ctx, bundle.Options{Dir: dir})
	check(t, err)
	p, err := deploy.Plan(ctx, s.client, b, deploy.Options{})
	check(t, err)
	if len(p.Resources) != 1 || len(p.Resources[0].Fields) != 1 || p.Resources[0].Fields[0].Path != "description" || p.Resources[0].Fields[0].Before != "by hand" {
		t.Errorf("%+v", p.Resources)
	}
	// Someone deletes it: the next deploy makes it again.
	check(t, s.client.Do(ctx, "POST", "/api/2.2/jobs/delete", map[string]any{"job_id": id}, nil))
	if r, err = s.deploy(dir); err != nil || r.Resources[0].Action != "create" {
		t.Errorf("%+v %v", r, err)
	}
	_, err = deploy.Destroy(ctx, s.client, b.Workspace.Root, false)
	check(t, err)
	if len(s.jobs()) > 0 || s.live("a.py") != "none" {
		t.Error("destroy left something")
	}
}

func TestRequestsThatLeadOutAreRefused(t *testing.T) {
	s := newSite(t)
	root := "/Workspace/Users/a/x"
	sum := strings.Repeat("ab", 32)
	for _, in := range []map[string]any{
		{"root_path": "/etc", "file_path": root + "/files", "artifact_path": root + "/artifacts", "state_path": root + "/state"},
		{"root_path": root, "file_path": root + "/../files", "artifact_path": root + "/artifacts", "state_path": root + "/state"},
		{"root_path": root, "file_path": root + "/files", "artifact_path": root + "/artifacts", "state_path": root + "/state", "files": []any{map[string]any{"path": "../x", "sha256": sum}}},
		{"root_path": root, "file_path": root + "/files", "artifact_path": root + "/artifacts", "state_path": root + "/state", "files": []any{map[string]any{"path": "/x", "sha256": sum}}},
		{"root_path": root, "file_path": root + "/files", "artifact_path": root + "/artifacts", "state_path": root + "/state", "files": []any{map[string]any{"path": "x", "sha256": "../../y"}}},
		{"root_path": root, "file_path": root + "/files", "artifact_path": root + "/artifacts", "state_path": root + "/state", "libraries": []any{map[string]any{"path": root + "/files/x", "sha256": sum}}},
	} {
		if err := s.client.Do(context.Background(), "POST", "/api/wherry/deployments/deploy", in, nil); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("%v: %v", in, err)
		}
	}
	_, err := s.client.Send(context.Background(), "PUT", "/api/wherry/deployments/blobs/"+sum, strings.NewReader("not that"), -1)
	if wherry.CodeOf(err) != wherry.CodeInvalidParameter {
		t.Errorf("a wrong content was taken in: %v", err)
	}
	if errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
