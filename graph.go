package wherry

import (
	"slices"
	"strings"
)

// ancestors are the keys of all tasks upstream of t.
func ancestors(t *Task, byKey map[string]*Task) map[string]bool {
	seen := map[string]bool{}
	var visit func(*Task)
	visit = func(t *Task) {
		for _, d := range t.DependsOn {
			if up := byKey[d.TaskKey]; up != nil && !seen[d.TaskKey] {
				seen[d.TaskKey] = true
				visit(up)
			}
		}
	}
	visit(t)
	return seen
}

// findCycle returns the keys along a cycle of depends_on, the first one again
// at the end; nil if there is none.
func findCycle(tasks []Task) []string {
	byKey := map[string]*Task{}
	for i := range tasks {
		byKey[tasks[i].Key] = &tasks[i]
	}
	const visiting, done = 1, 2
	state := map[string]int{}
	var path []string
	var visit func(key string) []string
	visit = func(key string) []string {
		switch state[key] {
		case done:
			return nil
		case visiting:
			return append(slices.Clone(path[slices.Index(path, key):]), key)
		}
		state[key] = visiting
		path = append(path, key)
		if t := byKey[key]; t != nil {
			for _, d := range t.DependsOn {
				if cycle := visit(d.TaskKey); cycle != nil {
					return cycle
				}
			}
		}
		path = path[:len(path)-1]
		state[key] = done
		return nil
	}
	for i := range tasks {
		if cycle := visit(tasks[i].Key); cycle != nil {
			return cycle
		}
	}
	return nil
}

// closure adds to keys everything upstream, or everything downstream, of them.
func closure(tasks []Task, keys map[string]bool, upstream bool) {
	for grown := true; grown; {
		grown = false
		for _, t := range tasks {
			for _, d := range t.DependsOn {
				from, to := d.TaskKey, t.Key
				if upstream {
					from, to = to, from
				}
				if keys[from] && !keys[to] {
					keys[to], grown = true, true
				}
			}
		}
	}
}

// SelectTasks reads the field only of run-now: task keys, with a + in front to
// add what is upstream and one behind to add what is downstream. It returns the
// keys in the order of the tasks; nil for an empty list, which means all.
func (s *JobSettings) SelectTasks(only []string) ([]string, error) {
	if len(only) == 0 {
		return nil, nil
	}
	selected := map[string]bool{}
	for _, entry := range only {
		key := strings.TrimSuffix(strings.TrimPrefix(entry, "+"), "+")
		if s.Task(key) == nil {
			return nil, Errorf(CodeInvalidParameter, "only: the job has no task %q", key)
		}
		for _, side := range []struct{ wanted, upstream bool }{
			{strings.HasPrefix(entry, "+"), true}, {strings.HasSuffix(entry, "+"), false},
		} {
			more := map[string]bool{key: true}
			if side.wanted {
				closure(s.Tasks, more, side.upstream)
			}
			for k := range more {
				selected[k] = true
			}
		}
	}
	return s.inOrder(selected), nil
}

func (s *JobSettings) inOrder(keys map[string]bool) []string {
	var list []string
	for _, t := range s.Tasks {
		if keys[t.Key] {
			list = append(list, t.Key)
		}
	}
	return list
}

// RepairRequest says which tasks of a run that has ended run again.
type RepairRequest struct {
	RunID          Int64             `json:"run_id"`
	RerunTasks     []string          `json:"rerun_tasks"`
	RerunAllFailed bool              `json:"rerun_all_failed_tasks"`
	RerunDependent bool              `json:"rerun_dependent_tasks"`
	LatestRepairID Int64             `json:"latest_repair_id"`
	JobParameters  map[string]string `json:"job_parameters"`
	Overriding
}

// RepairTasks checks a repair against the run, whose Settings are the current
// ones, and returns the keys of the tasks to run again.
func (r *Run) RepairTasks(q *RepairRequest) ([]string, error) {
	bad := func(format string, args ...any) ([]string, error) {
		return nil, Errorf(CodeInvalidParameter, format, args...)
	}
	var last int64
	if n := len(r.Repairs); n > 0 {
		last = r.Repairs[n-1].ID
	}
	switch {
	case !r.Terminal():
		return bad("Run %d is active: only a run that has ended can be repaired", r.ID)
	case (len(q.RerunTasks) > 0) == q.RerunAllFailed:
		return bad("exactly one of rerun_tasks and rerun_all_failed_tasks must be given")
	case int64(q.LatestRepairID) != last && last == 0:
		return bad("latest_repair_id: run %d has not been repaired yet", r.ID)
	case int64(q.LatestRepairID) != last:
		return bad("latest_repair_id must be %d, the last repair of run %d", last, r.ID)
	}
	l := r.latest()
	keys := map[string]bool{}
	for _, key := range q.RerunTasks {
		if r.Settings.Task(key) == nil {
			return bad("rerun_tasks: the job has no task %q", key)
		}
		keys[key] = true
	}
	if q.RerunAllFailed {
		for key, run := range l.tasks {
			if c := run.class(); r.Settings.Task(key) != nil && (c == failed || c == canceled) {
				keys[key] = true
			}
		}
	}
	if q.RerunDependent {
		closure(r.Settings.Tasks, keys, false)
	}
	if len(keys) == 0 {
		return bad("run %d has no task to run again", r.ID)
	}
	return r.Settings.inOrder(keys), nil
}
