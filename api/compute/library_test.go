//go:build linux

package compute_test

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/service/compute"
	"github.com/databricks/databricks-sdk-go/service/jobs"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

// site is a server with its files and the Go SDK on it.
type site struct {
	*databricks.WorkspaceClient
	t   *testing.T
	ctx context.Context
	dir string // /Workspace
}

func newSite(t *testing.T) *site {
	t.Helper()
	environment.ForTest(t)
	s := servertest.Start(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	dir := s.State.Workspace(1)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &site{must(databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token}))(t), t, ctx, dir}
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run waits for a run and returns its state and what its tasks printed, by key.
func (s *site) run(id int64) (*jobs.Run, map[string]string) {
	s.t.Helper()
	run := must(s.Jobs.WaitGetRunJobTerminatedOrSkipped(s.ctx, id, 2*time.Minute, nil))(s.t)
	out := map[string]string{}
	for _, task := range run.Tasks {
		o := must(s.Jobs.GetRunOutputByRunId(s.ctx, task.RunId))(s.t)
		out[task.TaskKey] = o.Logs + o.Error
	}
	return run, out
}

// wheel makes a package in dir with one module that knows its version, and
// returns the file's name.
func wheel(t *testing.T, dir, name, version string) string {
	t.Helper()
	file := fmt.Sprintf("%s-%s-py3-none-any.whl", name, version)
	info := fmt.Sprintf("%s-%s.dist-info/", name, version)
	f, err := os.Create(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, part := range []struct{ name, text string }{
		{name + ".py", fmt.Sprintf("VERSION = %q\n", version)},
		{info + "METADATA", fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version)},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", fmt.Sprintf("%s.py,,\n%[2]sMETADATA,,\n%[2]sWHEEL,,\n%[2]sRECORD,,\n", name, info)},
	} {
		w, err := z.Create(part.name)
		if err == nil {
			_, err = w.Write([]byte(part.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// index serves one wheel as a package index does.
func index(t *testing.T, name, version string) (url string) {
	t.Helper()
	dir := t.TempDir()
	file := wheel(t, dir, name, version)
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/"+name+"/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<!DOCTYPE html><a href='/files/%s'>%[1]s</a>", file)
	})
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(dir))))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL + "/simple"
}

// TestEnvironments: two tasks of one job import two versions of a package, one
// from a wheel in the workspace, one by a requirement from an index; a third
// has neither.
func TestEnvironments(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("version.py", "try:\n    import greet\n    print(greet.VERSION)\nexcept ImportError:\n    print('none')\n")
	s.write("requirements.txt", "--index-url "+index(t, "greet", "2.0")+"\ngreet>=2\n")
	task := func(key, env string) jobs.Task {
		return jobs.Task{TaskKey: key, EnvironmentKey: env, SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/version.py"}}
	}
	spec := func(key string, lines ...string) jobs.JobEnvironment {
		return jobs.JobEnvironment{EnvironmentKey: key, Spec: &compute.Environment{EnvironmentVersion: "2", Dependencies: lines}}
	}
	job := must(s.Jobs.Create(s.ctx, jobs.CreateJob{
		Name:  "environments",
		Tasks: []jobs.Task{task("old", "wheel"), task("new", "index"), task("bare", "bare")},
		Environments: []jobs.JobEnvironment{
			spec("wheel", "/Workspace/"+wheel(t, s.dir, "greet", "1.0")), spec("index", "-r /Workspace/requirements.txt"), spec("bare"),
		},
	}))(t)
	run, out := s.run(must(s.Jobs.RunNow(s.ctx, jobs.RunNow{JobId: job.JobId}))(t).RunId)
	if run.State.ResultState != jobs.RunResultStateSuccess {
		t.Errorf("%+v: %v", run.State, out)
	}
	for key, want := range map[string]string{"old": "1.0\n", "new": "2.0\n", "bare": "none\n"} {
		if out[key] != want {
			t.Errorf("%s printed %q, want %q", key, out[key], want)
		}
	}

	// What cannot be had fails the task, and says so.
	failed := must(s.Jobs.Submit(s.ctx, jobs.SubmitRun{
		Tasks:        []jobs.SubmitTask{{TaskKey: "a", EnvironmentKey: "x", SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/version.py"}}},
		Environments: []jobs.JobEnvironment{spec("x", "/Workspace/absent.whl")},
	}))(t)
	if _, err := failed.GetWithTimeout(2 * time.Minute); err == nil || !strings.Contains(err.Error(), "there is no wheel /Workspace/absent.whl") {
		t.Errorf("a wheel that is not there: %v", err)
	}
}

// TestClusterLibraries: a cluster's variables and libraries are seen by its
// tasks, also after it was terminated and started again.
func TestClusterLibraries(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("look.py", "import os\ntry:\n    import greet\n    v = greet.VERSION\nexcept ImportError:\n    v = 'none'\nprint(os.environ.get('COLOUR'), v)\n")
	made := must(s.Clusters.Create(s.ctx, compute.CreateCluster{SparkVersion: "16.4.x-scala2.13", SparkEnvVars: map[string]string{"COLOUR": "teal"}}))(t)
	id := must(made.Get())(t).ClusterId
	look := func(want string) {
		t.Helper()
		run, out := s.run(must(s.Jobs.Submit(s.ctx, jobs.SubmitRun{Tasks: []jobs.SubmitTask{{
			TaskKey: "a", ExistingClusterId: id, SparkPythonTask: &jobs.SparkPythonTask{PythonFile: "/Workspace/look.py"},
		}}}))(t).RunId)
		if run.State.ResultState != jobs.RunResultStateSuccess || out["a"] != want {
			t.Errorf("%+v: %v, want %q", run.State, out, want)
		}
	}
	look("teal none\n")
	library := compute.Library{Whl: "/Workspace/" + wheel(t, s.dir, "greet", "3.0")}
	if err := s.Libraries.Install(s.ctx, compute.InstallLibraries{ClusterId: id, Libraries: []compute.Library{library}}); err != nil {
		t.Fatal(err)
	}
	status := must(s.Libraries.ClusterStatusAll(s.ctx, compute.ClusterStatus{ClusterId: id}))(t)
	if len(status) != 1 || status[0].Library.Whl != library.Whl || status[0].Status != compute.LibraryInstallStatusInstalled {
		t.Errorf("status %+v", status)
	}
	look("teal 3.0\n")

	must(must(s.Clusters.Delete(s.ctx, compute.DeleteCluster{ClusterId: id}))(t).Get())(t)
	if c := must(must(s.Clusters.Start(s.ctx, compute.StartCluster{ClusterId: id}))(t).Get())(t); c.State != compute.StateRunning || c.TerminatedTime != 0 {
		t.Errorf("after start: %+v", c)
	}
	if _, err := s.Clusters.Start(s.ctx, compute.StartCluster{ClusterId: id}); err == nil || !strings.Contains(err.Error(), "unexpected state RUNNING") {
		t.Errorf("start of a running cluster: %v", err)
	}
	look("teal 3.0\n")
	if err := s.Libraries.Uninstall(s.ctx, compute.UninstallLibraries{ClusterId: id, Libraries: []compute.Library{library}}); err != nil {
		t.Fatal(err)
	}
	look("teal none\n")
	err := s.Libraries.Install(s.ctx, compute.InstallLibraries{ClusterId: id, Libraries: []compute.Library{{Whl: "/Workspace/absent.whl"}}})
	if err == nil || !strings.Contains(err.Error(), "there is no wheel") {
		t.Errorf("a wheel that is not there: %v", err)
	}
}
