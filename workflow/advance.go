package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/nektos/act/pkg/model"
	"github.com/rhysd/actionlint"
	"gopkg.in/yaml.v3"
)

// Advance brings a run as far as it goes without anybody's work: jobs whose
// needs are met come to be, with their matrix; those whose condition does not
// hold are skipped; jobs of a cancelled run end. A job in Waiting needs its
// environment's approval or its turn in a concurrency group, which the caller
// knows, and moves to Queued; a Queued one is for the caller to start, within
// max-parallel, which Advance keeps by leaving the others without a place in
// Startable. now is in milliseconds.
//
// What the engine can not bear in a file is an error, not a panic.
func (r *Run) Advance(w *Workflow, now int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the workflow can not be run: %v", p)
		}
	}()
	if r.State == Completed {
		return nil
	}
	m, err := w.model()
	if err != nil {
		return err
	}
	r.stop(now)
	r.results(m, w)
	for changed := true; changed; {
		changed = false
		for _, key := range w.Jobs() {
			if len(r.legs(key)) == 0 && r.ready(w, key) {
				r.expand(w, m, key, now)
				r.results(m, w) // one that is skipped at once is done for those that need it
				changed = true
			}
		}
	}
	r.settle(w, now)
	return nil
}

// Leg lookup: the jobs of a key in the order of their matrix.
func (r *Run) legs(key string) (legs []*Job) {
	for _, j := range r.Jobs {
		if j.Key == key {
			legs = append(legs, j)
		}
	}
	slices.SortFunc(legs, func(a, b *Job) int { return cmp.Compare(a.Index, b.Index) })
	return legs
}

// stop ends what a cancelled run, or a matrix with fail-fast, need not do.
func (r *Run) stop(now int64) {
	for _, j := range r.Jobs {
		if j.State == Completed || j.Stop {
			continue
		}
		if (!r.Cancel || j.Always) && !r.failedFast(j) {
			continue
		}
		if j.State == Running {
			j.Stop = true
		} else {
			j.end(Cancelled, "", now)
		}
	}
}

func (r *Run) failedFast(j *Job) bool {
	if !j.FailFast {
		return false
	}
	return slices.ContainsFunc(r.legs(j.Key), func(leg *Job) bool {
		return leg.State == Completed && !leg.ContinueOnError && (leg.Conclusion == Failure || leg.Conclusion == TimedOut)
	})
}

func (j *Job) end(conclusion, message string, now int64) {
	j.State, j.Conclusion, j.Message, j.EndedAt = Completed, conclusion, message, now
}

// Result is what needs.KEY.result says, "" while the job is not done.
func (r *Run) Result(key string) string {
	legs := r.legs(key)
	if len(legs) == 0 {
		return ""
	}
	result := Skipped
	for _, j := range legs {
		c := j.Conclusion
		if c == TimedOut {
			c = Failure
		}
		switch {
		case j.State != Completed:
			return ""
		case c == Failure && j.ContinueOnError:
			c = Success
		}
		if rank(c) > rank(result) {
			result = c
		}
	}
	return result
}

// Stands tells whether a job and all that it needs have succeeded: a run of what
// failed keeps it.
func (r *Run) Stands(w *Workflow, key string) bool {
	return r.Result(key) == Success && !slices.ContainsFunc(w.Needs(key), func(need string) bool { return !r.Stands(w, need) })
}

func rank(conclusion string) int {
	return slices.Index([]string{Skipped, Success, Cancelled, Failure}, conclusion)
}

// results writes what is known of the jobs where the engine's expressions look.
func (r *Run) results(m *model.Workflow, w *Workflow) {
	for _, key := range w.Jobs() {
		job := m.Jobs[key]
		job.Result = r.Result(key)
		if job.Result == "" {
			continue
		}
		job.Outputs = map[string]string{}
		for _, leg := range r.legs(key) { // the last that sets an output wins
			for name, value := range leg.Outputs {
				if value != "" || job.Outputs[name] == "" {
					job.Outputs[name] = value
				}
			}
		}
	}
}

func (r *Run) ready(w *Workflow, key string) bool {
	for _, need := range w.Needs(key) {
		if r.Result(need) == "" {
			return false
		}
	}
	return true
}

// expand makes the jobs of a key: one for each combination of its matrix, one
// without a matrix, a skipped one if its condition does not hold.
func (r *Run) expand(w *Workflow, m *model.Workflow, key string, now int64) {
	job := m.Jobs[key]
	single := &Job{Key: key, Name: w.JobName(key), State: Queued}
	ev := r.evaluator(m, key, nil)
	run, err := ev.condition(job.If.Value)
	if err != nil {
		single.end(Failure, err.Error(), now)
		r.Jobs = append(r.Jobs, single)
		return
	}
	if !run {
		single.end(Skipped, "", now)
		r.Jobs = append(r.Jobs, single)
		return
	}
	if r.Cancel && !survives(job.If.Value) {
		single.end(Cancelled, "", now)
		r.Jobs = append(r.Jobs, single)
		return
	}
	combinations, err := matrix(ev, job)
	if err != nil {
		single.end(Failure, err.Error(), now)
		r.Jobs = append(r.Jobs, single)
		return
	}
	for i, combination := range combinations {
		leg := &Job{Key: key, Name: w.JobName(key), Index: i, Total: len(combinations), State: Queued, Always: r.Cancel}
		if len(combination) > 0 {
			leg.Matrix = combination
		}
		err := r.describe(w, m, leg)
		if err == nil {
			err = leg.storable()
		}
		if err != nil {
			leg.end(Failure, err.Error(), now)
		} else if leg.Environment != "" || leg.Group != "" {
			leg.State = Waiting
		}
		r.Jobs = append(r.Jobs, leg)
	}
}

// survives reports whether a condition asks for its job in a cancelled run too:
// success() is not true there, which the engine's expressions do not know.
func survives(condition string) bool {
	condition = strings.ToLower(condition)
	return strings.Contains(condition, "always(") || strings.Contains(condition, "cancelled(")
}

// maxLegs of a matrix, as on GitHub, and maxProduct of its lists before exclude
// takes some away.
const (
	maxLegs    = 256
	maxProduct = 1 << 14
)

// bearable has the engine panic at a matrix that it can not read: its own way is
// to end the process.
var bearable = sync.OnceFunc(func() {
	model.OnDecodeNodeError = func(_ yaml.Node, out any, err error) { panic(fmt.Sprintf("%v (wanted: %T)", err, out)) }
})

func matrix(ev evaluator, job *model.Job) (legs []map[string]any, err error) {
	bearable()
	defer func() { // a matrix of another shape makes the engine panic
		if p := recover(); p != nil {
			err = fmt.Errorf("strategy.matrix is not valid: %v", p)
		}
	}()
	if job.Strategy != nil {
		if err := ev.node(&job.Strategy.RawMatrix); err != nil {
			return nil, fmt.Errorf("strategy.matrix: %w", err)
		}
	}
	if n := product(job); n > maxProduct {
		return nil, fmt.Errorf("strategy.matrix has more than %d combinations, and at most %d are run", maxProduct, maxLegs)
	}
	legs, err = job.GetMatrixes()
	switch {
	case err != nil:
		return nil, err
	case len(legs) > maxLegs:
		return nil, fmt.Errorf("strategy.matrix has %d combinations, and at most %d are run", len(legs), maxLegs)
	}
	inOrder(legs, job)
	return legs, nil
}

// product is how many combinations the lists of a matrix have, at most one more
// than maxProduct.
func product(job *model.Job) int {
	n := 1
	if job.Strategy == nil || job.Strategy.RawMatrix.Kind != yaml.MappingNode {
		return n
	}
	content := job.Strategy.RawMatrix.Content
	for i := 1; i < len(content); i += 2 {
		if key := content[i-1].Value; key == "include" || key == "exclude" || content[i].Kind != yaml.SequenceNode {
			continue
		}
		if n *= max(1, len(content[i].Content)); n > maxProduct {
			return maxProduct + 1
		}
	}
	return n
}

// storable refuses what a run can not hold: JSON has no such values. The job
// then holds none of them.
func (j *Job) storable() (err error) {
	if j.TimeoutMinutes < 0 || math.IsNaN(j.TimeoutMinutes) || math.IsInf(j.TimeoutMinutes, 0) {
		err = fmt.Errorf("timeout-minutes: %v is no number of minutes", j.TimeoutMinutes)
		j.TimeoutMinutes = 0
	}
	if _, merr := json.Marshal(j.Matrix); merr != nil {
		err = fmt.Errorf("strategy.matrix has a value that can not be kept: %w", merr)
		j.Matrix = nil
	}
	return err
}

// suffix is what a matrix adds to a job's name.
func suffix(matrix map[string]any) string {
	var values []string
	for _, k := range sortedKeys(matrix) {
		switch v := matrix[k].(type) {
		case map[string]any, []any:
		default:
			values = append(values, display(v))
		}
	}
	if len(values) == 0 {
		return ""
	}
	return " (" + strings.Join(values, ", ") + ")"
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// describe fills in what a job says of itself by expressions.
func (r *Run) describe(w *Workflow, m *model.Workflow, leg *Job) (err error) {
	job := w.job(leg.Key)
	if err := r.evaluator(m, leg.Key, leg).strategy(job.Strategy, leg); err != nil {
		return err
	}
	ev := r.evaluator(m, leg.Key, leg)
	set := func(into *string, s *actionlint.String) {
		if s != nil && err == nil {
			*into, err = ev.text(s.Value)
		}
	}
	if job.Name != nil && job.Name.ContainsExpression() {
		set(&leg.Name, job.Name)
	} else {
		leg.Name += suffix(leg.Matrix)
	}
	if job.Environment != nil {
		set(&leg.Environment, job.Environment.Name)
	}
	if job.Concurrency != nil {
		set(&leg.Group, job.Concurrency.Group)
		leg.CancelInProgress, err = ev.flag(job.Concurrency.CancelInProgress, err)
	}
	leg.ContinueOnError, err = ev.flag(job.ContinueOnError, err)
	if t := job.TimeoutMinutes; t != nil && err == nil {
		leg.TimeoutMinutes = t.Value
		if t.Expression != nil {
			var text string
			if text, err = ev.text(t.Expression.Value); err == nil {
				_, err = fmt.Sscan(text, &leg.TimeoutMinutes)
			}
		}
	}
	if job.RunsOn != nil && err == nil {
		err = ev.runsOn(job.RunsOn)
	}
	return err
}

// runsOn refuses labels that no runner here has.
func (e evaluator) runsOn(on *actionlint.Runner) error {
	labels := on.Labels
	if on.LabelsExpr != nil {
		labels = append(slices.Clone(labels), on.LabelsExpr)
	}
	for _, l := range labels {
		v, err := e.value(l.Value)
		if err != nil {
			return fmt.Errorf("runs-on: %w", err)
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, label := range list {
			if !supported(display(label)) {
				return fmt.Errorf("no runner here has the label %q: use ubuntu-latest or self-hosted", display(label))
			}
		}
	}
	return nil
}

// flag evaluates a boolean, unless there was an error before.
func (e evaluator) flag(b *actionlint.Bool, before error) (bool, error) {
	switch {
	case b == nil || before != nil:
		return false, before
	case b.Expression == nil:
		return b.Value, nil
	}
	text, err := e.text(b.Expression.Value)
	return text == "true", err
}

// Startable lists the queued jobs that may start now.
func (r *Run) Startable() (jobs []*Job) {
	running := map[string]int{}
	for _, j := range r.Jobs {
		if j.State == Running {
			running[j.Key]++
		}
	}
	for _, j := range r.Jobs {
		if j.State != Queued {
			continue
		}
		if j.MaxParallel > 0 && running[j.Key] >= j.MaxParallel {
			continue
		}
		running[j.Key]++
		jobs = append(jobs, j)
	}
	return jobs
}

// settle ends a run all of whose jobs have ended, and says how it stands else. A
// run that had nothing to do is skipped, as its jobs are.
func (r *Run) settle(w *Workflow, now int64) {
	conclusion, state := Skipped, Queued
	for _, key := range w.Jobs() {
		switch r.Result(key) {
		case "":
			conclusion = ""
		case Success:
			if conclusion == Skipped {
				conclusion = Success
			}
		case Failure:
			if conclusion != "" {
				conclusion = Failure
			}
		case Cancelled:
			if conclusion == Success || conclusion == Skipped {
				conclusion = Cancelled
			}
		}
	}
	if conclusion != "" {
		if r.Cancel && conclusion != Failure {
			conclusion = Cancelled
		}
		r.State, r.Conclusion, r.EndedAt = Completed, conclusion, now
		return
	}
	waiting := false
	for _, j := range r.Jobs {
		if j.State == Running || j.State == Completed && j.Conclusion != Skipped {
			state = Running
		}
		waiting = waiting || j.State == Waiting
	}
	if waiting && !slices.ContainsFunc(r.Jobs, func(j *Job) bool { return j.State == Running || j.State == Queued }) {
		state = Waiting
	}
	if state == Running && r.StartedAt == 0 {
		r.StartedAt = now
	}
	r.State = state
}

// Open makes a run of the workflow: its own concurrency group and title are
// evaluated.
func (w *Workflow) Open(r *Run) error {
	m, err := w.model()
	if err != nil {
		return err
	}
	r.Path, r.Name, r.State = w.Path, w.Name, Queued
	keys := w.Jobs()
	if len(keys) == 0 {
		return fmt.Errorf("the workflow has no jobs")
	}
	ev := r.evaluator(m, keys[0], nil)
	if w.ast.RunName != nil && w.ast.RunName.Value != "" {
		if r.Title, err = ev.text(w.ast.RunName.Value); err != nil {
			return fmt.Errorf("run-name: %w", err)
		}
	}
	if c := w.ast.Concurrency; c != nil && c.Group != nil {
		if r.Group, err = ev.text(c.Group.Value); err != nil {
			return fmt.Errorf("concurrency: %w", err)
		}
		r.CancelInProgress, err = ev.flag(c.CancelInProgress, nil)
	}
	return err
}
