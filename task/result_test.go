package task

import "testing"

// TestDecide: what a task said last counts, then how its process ended.
func TestDecide(t *testing.T) {
	good, bad := &event{OK: true, Millis: 5}, &event{}
	raise := &event{EName: "ValueError", EValue: "bad", Traceback: []string{"a", "b"}}
	for _, c := range []struct {
		name    string
		said    summary
		end     ending
		state   string
		code    string
		message string
	}{
		{"finished", summary{finished: good}, ending{}, "SUCCESS", "SUCCESS", ""},
		{"finished, then a crash at exit", summary{finished: good}, ending{Signal: 11}, "SUCCESS", "SUCCESS", ""},
		{"finished before the cancel came", summary{finished: good}, ending{canceled: true, Signal: 9}, "SUCCESS", "SUCCESS", ""},
		{"raised", summary{finished: bad, failure: raise}, ending{Exit: 1}, "FAILED", "RUN_EXECUTION_ERROR", "ValueError: bad"},
		{"raised, no more words", summary{failure: raise}, ending{Exit: 1}, "FAILED", "RUN_EXECUTION_ERROR", "ValueError: bad"},
		{"not ok without a reason", summary{finished: bad}, ending{Exit: 3}, "FAILED", "RUN_EXECUTION_ERROR", "the task failed (exit code 3)"},
		{"silent", summary{}, ending{}, "SUCCESS", "SUCCESS", ""},
		{"silent, a code", summary{}, ending{Exit: 4}, "FAILED", "RUN_EXECUTION_ERROR", "the task's process ended with exit code 4"},
		{"killed", summary{}, ending{Signal: 9}, "FAILED", "RUN_EXECUTION_ERROR", "the task's process was killed by the kernel (out of memory?)"},
		{"keeper killed", summary{}, ending{lost: true}, "FAILED", "RUN_EXECUTION_ERROR", "the task's process was killed by the kernel (out of memory?)"},
		{"terminated", summary{}, ending{Signal: 15}, "FAILED", "RUN_EXECUTION_ERROR", "the task's process was killed by signal 15 (terminated)"},
		{"canceled", summary{failure: raise}, ending{Signal: 9, canceled: true}, "CANCELED", "USER_CANCELED", "Canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := decide(c.said, c.end); r.State != c.state || r.Code != c.code || r.Message != c.message {
				t.Errorf("%+v", r)
			}
		})
	}
	if r := decide(summary{started: 100, exited: true, digest: "d", finished: &event{OK: true}}, ending{At: 150}); r.ExecutionMillis != 50 || !r.Exited || r.SourceDigest != "d" {
		t.Errorf("%+v", r)
	}
}
