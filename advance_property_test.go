package wherry

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestEveryRunEnds: whatever the graph, the results and the cancellations, a
// run comes to its end with all its tasks, and no task starts before what it
// depends on has ended.
func TestEveryRunEnds(t *testing.T) {
	runIfs := []string{"", AllSuccess, AllDone, NoneFailed, AtLeastOneSuccess, AtLeastOneFailed, AllFailed}
	results := []string{ResultSuccess, ResultSuccess, ResultFailed, ResultTimedOut, ResultCanceled}
	rapid.Check(t, func(t *rapid.T) {
		var list []map[string]any
		for i := range rapid.IntRange(1, 12).Draw(t, "tasks") {
			deps := []map[string]string{}
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
					deps = append(deps, map[string]string{"task_key": fmt.Sprintf("t%d", j)})
				}
			}
			list = append(list, map[string]any{
				"task_key": fmt.Sprintf("t%d", i), "depends_on": deps, "run_if": rapid.SampledFrom(runIfs).Draw(t, "run_if"),
				"disabled": rapid.IntRange(0, 9).Draw(t, "disabled") == 0, "max_retries": rapid.IntRange(0, 2).Draw(t, "retries"),
				"retry_on_timeout": rapid.Bool().Draw(t, "retry_on_timeout"), "timeout_seconds": rapid.IntRange(0, 3).Draw(t, "timeout"),
				"health": slowAfter(rapid.IntRange(0, 2).Draw(t, "slow")),
			})
		}
		doc, err := json.Marshal(map[string]any{"tasks": list, "timeout_seconds": rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "run_timeout"), "health": slowAfter(3)})
		if err != nil {
			t.Fatal(err)
		}
		r := &Run{Standing: Standing{State: Pending}, StartTime: 1}
		if err := json.Unmarshal(doc, &r.Settings); err != nil {
			t.Fatal(err)
		}
		for _, task := range r.Settings.Tasks {
			r.Attempts = append(r.Attempts, &TaskRun{ID: r.nextID(), Key: task.Key, Standing: Standing{State: Blocked}})
		}
		now := int64(1000)
		for step := 0; !r.Terminal(); step++ {
			if step > 500 {
				t.Fatalf("the run does not end: %v in %s", states(r), doc)
			}
			p := simulate(r, now, nil)
			checkOrder(t, r)
			var live []*TaskRun
			for _, a := range r.Attempts {
				if a.live() {
					live = append(live, a)
				}
			}
			switch {
			case r.Terminal():
			case len(live) > 0:
				a := rapid.SampledFrom(live).Draw(t, "ends")
				end := ends(rapid.SampledFrom(results).Draw(t, "result"))
				if a.Cause != "" && end.Result != ResultSuccess {
					end = Cancelled(a.Cause)
				}
				a.Standing, a.EndTime = end, now
			case p.WakeAt == 0:
				t.Fatalf("nothing runs and nothing wakes: %v in %s", states(r), doc)
			}
			now += int64(rapid.IntRange(0, 2000).Draw(t, "time"))
			if rapid.IntRange(0, 20).Draw(t, "cancel") == 0 && !r.Terminal() && r.Cause == "" {
				r.State, r.Cause = Terminating, CauseUser
			}
		}
		for _, a := range r.Attempts {
			if !a.Terminal() {
				t.Fatalf("the run ended without its task %s: %v", a.Key, states(r))
			}
		}
	})
}

func checkOrder(t *rapid.T, r *Run) {
	for _, task := range r.Settings.Tasks {
		run := r.Latest(task.Key)
		if run.State == Blocked || run.StartTime == 0 {
			continue
		}
		for _, d := range task.DependsOn {
			if !r.Latest(d.TaskKey).Terminal() {
				t.Fatalf("%s started before %s had ended", task.Key, d.TaskKey)
			}
		}
	}
}

func FuzzReferences(f *testing.F) {
	for _, seed := range []string{"{{job.id}}", "{{ tasks.`a b`.values.x }}", "{{input.a}}{{", "{{{{job.id}}}}", "{{job.naem}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x := &References{Run: &Run{}, Value: func(string, string) (json.RawMessage, bool) { return nil, false }}
		out, err := x.Expand(text)
		if err == nil && CheckReferences(text, func(string) bool { return true }) == nil && len(out) > 64*(len(text)+1) {
			t.Errorf("%q became %d bytes", text, len(out))
		}
	})
}
