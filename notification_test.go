package wherry

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func slowAfter(seconds int) map[string]any {
	return map[string]any{"rules": []map[string]any{{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": seconds}}}
}

// TestReceivers is the matrix of who is told of which end.
func TestReceivers(t *testing.T) {
	const both = `"email_notifications": {"on_start": ["s@x"], "on_success": ["ok@x"], "on_failure": ["bad@x"]}, "webhook_notifications": {"on_failure": [{"id": "h"}]}`
	for _, test := range []struct {
		settings string
		end      string
		want     string // addresses, then destinations
	}{
		{both, ResultSuccess, "ok@x"},
		{both, ResultSuccessWithFailures, "ok@x"},
		{both, ResultFailed, "bad@x h"},
		{both, ResultTimedOut, "bad@x h"},
		{both, ResultCanceled, "bad@x h"},
		{both, ResultMaxConcurrent, "bad@x h"},
		{both, ResultUpstreamFailed, "bad@x h"},
		{both, ResultUpstreamCanceled, "bad@x h"},
		{both, ResultExcluded, ""},
		{both, ResultDisabled, ""},
		{both, "", "s@x"}, // the start
		{both + `, "notification_settings": {"no_alert_for_canceled_runs": true}`, ResultCanceled, ""},
		{both + `, "notification_settings": {"no_alert_for_canceled_runs": true}`, ResultMaxConcurrent, "bad@x h"},
		{both + `, "notification_settings": {"no_alert_for_skipped_runs": true}`, ResultMaxConcurrent, ""},
		{both + `, "notification_settings": {"no_alert_for_skipped_runs": true}`, ResultUpstreamFailed, ""},
		{both + `, "notification_settings": {"no_alert_for_skipped_runs": true}`, ResultFailed, "bad@x h"},
		{strings.Replace(both, `{"on_start"`, `{"no_alert_for_skipped_runs": true, "on_start"`, 1), ResultMaxConcurrent, "h"},
		{`"email_notifications": {}`, ResultFailed, ""},
		{`"health": null`, ResultFailed, ""},
	} {
		var s JobSettings
		if err := json.Unmarshal([]byte("{"+test.settings+"}"), &s); err != nil {
			t.Fatal(err)
		}
		end := Standing{State: Terminated, Result: test.end}
		event := end.Told()
		if test.end == "" {
			event = OnStart
		}
		emails, hooks := s.Receivers(event, end)
		if got := strings.Join(append(emails, hooks...), " "); got != test.want {
			t.Errorf("%s with %s tells %q, want %q", test.end, test.settings, got, test.want)
		}
	}
}

func TestSlow(t *testing.T) {
	r := &Run{Standing: Standing{State: Pending}, StartTime: 1000}
	doc, err := json.Marshal(map[string]any{"health": slowAfter(10), "tasks": []any{map[string]any{"task_key": "a", "health": slowAfter(5)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, &r.Settings); err != nil {
		t.Fatal(err)
	}
	r.Attempts = []*TaskRun{{ID: 1, Key: "a", Standing: Standing{State: Blocked}}}
	p := simulate(r, 1000, nil)
	if r.Warned || r.Attempts[0].Warned || p.WakeAt != 6001 {
		t.Errorf("at the start: %v %v, wakes at %d", r.Warned, r.Attempts[0].Warned, p.WakeAt)
	}
	p = simulate(r, 6001, nil)
	if r.Warned || !r.Attempts[0].Warned || p.WakeAt != 11001 {
		t.Errorf("after 5 s: %v %v, wakes at %d", r.Warned, r.Attempts[0].Warned, p.WakeAt)
	}
	p = simulate(r, 20_000, nil)
	if !r.Warned || p.WakeAt != 0 || r.Terminal() {
		t.Errorf("after 19 s: %v, wakes at %d, %s", r.Warned, p.WakeAt, r.State)
	}
}

func TestLastAttempt(t *testing.T) {
	r := &Run{Standing: Standing{State: Running}}
	if err := json.Unmarshal([]byte(`{"tasks": [{"task_key": "a", "max_retries": 1}]}`), &r.Settings); err != nil {
		t.Fatal(err)
	}
	r.Attempts = []*TaskRun{{ID: 1, Key: "a", Standing: ends(ResultFailed)}, {ID: 2, Key: "a", Number: 1, Standing: ends(ResultFailed)}}
	got := []bool{r.Retries(r.Attempts[0]), r.Repeated(r.Attempts[0]), r.Retries(r.Attempts[1]), r.Repeated(r.Attempts[1])}
	if !reflect.DeepEqual(got, []bool{true, false, false, true}) {
		t.Errorf("first and second attempt: %v", got)
	}
	r.Cause = CauseUser
	if r.Retries(r.Attempts[0]) {
		t.Error("an attempt of a cancelled run is tried again")
	}
}

func TestNotificationRefusals(t *testing.T) {
	for doc, want := range map[string]string{
		`{"webhook_notifications": {"on_start": [{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]}}`:                                         "webhook_notifications.on_start names 4 destinations",
		`{"webhook_notifications": {"on_start": [{}]}}`:                                                                                  "has no id",
		`{"health": {"rules": [{"metric": "MOOD", "op": "GREATER_THAN", "value": 1}]}}`:                                                  `the metric "MOOD"`,
		`{"health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "LESS_THAN", "value": 1}]}}`:                                     "op is GREATER_THAN",
		`{"tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a"}, "webhook_notifications": {"on_failure": [{"id":""}]}}]}`: `task "a": webhook_notifications.on_failure`,
	} {
		var s JobSettings
		if err := json.Unmarshal([]byte(doc), &s); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
