package wherry

import (
	"fmt"
	"time"
)

// Plan is what is to be done next in a run. An empty plan means: wait until
// WakeAt, or for something to happen.
type Plan struct {
	// Start holds attempts whose turn has come.
	Start []*TaskRun
	// Settle holds attempts that end here, most of them without having run.
	Settle []Settled
	// Retry holds attempts that failed and are tried again.
	Retry []Retry
	// Cancel holds attempts that run and are to be ended.
	Cancel []Cancellation
	// Slow holds attempts that run longer than their health rule allows, and
	// SlowRun says that of the run: each is told once, and runs on.
	Slow    []*TaskRun
	SlowRun bool
	// Stop is CauseTimeout when the whole run has taken too long, else "".
	Stop string
	// Finish is how the run itself ends, nil if it does not yet.
	Finish *Standing
	// WakeAt is when time alone changes something, in milliseconds since 1970;
	// 0 for never.
	WakeAt int64
}

// Settled is an attempt and how it ended.
type Settled struct {
	Attempt *TaskRun
	Standing
}

// Retry asks for another attempt, not before a time in milliseconds.
type Retry struct {
	Of        *TaskRun
	NotBefore int64
}

// Cancellation asks for the end of an attempt that runs.
type Cancellation struct {
	Attempt *TaskRun
	Cause   string
}

// Empty reports whether there is nothing to do but to wait.
func (p *Plan) Empty() bool {
	return len(p.Start)+len(p.Settle)+len(p.Retry)+len(p.Cancel)+len(p.Slow) == 0 && !p.SlowRun && p.Stop == "" && p.Finish == nil
}

func (p *Plan) wake(at int64) {
	if p.WakeAt == 0 || at < p.WakeAt {
		p.WakeAt = at
	}
}

// maxQueued is how long a run may wait for others to end.
const maxQueued = 48 * time.Hour

// Advance decides what is next in the run at a time in milliseconds since
// 1970, from nothing but the run. Whoever carries the plan out asks again until
// the plan is empty.
func (r *Run) Advance(now int64) Plan {
	a := &advance{Run: r, now: now, latest: r.latest()}
	switch {
	case r.Terminal():
	case r.State == Queued:
		a.queued()
	default:
		a.active()
	}
	return a.plan
}

type advance struct {
	*Run
	now    int64
	latest latest
	plan   Plan
	open   bool // something is not at its end
}

func (a *advance) queued() {
	end := a.QueuedAt + maxQueued.Milliseconds()
	if a.now < end {
		a.plan.wake(end)
		return
	}
	for _, t := range a.Attempts {
		if !t.Terminal() {
			a.settle(t, Standing{State: Terminated, Result: ResultCanceled, Code: TermSkipped, Message: "The run was skipped."})
		}
	}
	a.plan.Finish = &Standing{
		State: Terminated, Result: ResultMaxConcurrent, Code: TermMaxConcurrent,
		Message: "The run waited in the queue for 48 hours.",
	}
}

func (a *advance) active() {
	start := a.StartTime
	if n := len(a.Repairs); n > 0 {
		start = a.Repairs[n-1].StartTime
	}
	if a.Settings.TimeoutSeconds > 0 && a.Cause == "" {
		end := start + a.Settings.TimeoutSeconds*1000
		if a.now >= end {
			a.plan.Stop = CauseTimeout
			return
		}
		a.plan.wake(end)
	}
	a.plan.SlowRun = a.slow(a.Settings.SlowAfter(), start, a.Warned)
	for i := range a.Settings.Tasks {
		t := &a.Settings.Tasks[i]
		run := a.latest.tasks[t.Key]
		if run == nil {
			continue // not part of a partial run
		}
		a.attempt(t, run, a.Cause, func() {
			if run.State == Waiting {
				a.plan.Start = append(a.plan.Start, run)
			} else {
				a.decide(t, run)
			}
		})
		if t.ForEach != nil && run.live() {
			a.iterations(&t.ForEach.Task, t.ForEach.Concurrency, run)
		}
	}
	if !a.open && a.plan.Empty() {
		s := a.result()
		a.plan.Finish = &s
	}
}

// attempt looks at the last attempt of a task; turn is called if it may be its
// turn. cause is why everything around the task ends, "" if it does not.
func (a *advance) attempt(t *Task, run *TaskRun, cause string, turn func()) {
	if run.Terminal() {
		if cause == "" && a.retryable(t, run) {
			a.open = true
			a.plan.Retry = append(a.plan.Retry, Retry{run, max(a.now, run.StartTime+t.MinRetryInterval)})
		}
		return
	}
	a.open = true
	if cause == "" {
		cause = run.Cause
	}
	if run.live() && a.slow(t.SlowAfter(), run.StartTime, run.Warned) {
		a.plan.Slow = append(a.plan.Slow, run)
	}
	switch {
	case cause != "" && !run.live():
		s := Cancelled(cause)
		if a.Cause == CauseTimeout { // a task that never ran did not time out: the run did
			s = Standing{State: Terminated, Result: ResultCanceled, Code: TermCanceled, Message: "The run timed out."}
		}
		a.settle(run, s)
	case cause != "":
		if run.State != Terminating {
			a.plan.Cancel = append(a.plan.Cancel, Cancellation{run, cause})
		}
	case run.State == Blocked:
		turn()
	case run.State == Waiting:
		if run.NotBefore <= a.now {
			turn()
		} else {
			a.plan.wake(run.NotBefore)
		}
	case t.TimeoutSeconds > 0:
		if end := run.StartTime + t.TimeoutSeconds*1000; a.now >= end {
			a.plan.Cancel = append(a.plan.Cancel, Cancellation{run, CauseTimeout})
		} else {
			a.plan.wake(end)
		}
	}
}

// slow reports whether what began at start takes longer than it may.
func (a *advance) slow(after, start int64, warned bool) bool {
	if after == 0 || warned {
		return false
	}
	if a.now > start+after {
		return true
	}
	a.plan.wake(start + after + 1)
	return false
}

func (a *advance) settle(run *TaskRun, s Standing) {
	a.plan.Settle = append(a.plan.Settle, Settled{run, s})
}

// retryable reports whether a terminal attempt is followed by another one.
func (r *Run) retryable(t *Task, run *TaskRun) bool {
	if t.MaxRetries == 0 || t.Condition != nil || run.Repair != len(r.Repairs) {
		return false
	}
	if run.Result != ResultFailed && (run.Result != ResultTimedOut || !t.RetryOnTimeout) {
		return false
	}
	if t.MaxRetries < 0 {
		return true
	}
	return r.tries(run) <= t.MaxRetries
}

// tries counts the attempts of a task, or of one element of it, in the run or
// repair that an attempt belongs to, up to that attempt.
func (r *Run) tries(of *TaskRun) (n int) {
	for _, o := range r.Attempts {
		if o.Key == of.Key && o.ParentID == of.ParentID && o.Iteration == of.Iteration && o.Repair == of.Repair && o.Number <= of.Number {
			n++
		}
	}
	return n
}

// ended reports whether a task is at its end for good.
func (a *advance) ended(t *Task, run *TaskRun) bool {
	return run.Terminal() && (a.Cause != "" || !a.retryable(t, run))
}

// decide applies disabled, depends_on and run_if to a task that waits.
func (a *advance) decide(t *Task, run *TaskRun) {
	if t.Disabled {
		a.settle(run, Standing{State: Terminated, Result: ResultDisabled, Code: TermDisabled, Message: "The task is disabled."})
		return
	}
	var up upstream
	for _, d := range t.DependsOn {
		dep, settings := a.latest.tasks[d.TaskKey], a.Settings.Task(d.TaskKey)
		if dep == nil || settings == nil {
			continue // left out of a partial run
		}
		if !a.ended(settings, dep) {
			return
		}
		up.add(d, dep)
	}
	if s, ok := up.decide(t.RunIf); ok {
		a.plan.Start = append(a.plan.Start, run)
	} else {
		a.settle(run, s)
	}
}

// upstream counts the dependencies of a task by how they ended.
type upstream struct {
	total, succeeded, failed, excluded, canceled int
	otherOutcome                                 string // a condition task that took the other branch
	firstFailed, firstCanceled                   string
}

func (u *upstream) add(d Dependency, dep *TaskRun) {
	u.total++
	switch c := dep.class(); {
	case c == succeeded && d.Outcome != "" && dep.Outcome != d.Outcome:
		u.excluded++
		u.otherOutcome = d.TaskKey
	case c == succeeded:
		u.succeeded++
	case c == excluded:
		u.excluded++
	case c == canceled:
		u.canceled++
		u.firstCanceled = first(u.firstCanceled, d.TaskKey)
	default:
		u.failed++
		u.firstFailed = first(u.firstFailed, d.TaskKey)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// decide is the truth table of run_if: ok to run, else how the task ends.
// Excluded dependencies count as successes, but for that a task is excluded
// with all its dependencies; a cancellation propagates, but not to a task that
// handles failures.
func (u *upstream) decide(runIf string) (s Standing, ok bool) {
	if u.total == 0 {
		return s, true
	}
	if u.excluded == u.total {
		if u.otherOutcome != "" {
			return excludedBy(fmt.Sprintf("The condition task %q took the other branch.", u.otherOutcome)), false
		}
		return excludedBy("All upstream tasks are excluded."), false
	}
	switch runIf {
	case AllDone:
		return s, true
	case AtLeastOneSuccess:
		ok = u.succeeded+u.excluded > 0
	case NoneFailed:
		ok = u.failed == 0 && u.succeeded > 0
	case AtLeastOneFailed:
		if u.failed+u.canceled > 0 {
			return s, true
		}
		return excludedBy("No upstream task failed."), false
	case AllFailed:
		if u.failed+u.canceled == u.total {
			return s, true
		}
		return excludedBy("Not all upstream tasks failed."), false
	default: // ALL_SUCCESS
		ok = u.failed == 0 && u.canceled == 0
		if ok && u.otherOutcome != "" {
			return excludedBy(fmt.Sprintf("The condition task %q took the other branch.", u.otherOutcome)), false
		}
	}
	if ok {
		return s, true
	}
	if u.failed > 0 {
		return Standing{
			State: Terminated, Result: ResultUpstreamFailed, Code: TermSkipped,
			Message: fmt.Sprintf("Upstream task %q failed.", u.firstFailed),
		}, false
	}
	return Standing{
		State: Terminated, Result: ResultUpstreamCanceled, Code: TermSkipped,
		Message: fmt.Sprintf("Upstream task %q was cancelled.", u.firstCanceled),
	}, false
}

func excludedBy(why string) Standing {
	return Standing{State: Terminated, Result: ResultExcluded, Code: TermSkipped, Message: why}
}

// Cancelled is how something ends that was told to.
func Cancelled(cause string) Standing {
	if cause == CauseTimeout {
		return Standing{State: Terminated, Result: ResultTimedOut, Code: TermCanceled, Cause: cause, Message: "The run timed out."}
	}
	return Standing{State: Terminated, Result: ResultCanceled, Code: TermUserCanceled, Cause: cause, Message: "The run was cancelled."}
}

// iterations looks at a for_each attempt that runs: starts as many iterations
// as it may, and ends with the last of them.
func (a *advance) iterations(nested *Task, concurrency int, parent *TaskRun) {
	list := a.latest.iterations[parent.ID]
	if parent.State == Pending {
		return
	}
	cause := ""
	if parent.State == Terminating {
		cause = parent.Cause
	}
	free := max(concurrency, 1)
	for _, it := range list {
		if it.live() {
			free--
		}
	}
	done, failures, cancellations := 0, 0, 0
	for _, it := range list {
		before := len(a.plan.Start)
		a.attempt(nested, it, cause, func() {
			if free > 0 {
				a.plan.Start = append(a.plan.Start, it)
			}
		})
		free -= len(a.plan.Start) - before
		if it.Terminal() && (cause != "" || !a.retryable(nested, it)) {
			done++
			switch it.class() {
			case failed:
				failures++
			case canceled:
				cancellations++
			}
		}
	}
	if done < len(list) {
		return
	}
	a.settle(parent, forEachResult(cause, len(list), failures, cancellations))
}

func forEachResult(cause string, total, failures, cancellations int) Standing {
	switch {
	case cause != "":
		return Cancelled(cause)
	case failures > 0:
		return Standing{
			State: Terminated, Result: ResultFailed, Code: TermExecutionError,
			Message: fmt.Sprintf("%d of %d iterations failed.", failures, total),
		}
	case cancellations > 0:
		return Standing{
			State: Terminated, Result: ResultCanceled, Code: TermUserCanceled,
			Message: fmt.Sprintf("%d of %d iterations were cancelled.", cancellations, total),
		}
	}
	return Standing{State: Terminated, Result: ResultSuccess, Code: TermSuccess}
}

// result is how a run ends whose tasks are all at their end: the leaves, tasks
// that no other depends on, decide.
func (a *advance) result() Standing {
	if a.Cause != "" {
		return Cancelled(a.Cause)
	}
	leaf := map[string]bool{}
	for key := range a.latest.tasks {
		leaf[key] = true
	}
	for _, t := range a.Settings.Tasks {
		for _, d := range t.DependsOn {
			if a.latest.tasks[t.Key] != nil {
				delete(leaf, d.TaskKey)
			}
		}
	}
	var leafFailed, leafCanceled, anyBad bool
	var root *TaskRun // the failure that explains the others
	for _, t := range a.Settings.Tasks {
		run := a.latest.tasks[t.Key]
		if run == nil {
			continue
		}
		c := run.class()
		anyBad = anyBad || c == failed || c == canceled
		leafFailed = leafFailed || c == failed && leaf[t.Key]
		leafCanceled = leafCanceled || c == canceled && leaf[t.Key]
		if c == failed && (root == nil && run.Result != ResultUpstreamFailed) {
			root = run
		}
	}
	switch {
	case leafFailed:
		return failedBy(root)
	case leafCanceled:
		return Cancelled(CauseUser)
	case anyBad:
		return Standing{
			State: Terminated, Result: ResultSuccessWithFailures, Code: TermSuccessWithFailures,
			Message: "Some tasks failed, and every task without dependents succeeded.",
		}
	}
	return Standing{State: Terminated, Result: ResultSuccess, Code: TermSuccess}
}

func failedBy(root *TaskRun) Standing {
	s := Standing{State: Terminated, Result: ResultFailed, Code: TermExecutionError, Message: "A task failed."}
	if root == nil {
		return s
	}
	s.Message = fmt.Sprintf("Task %s failed with message: %s", root.Key, first(root.Message, "Workload failed, see run output for details."))
	if root.Result == ResultFailed && root.Code != "" {
		s.Code = root.Code
	}
	return s
}
