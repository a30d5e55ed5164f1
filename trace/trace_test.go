package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
	graph "github.com/wherry-ml/wherry/store/trace"
)

func emit(t *testing.T, db *store.DB, events ...wherry.Event) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		for _, e := range events {
			e.WorkspaceID = 1
			if err := tx.Emit(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func event(kind, subject string, runID int64, payload map[string]any) wherry.Event {
	b, _ := json.Marshal(payload)
	return wherry.Event{Kind: kind, Subject: subject, RunID: runID, Actor: "ada", Payload: b}
}

// commitBy is a Delta commit that a task run made, or an outsider (0).
func commitBy(version int, file string, runID int64) (string, *fstest.MapFile) {
	info := `{"commitInfo":{"timestamp":5,"operation":"WRITE"}}`
	if runID != 0 {
		info = fmt.Sprintf(`{"commitInfo":{"timestamp":5,"operation":"WRITE","userMetadata":"{\"wherry\":{\"run_id\":%d}}"}}`, runID)
	}
	return fmt.Sprintf("_delta_log/%020d.json", version), &fstest.MapFile{Data: []byte(info + "\n" + `{"add":{"path":"` + file + `","dataChange":true}}`)}
}

func tables(files map[string]fs.FS) Catalog {
	return func(context.Context) (all []Table, err error) {
		for name, f := range files {
			all = append(all, Table{ID: "id-" + name, Name: "main.s." + name, Location: "dbfs:/__unitystorage/tables/id-" + name, Files: f})
		}
		return all, nil
	}
}

// lines draws a graph as its edges, one a line.
func lines(g *Graph) string {
	var all []string
	for _, e := range g.Edges {
		all = append(all, e.Src.Kind+" "+e.Src.Key+" -"+e.Rel+"-> "+e.Dst.Kind+" "+e.Dst.Key)
	}
	return strings.Join(all, "\n")
}

// TestInterleaved has two runs of two deployments append to one table in
// turns, and an outsider between them: each version traces to its own writer.
func TestInterleaved(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		predictions := fstest.MapFS{}
		for v, run := range []int64{11, 21, 0, 11} {
			name, file := commitBy(v, fmt.Sprintf("f%d.parquet", v), run)
			predictions[name] = file
		}
		s := New(db, tables(map[string]fs.FS{"predictions": predictions}))
		for i, sha := range []string{"aaa111", "bbb222"} {
			d, run, task := fmt.Sprint(i), fmt.Sprint(10*(i+1)), int64(10*(i+1)+1)
			emit(t, db,
				event(wherry.EventDeployment, d, 0, map[string]any{"deployment_id": d, "version": 1, "commit": sha, "author": "Ada", "tree_digest": "t" + d}),
				event(wherry.EventRunStarted, run, 0, map[string]any{"deployment_id": d, "version": 1}),
				event(wherry.EventTaskStarted, fmt.Sprint(task), 0, map[string]any{"job_run_id": 10 * (i + 1), "task_key": "score"}),
				event(wherry.EventMLflowRun, "m"+d, task, map[string]any{"experiment_id": "1"}),
				event(wherry.EventModelVersion, "x/1", task, map[string]any{"name": "main.s.x" + d, "version": 1, "mlflow_run_id": "m" + d}),
				event(wherry.EventModelRead, "x/1", task, map[string]any{"name": "main.s.x" + d, "version": "1"}),
				event(wherry.EventTaskFinished, fmt.Sprint(task), 0, map[string]any{"job_run_id": 10 * (i + 1), "executed_digest": "e" + d}),
			)
		}
		if err := s.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		for v, sha := range []string{"aaa111", "bbb222", "", "aaa111"} {
			g, err := s.Back(t.Context(), 1, graph.Ref{Kind: graph.TableVersion, Key: fmt.Sprintf("id-predictions@%d", v)})
			if err != nil {
				t.Fatal(err)
			}
			got := lines(g)
			for _, other := range []string{"aaa111", "bbb222"} {
				if has := strings.Contains(got, "commit "+other+" -deployed_as->"); has != (other == sha) {
					t.Errorf("version %d: commit %s reached: %v\n%s", v, other, has, got)
				}
			}
			if unknown := strings.Contains(got, graph.External); unknown != (sha == "") {
				t.Errorf("version %d: unknown writer: %v\n%s", v, unknown, got)
			}
		}
		g, err := s.Forward(t.Context(), 1, graph.Ref{Kind: graph.Commit, Key: "bbb"})
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(g); !strings.Contains(got, "task_run 21 -wrote-> table_version id-predictions@1") || strings.Contains(got, "@0") {
			t.Errorf("forward from bbb:\n%s", got)
		}
		origins, exact, err := s.Origins(t.Context(), "main.s.predictions", "dbfs:/__unitystorage/tables/id-predictions/f1.parquet")
		if err != nil || !exact || origins[0].RunID != 21 {
			t.Errorf("origins of f1: %+v %v %v", origins, exact, err)
		}
	})
}

// TestTruncated: a graph with more nodes than an answer holds says so.
func TestTruncated(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := New(db, tables(nil))
		from := graph.Ref{Kind: graph.Deployment, Key: "d/1"}
		add := func(runs ...int) {
			err := db.Write(t.Context(), func(tx *store.Tx) error {
				err := graph.PutNode(tx, 1, graph.Node{Ref: from})
				for _, run := range runs {
					to := graph.Ref{Kind: graph.JobRun, Key: fmt.Sprint(run)}
					err = errors.Join(err, graph.PutNode(tx, 1, graph.Node{Ref: to}), graph.PutEdge(tx, 1, graph.Edge{Src: from, Rel: "ran_as", Dst: to}))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		check := func(nodes int, truncated bool) {
			t.Helper()
			g, err := s.Forward(t.Context(), 1, from)
			if err != nil || len(g.Nodes) != nodes || g.Truncated != truncated {
				t.Errorf("%d nodes, truncated %v, %v; want %d, %v", len(g.Nodes), g.Truncated, err, nodes, truncated)
			}
		}
		runs := make([]int, maxNodes-1)
		for i := range runs {
			runs[i] = i
		}
		add(runs...)
		check(maxNodes, false)
		add(maxNodes)
		check(maxNodes, true)
	})
}

// TestLateEvent: an event whose transaction commits after those of many later
// events is projected all the same, once, with no other to follow it.
func TestLateEvent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if db.Dialect != store.Postgres {
			t.Skip("SQLite has one writer: ids commit in their order")
		}
		s := New(db, tables(nil))
		emitted, commit, late := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			late <- db.Write(t.Context(), func(tx *store.Tx) error {
				e := event(wherry.EventTaskFinished, "1", 0, map[string]any{"executed_digest": "late"})
				e.WorkspaceID = 1
				err := tx.Emit(e)
				close(emitted)
				<-commit
				return err
			})
		}()
		<-emitted
		others := make([]wherry.Event, 600)
		for i := range others {
			others[i] = event(wherry.EventRunStarted, fmt.Sprint(i), 0, map[string]any{})
		}
		emit(t, db, others...)
		if ended, err := s.project(t.Context()); ended || err != nil {
			t.Fatalf("a task ended: %v, %v", ended, err)
		}
		close(commit)
		if err := <-late; err != nil {
			t.Fatal(err)
		}
		if ended, err := s.project(t.Context()); !ended || err != nil {
			t.Errorf("a task ended: %v, %v", ended, err)
		}
		if ended, err := s.project(t.Context()); ended || err != nil {
			t.Errorf("a task ended again: %v, %v", ended, err)
		}
		g, err := s.Back(t.Context(), 1, graph.Ref{Kind: graph.TaskRun, Key: "1"})
		if err != nil || g.Nodes[0].Digest != "late" {
			t.Errorf("%+v, %v", g, err)
		}
	})
}

// TestLeftOut: an event that can not be told holds up none of those before and
// after it, and is not asked for again.
func TestLeftOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := New(db, tables(nil))
		emit(t, db,
			event(wherry.EventTaskFinished, "1", 0, map[string]any{"executed_digest": "before"}),
			event(wherry.EventTaskFinished, "2", 0, map[string]any{"executed_digest": []int{1}}),
			event(wherry.EventTaskFinished, "3", 0, map[string]any{"executed_digest": "after"}))
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"1": "before", "3": "after"} {
			g, err := s.Back(t.Context(), 1, graph.Ref{Kind: graph.TaskRun, Key: key})
			if err != nil || g.Nodes[0].Digest != want {
				t.Errorf("%s: %+v, %v", key, g, err)
			}
		}
		if ended, err := s.project(t.Context()); ended || err != nil {
			t.Errorf("a task ended again: %v, %v", ended, err)
		}
	})
}

// TestTwice projects the same events again, as after a crash: nothing changes.
func TestTwice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		name, file := commitBy(0, "f.parquet", 7)
		s := New(db, tables(map[string]fs.FS{"t": fstest.MapFS{name: file}}))
		for range 3 {
			err := db.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE event SET traced = false`)
				return err
			})
			if err == nil {
				err = s.Refresh(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		g, err := s.Back(t.Context(), 1, graph.Ref{Kind: graph.TableVersion, Key: "id-t@0"})
		if err != nil || len(g.Edges) != 1 || len(g.Nodes) != 2 {
			t.Errorf("%+v %v", g, err)
		}
		if _, err := s.Forward(t.Context(), 1, graph.Ref{Kind: graph.Commit, Key: "none"}); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("an unknown commit gave %v", err)
		}
	})
}
