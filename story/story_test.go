//go:build linux

package story_test

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
	"github.com/wherry-ml/wherry/environment"
	graph "github.com/wherry-ml/wherry/store/trace"
)

// limit is far above what the story takes: a loaded machine is no failure.
const limit = 14 * time.Minute

// TestStory: the server is killed with SIGKILL while the demo's first task
// runs, and started again. The run goes on, ends well, nothing is doubled, and
// a second demo makes a second version that does not depose the champion.
func TestStory(t *testing.T) {
	environment.ForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := newSite(ctx, t)
	server := s.up()
	first := s.start("demo", "--state", string(s.dir), "--json")
	runID := s.taskRunning(first, "prepare")
	s.kill(server)
	killed := time.Now()
	if _, _, err := client.Local(ctx, s.dir); err == nil {
		t.Fatal("the server answers after its death")
	}
	s.up()
	c, _, err := client.Local(ctx, s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var before demo.Report
	s.json(first, &before)
	s.checkReport(&before, "1")
	if before.RunID != runID {
		t.Errorf("the demo reports run %d, but %d was running", before.RunID, runID)
	}
	s.checkAttempts(c, runID, killed)

	var after demo.Report
	s.json(s.start("demo", "--state", string(s.dir), "--json"), &after)
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
func (s *site) taskRunning(demo *process, key string) (runID int64) {
	s.t.Helper()
	c, _, err := client.Local(s.ctx, s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.until(key+" is running", func() bool {
		select {
		case <-demo.ended:
			s.t.Fatalf("the demo has ended: %v\n%s", demo.err, demo.stderr.String())
		default:
		}
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		defer cancel()
		var list struct {
			Runs []struct {
				RunID int64 `json:"run_id"`
			} `json:"runs"`
		}
		if err := c.Do(ctx, "GET", "/api/2.2/jobs/runs/list", nil, &list); err != nil {
			s.t.Fatal(err)
		}
		if len(list.Runs) == 0 {
			return false
		}
		runID = list.Runs[0].RunID
		r, err := run.Get(ctx, c, runID)
		if err != nil {
			s.t.Fatal(err)
		}
		return slices.ContainsFunc(r.Tasks, func(t run.Task) bool { return t.Key == key && t.LifeCycle == "RUNNING" })
	})
	return runID
}

func (s *site) checkReport(r *demo.Report, version string) {
	s.t.Helper()
	if r.ResultState != wherry.ResultSuccess || len(r.Tasks) != 6 {
		s.t.Errorf("the run ended %s with %d tasks, want 6: %+v", r.ResultState, len(r.Tasks), r.Tasks)
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
			s.t.Errorf("version %s: task %s ended %s, want %s", version, task.Key, task.ResultState, want)
		}
	}
	slices.Sort(r.Model.Aliases)
	if !strings.HasSuffix(r.Model.Name, ".late_arrival") || r.Model.Version != version || !slices.Equal(r.Model.Aliases, aliases) {
		s.t.Errorf("model %+v, want version %s with aliases %v", r.Model, version, aliases)
	}
	if len(r.Metrics) == 0 || r.Predictions.Rows <= 20_000 || len(r.Predictions.Sample) != 5 {
		s.t.Errorf("metrics %v, %d predictions with %d samples", r.Metrics, r.Predictions.Rows, len(r.Predictions.Sample))
	}
	for _, row := range r.Predictions.Sample {
		if got := fmt.Sprint(row["model_version"]); got != "1" {
			s.t.Errorf("scored by version %s, want the champion, 1", got)
		}
	}
	if !slices.ContainsFunc(r.Trace, func(n graph.Ref) bool { return n.Kind == graph.Commit }) {
		s.t.Errorf("the trace does not reach the commit: %v", r.Trace)
	}
	for _, name := range []string{"run", "mlflow"} {
		if !strings.HasPrefix(r.URLs[name], s.info.URL+"/") {
			s.t.Errorf("URL of %s: %q", name, r.URLs[name])
		}
	}
}

// checkAttempts: every task was tried once, and the first one was at work
// while the server was dead.
func (s *site) checkAttempts(c *client.Client, runID int64, killed time.Time) {
	s.t.Helper()
	var view struct {
		Tasks []struct {
			Key     string `json:"task_key"`
			Attempt int    `json:"attempt_number"`
			Start   int64  `json:"start_time"`
			End     int64  `json:"end_time"`
		} `json:"tasks"`
	}
	if err := c.Do(s.ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d&include_history=true", runID), nil, &view); err != nil {
		s.t.Fatal(err)
	}
	tried := map[string]int{}
	for _, task := range view.Tasks {
		tried[task.Key]++
		if task.Attempt != 0 {
			s.t.Errorf("task %s: attempt %d", task.Key, task.Attempt)
		}
		if task.Key == "prepare" && (task.Start > killed.UnixMilli() || task.End < killed.UnixMilli()) {
			s.t.Errorf("prepare ran from %d to %d, but the server was killed at %d", task.Start, task.End, killed.UnixMilli())
		}
	}
	for key, n := range tried {
		if n != 1 {
			s.t.Errorf("task %s was tried %d times", key, n)
		}
	}
	if len(tried) != 6 {
		s.t.Errorf("tasks: %v", tried)
	}
}

// checkTraces: from the commit, the trace reaches the predictions of both runs.
func (s *site) checkTraces(reports ...*demo.Report) {
	s.t.Helper()
	project := s.dir.Path("demo", "flights")
	head, err := exec.CommandContext(s.ctx, "git", "-C", project, "rev-parse", "HEAD").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	sha := strings.TrimSpace(string(head))
	var from struct {
		Nodes []graph.Node `json:"nodes"`
	}
	s.json(s.start("trace", "commit", sha, "--state", string(s.dir), "-o", "json"), &from)
	written := map[graph.Ref]bool{}
	for _, n := range from.Nodes {
		var p struct {
			Table string `json:"table"`
		}
		if n.Kind != graph.TableVersion {
			continue
		}
		if err := json.Unmarshal(n.Payload, &p); err != nil {
			s.t.Error(err)
		}
		if p.Table == reports[0].Predictions.Table {
			written[n.Ref] = true
		}
	}
	if len(written) != len(reports) {
		s.t.Errorf("of commit %s came %d versions of %s, want %d: %v", sha, len(written), reports[0].Predictions.Table, len(reports), written)
	}
	for _, r := range reports {
		if !slices.Contains(r.Trace, graph.Ref{Kind: graph.Commit, Key: sha}) {
			s.t.Errorf("run %d is not traced to commit %s: %v", r.RunID, sha, r.Trace)
		}
		if !slices.ContainsFunc(r.Trace, func(n graph.Ref) bool { return written[n] }) {
			s.t.Errorf("run %d: its prediction's version is not among those of the commit: %v", r.RunID, r.Trace)
		}
	}
}
