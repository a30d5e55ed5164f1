package wherry

// State is where a job run or a task run is. It is the one state that is
// stored; the Jobs API's two renderings of it are Legacy and Status.
type State string

// States. Only Terminated is terminal; how it ended is in Result and Code.
const (
	Queued      State = "QUEUED"      // a job run that waits for another to end
	Blocked     State = "BLOCKED"     // a task that waits for its upstream tasks
	Pending     State = "PENDING"     // compute is being prepared
	Running     State = "RUNNING"     // user code runs
	Waiting     State = "WAITING"     // between two attempts
	Terminating State = "TERMINATING" // being cancelled
	Terminated  State = "TERMINATED"
)

// Termination codes of the Jobs API that the engine itself decides on.
const (
	TermSuccess             = "SUCCESS"
	TermSuccessWithFailures = "SUCCESS_WITH_FAILURES"
	TermUserCanceled        = "USER_CANCELED"
	TermCanceled            = "CANCELED"
	TermSkipped             = "SKIPPED"
	TermDisabled            = "DISABLED"
	TermExecutionError      = "RUN_EXECUTION_ERROR"
	TermInternalError       = "INTERNAL_ERROR"
	TermDriverError         = "DRIVER_ERROR"
	TermClusterError        = "CLUSTER_ERROR"
	TermInvalidCluster      = "INVALID_CLUSTER_REQUEST"
	TermLibrary             = "LIBRARY_INSTALLATION_ERROR"
	TermNotFound            = "RESOURCE_NOT_FOUND"
	TermInvalidRun          = "INVALID_RUN_CONFIGURATION"
	TermMaxConcurrent       = "MAX_CONCURRENT_RUNS_EXCEEDED"
	TermQueueSize           = "MAX_JOB_QUEUE_SIZE_EXCEEDED"
)

// Standing is the stored state with what explains it.
type Standing struct {
	State   State
	Result  string // a Result* constant once terminated, else ""
	Code    string // a Term* constant once terminated or terminating, else ""
	Message string
	// Cause says who asked for the end of a run that is terminating or was
	// cancelled: CauseUser, CauseTimeout or "".
	Cause string
}

// Causes of a cancellation.
const (
	CauseUser    = "user"
	CauseTimeout = "timeout"
)

// Terminal reports whether nothing will change any more but for a repair.
func (s Standing) Terminal() bool { return s.State == Terminated }

// LegacyState is the `state` object of the Jobs API: deprecated, and what all
// waiters read.
type LegacyState struct {
	LifeCycle   string `json:"life_cycle_state"`
	Result      string `json:"result_state,omitempty"`
	Message     string `json:"state_message"`
	Cancelled   bool   `json:"user_cancelled_or_timedout"`
	QueueReason string `json:"queue_reason,omitempty"`
}

// RunStatus is the `status` object of the Jobs API.
type RunStatus struct {
	State       string              `json:"state"`
	Queue       *QueueDetails       `json:"queue_details,omitempty"`
	Termination *TerminationDetails `json:"termination_details,omitempty"`
}

// QueueDetails says why a run waits.
type QueueDetails struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// TerminationDetails says how a run ended.
type TerminationDetails struct {
	Code    string `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

const queueReason = "Queued due to reaching maximum concurrent runs of the job."

// Legacy renders the deprecated state.
func (s Standing) Legacy() LegacyState {
	l := LegacyState{LifeCycle: string(s.State), Message: s.Message}
	switch s.State {
	case Queued:
		l.QueueReason = queueReason
	case Waiting:
		l.LifeCycle = "WAITING_FOR_RETRY"
	case Terminated:
		l.LifeCycle, l.Result = lifeCycle(s.Result, s.Code), s.Result
		l.Cancelled = s.Result == ResultCanceled || s.Result == ResultTimedOut
	}
	return l
}

func lifeCycle(result, code string) string {
	switch result {
	case ResultMaxConcurrent, ResultExcluded, ResultUpstreamFailed, ResultUpstreamCanceled, ResultDisabled:
		return "SKIPPED"
	case ResultFailed:
		if code != TermExecutionError {
			return "INTERNAL_ERROR"
		}
	}
	return "TERMINATED"
}

// Status renders the newer status.
func (s Standing) Status() RunStatus {
	r := RunStatus{State: string(s.State)}
	switch s.State {
	case Queued:
		r.Queue = &QueueDetails{Code: "MAX_CONCURRENT_RUNS_REACHED", Message: queueReason}
	case Terminating, Terminated:
		code := s.Code
		if code == "" {
			code = codeOf(s.Result, s.Cause)
		}
		r.Termination = &TerminationDetails{Code: code, Type: terminationType(s.Result, code), Message: s.Message}
	}
	return r
}

// codeOf is the termination code of a result that carries none of its own.
func codeOf(result, cause string) string {
	switch result {
	case ResultSuccess:
		return TermSuccess
	case ResultSuccessWithFailures:
		return TermSuccessWithFailures
	case ResultFailed:
		return TermExecutionError
	case ResultTimedOut:
		return TermCanceled
	case ResultMaxConcurrent:
		return TermMaxConcurrent
	case ResultExcluded, ResultUpstreamFailed, ResultUpstreamCanceled:
		return TermSkipped
	case ResultDisabled:
		return TermDisabled
	}
	if cause == CauseTimeout {
		return TermCanceled
	}
	return TermUserCanceled
}

func terminationType(result, code string) string {
	switch result {
	case ResultSuccess, ResultSuccessWithFailures, ResultExcluded, ResultDisabled:
		return "SUCCESS"
	}
	switch code {
	case TermInternalError, TermDriverError:
		return "INTERNAL_ERROR"
	case "CLOUD_FAILURE":
		return "CLOUD_FAILURE"
	}
	return "CLIENT_ERROR"
}

// outcome classes of a terminal task, as its downstream tasks count it.
type class int

const (
	succeeded class = iota
	failed
	excluded
	canceled
)

func (s Standing) class() class {
	switch s.Result {
	case ResultSuccess, ResultSuccessWithFailures:
		return succeeded
	case ResultExcluded, ResultDisabled:
		return excluded
	case ResultCanceled, ResultUpstreamCanceled:
		return canceled
	default:
		return failed
	}
}
