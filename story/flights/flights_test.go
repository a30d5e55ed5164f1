//go:build linux

package flights_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/demo"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/story/site"
)

// story is what the test drives: a site and what its reports must say.
type story struct{ *site.Site }

// TestStory: the server is killed with SIGKILL while the demo's first task
// runs, and started again. The run goes on, ends well, nothing is doubled, and
// a second demo makes a second version that does not depose the champion.
func TestStory(t *testing.T) {
	s := story{site.New(t, 1)}
	server := s.Up()
	first := s.Start("demo", "--state", string(s.Dir), "--json")
	runID := s.taskRunning(first, "prepare")
	s.Kill(server)
	killed := time.Now()
	if _, _, err := client.Local(s.Ctx, s.Dir); err == nil {
		t.Fatal("the server answers after its death")
	}
	s.Up()
	c, _, err := client.Local(s.Ctx, s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var before demo.Report
	s.JSON(first, &before)
	s.checkReport(&before, "1")
	if before.RunID != runID {
		t.Errorf("the demo reports run %d, but %d was running", before.RunID, runID)
	}
	s.checkAttempts(c, runID, killed)

	var after demo.Report
	s.JSON(s.Start("demo", "--state", string(s.Dir), "--json"), &after)
	s.checkReport(&after, "2")
	if !maps.Equal(before.Metrics, after.Metrics) || !maps.Equal(before.Metrics, after.Previous) {
		t.Errorf("the same code and data gave other metrics:\n%v\n%v\nbefore: %v", before.Metrics, after.Metrics, after.Previous)
	}
	// The notebook counts the rows of its own job run: twice as many would be
	// an append done twice.
	if before.Predictions.Rows != after.Predictions.Rows {
		t.Errorf("the killed run has %d predictions, the other %d", before.Predictions.Rows, after.Predictions.Rows)
	}
	s.checkTraces(&before, &after)
}

// taskRunning waits until a task of the newest job run is running, and returns
// that run's id.
func (s story) taskRunning(demo *site.Process, key string) (runID int64) {
	s.T.Helper()
	c, _, err := client.Local(s.Ctx, s.Dir)
	if err != nil {
		s.T.Fatal(err)
	}
	s.Until(key+" is running", func() bool {
		select {
		case <-demo.Ended:
			s.T.Fatalf("the demo has ended: %v\n%s", demo.Err, demo.Stderr.String())
		default:
		}
		ctx, cancel := context.WithTimeout(s.Ctx, 10*time.Second)
		defer cancel()
		var list struct {
			Runs []struct {
				RunID int64 `json:"run_id"`
			} `json:"runs"`
		}
		if err := c.Do(ctx, "GET", "/api/2.2/jobs/runs/list", nil, &list); err != nil {
			s.T.Fatal(err)
		}
		if len(list.Runs) == 0 {
			return false
		}
		runID = list.Runs[0].RunID
		r, err := run.Get(ctx, c, runID)
		if err != nil {
			s.T.Fatal(err)
		}
		return slices.ContainsFunc(r.Tasks, func(t run.Task) bool { return t.Key == key && t.LifeCycle == "RUNNING" })
	})
	return runID
}

func (s story) checkReport(r *demo.Report, version string) {
	s.T.Helper()
	if r.ResultState != wherry.ResultSuccess || len(r.Tasks) != 6 {
		s.T.Errorf("the run ended %s with %d tasks, want 6: %+v", r.ResultState, len(r.Tasks), r.Tasks)
	}
	aliases, publish := []string{"challenger", "champion"}, wherry.ResultSuccess
	if version != "1" { // equal keeps the champion
		aliases, publish = []string{"challenger"}, wherry.ResultExcluded
	}
	for _, task := range r.Tasks {
		want := wherry.ResultSuccess
		if task.Key == "publish_champion" {
			want = publish
		}
		if task.ResultState != want {
			s.T.Errorf("version %s: task %s ended %s, want %s", version, task.Key, task.ResultState, want)
		}
	}
	slices.Sort(r.Model.Aliases)
	if !strings.HasSuffix(r.Model.Name, ".late_arrival") || r.Model.Version != version || !slices.Equal(r.Model.Aliases, aliases) {
		s.T.Errorf("model %+v, want version %s with aliases %v", r.Model, version, aliases)
	}
	if len(r.Metrics) == 0 || r.Predictions.Rows <= 20_000 || len(r.Predictions.Sample) != 5 {
		s.T.Errorf("metrics %v, %d predictions with %d samples", r.Metrics, r.Predictions.Rows, len(r.Predictions.Sample))
	}
	for _, row := range r.Predictions.Sample {
		if got := fmt.Sprint(row["model_version"]); got != "1" {
			s.T.Errorf("scored by version %s, want the champion, 1", got)
		}
	}
	if !slices.ContainsFunc(r.Trace, func(n graph.Ref) bool { return n.Kind == graph.Commit }) {
		s.T.Errorf("the trace does not reach the commit: %v", r.Trace)
	}
	for _, name := range []string{"run", "mlflow"} {
		if !strings.HasPrefix(r.URLs[name], s.Info.URL+"/") {
			s.T.Errorf("URL of %s: %q", name, r.URLs[name])
		}
	}
}

// checkAttempts: every task was tried once, and the first one was at work
// while the server was dead.
func (s story) checkAttempts(c *client.Client, runID int64, killed time.Time) {
	s.T.Helper()
	var view struct {
		Tasks []struct {
			Key     string `json:"task_key"`
			Attempt int    `json:"attempt_number"`
			Start   int64  `json:"start_time"`
			End     int64  `json:"end_time"`
		} `json:"tasks"`
	}
	if err := c.Do(s.Ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d&include_history=true", runID), nil, &view); err != nil {
		s.T.Fatal(err)
	}
	tried := map[string]int{}
	for _, task := range view.Tasks {
		tried[task.Key]++
		if task.Attempt != 0 {
			s.T.Errorf("task %s: attempt %d", task.Key, task.Attempt)
		}
		if task.Key == "prepare" && (task.Start > killed.UnixMilli() || task.End < killed.UnixMilli()) {
			s.T.Errorf("prepare ran from %d to %d, but the server was killed at %d", task.Start, task.End, killed.UnixMilli())
		}
	}
	for key, n := range tried {
		if n != 1 {
			s.T.Errorf("task %s was tried %d times", key, n)
		}
	}
	if len(tried) != 6 {
		s.T.Errorf("tasks: %v", tried)
	}
}

// checkTraces: from the commit, the trace reaches the predictions of both runs.
func (s story) checkTraces(reports ...*demo.Report) {
	s.T.Helper()
	project := s.Dir.Path("demo", "flights")
	head, err := exec.CommandContext(s.Ctx, "git", "-C", project, "rev-parse", "HEAD").Output()
	if err != nil {
		s.T.Fatal(err)
	}
	sha := strings.TrimSpace(string(head))
	var from struct {
		Nodes []graph.Node `json:"nodes"`
	}
	s.JSON(s.Start("trace", "commit", sha, "--state", string(s.Dir), "-o", "json"), &from)
	written := map[graph.Ref]bool{}
	for _, n := range from.Nodes {
		var p struct {
			Table string `json:"table"`
		}
		if n.Kind != graph.TableVersion {
			continue
		}
		if err := json.Unmarshal(n.Payload, &p); err != nil {
			s.T.Error(err)
		}
		if p.Table == reports[0].Predictions.Table {
			written[n.Ref] = true
		}
	}
	if len(written) != len(reports) {
		s.T.Errorf("of commit %s came %d versions of %s, want %d: %v", sha, len(written), reports[0].Predictions.Table, len(reports), written)
	}
	for _, r := range reports {
		if !slices.Contains(r.Trace, graph.Ref{Kind: graph.Commit, Key: sha}) {
			s.T.Errorf("run %d is not traced to commit %s: %v", r.RunID, sha, r.Trace)
		}
		if !slices.ContainsFunc(r.Trace, func(n graph.Ref) bool { return written[n] }) {
			s.T.Errorf("run %d: its prediction's version is not among those of the commit: %v", r.RunID, r.Trace)
		}
	}
}
