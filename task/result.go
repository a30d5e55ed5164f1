package task

import (
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry"
)

// event is the part of an event line that decides the result; the outputs of
// cells pass through unread.
type event struct {
	Type      string          `json:"type"`
	T         int64           `json:"t"`
	Value     json.RawMessage `json:"value"`
	Digest    string          `json:"digest"`
	EName     string          `json:"ename"`
	EValue    string          `json:"evalue"`
	Traceback []string        `json:"traceback"`
	OK        bool            `json:"ok"`
	Millis    int64           `json:"execution_ms"`
	Text      string          `json:"text"`
}

// summary is what the events of a task said, the newest of each kind.
type summary struct {
	started  int64
	failure  *event
	finished *event
	digest   string
	exited   bool
	exit     string
}

func (s *summary) add(e event) {
	switch e.Type {
	case "started":
		s.started = e.T
	case "executed":
		s.digest = e.Digest
	case "exit":
		s.exited = true
		if json.Unmarshal(e.Value, &s.exit) != nil {
			s.exit = string(e.Value)
		}
	case "error":
		s.failure = &e
	case "finished":
		s.finished = &e
	}
}

// ending is how the process ended.
type ending struct {
	Exit   int   `json:"exit"`
	Signal int   `json:"signal"`
	At     int64 `json:"-"` // milliseconds since 1970
	// lost means that the process which watches over the task vanished.
	lost     bool
	canceled bool
}

// decide says how a task ended: what it said last counts; if it could not say
// anything, how its process ended.
func decide(s summary, e ending) wherry.Result {
	r := wherry.Result{SourceDigest: s.digest, ExitValue: s.exit, Exited: s.exited}
	if s.started > 0 {
		r.ExecutionMillis = max(0, e.At-s.started)
	}
	if s.finished != nil && s.finished.Millis > 0 {
		r.ExecutionMillis = s.finished.Millis
	}
	switch {
	case s.finished != nil && s.finished.OK:
		r.State, r.Code = wherry.ResultSuccess, "SUCCESS"
	case e.canceled:
		r.State, r.Code, r.Message = wherry.ResultCanceled, "USER_CANCELED", "Canceled"
	case s.finished != nil || s.failure != nil:
		raised(&r, s.failure, e)
	case e.lost || e.Signal != 0:
		failed(&r, killed(e))
	case e.Exit != 0:
		failed(&r, fmt.Sprintf("the task's process ended with exit code %d", e.Exit))
	default:
		r.State, r.Code = wherry.ResultSuccess, "SUCCESS"
	}
	return r
}

func failed(r *wherry.Result, message string) {
	r.State, r.Code, r.Message, r.Error = wherry.ResultFailed, "RUN_EXECUTION_ERROR", message, message
}

func raised(r *wherry.Result, e *event, end ending) {
	if e == nil {
		failed(r, fmt.Sprintf("the task failed (exit code %d)", end.Exit))
		return
	}
	message := e.EName
	if e.EValue != "" {
		message = strings.TrimPrefix(e.EName+": "+e.EValue, ": ")
	}
	failed(r, message)
	r.Trace = strings.Join(e.Traceback, "\n")
}

func killed(e ending) string {
	switch sig := unix.Signal(e.Signal); {
	case e.lost, sig == unix.SIGKILL:
		return "the task's process was killed by the kernel (out of memory?)"
	default:
		return fmt.Sprintf("the task's process was killed by signal %d (%s)", e.Signal, sig)
	}
}
