package wherry

import (
	"fmt"
	"slices"
)

// Notifications say whom a job or a task tells of its runs, and what is too
// slow. They are fields of both.
type Notifications struct {
	Email        *EmailNotifications   `json:"email_notifications"`
	Webhook      *WebhookNotifications `json:"webhook_notifications"`
	Notification *NotificationSettings `json:"notification_settings"`
	Health       *Health               `json:"health"`
}

// EmailNotifications are e-mail addresses by what happens to a run.
type EmailNotifications struct {
	OnStart   []string `json:"on_start"`
	OnSuccess []string `json:"on_success"`
	OnFailure []string `json:"on_failure"`
	OnSlow    []string `json:"on_duration_warning_threshold_exceeded"`
	OnBacklog []string `json:"on_streaming_backlog_exceeded"` // kept: no streams are watched
	// NoAlertForSkipped is the older place of the field in NotificationSettings;
	// it mutes e-mails only.
	NoAlertForSkipped bool `json:"no_alert_for_skipped_runs"`
}

// WebhookNotifications are ids of destinations by what happens to a run.
type WebhookNotifications struct {
	OnStart   []Webhook `json:"on_start"`
	OnSuccess []Webhook `json:"on_success"`
	OnFailure []Webhook `json:"on_failure"`
	OnSlow    []Webhook `json:"on_duration_warning_threshold_exceeded"`
	OnBacklog []Webhook `json:"on_streaming_backlog_exceeded"`
}

// Webhook names a notification destination.
type Webhook struct {
	ID string `json:"id"`
}

// NotificationSettings mute notifications. A job's are not inherited by its
// tasks.
type NotificationSettings struct {
	NoAlertForSkipped  bool `json:"no_alert_for_skipped_runs"`
	NoAlertForCanceled bool `json:"no_alert_for_canceled_runs"`
	// AlertOnLastAttempt is for tasks: the start of the first attempt and the
	// failure of the last one are told, those between are not.
	AlertOnLastAttempt bool `json:"alert_on_last_attempt"`
}

// Health holds what a run is expected to keep to.
type Health struct {
	Rules []HealthRule `json:"rules"`
}

// HealthRule is one expectation.
type HealthRule struct {
	Metric string `json:"metric"`
	Op     string `json:"op"` // GREATER_THAN only
	Value  Int64  `json:"value"`
}

// metricDuration is the metric of the one rule that is watched.
const metricDuration = "RUN_DURATION_SECONDS"

// What is told of a run, as the Jobs API names it.
const (
	OnStart   = "on_start"
	OnSuccess = "on_success"
	OnFailure = "on_failure"
	OnSlow    = "on_duration_warning_threshold_exceeded"
)

// maxWebhooks is the documented number of destinations for each event.
const maxWebhooks = 3

// Told is the event that the end of a run or of an attempt is told as, "" for
// an end that is none of a run: a branch that was not taken, a disabled task.
func (s Standing) Told() string {
	switch s.Result {
	case ResultSuccess, ResultSuccessWithFailures:
		return OnSuccess
	case "", ResultExcluded, ResultDisabled:
		return ""
	default:
		return OnFailure
	}
}

// Receivers are the e-mail addresses and the ids of destinations that are told
// of an event; end is how the run ended, for OnFailure.
func (n *Notifications) Receivers(event string, end Standing) (emails, destinations []string) {
	var mute NotificationSettings
	if n.Notification != nil {
		mute = *n.Notification
	}
	skipped := event == OnFailure && slices.Contains([]string{ResultMaxConcurrent, ResultUpstreamFailed, ResultUpstreamCanceled}, end.Result)
	if skipped && mute.NoAlertForSkipped || event == OnFailure && end.Result == ResultCanceled && mute.NoAlertForCanceled {
		return nil, nil
	}
	if e := n.Email; e != nil && !(skipped && e.NoAlertForSkipped) {
		emails = map[string][]string{OnStart: e.OnStart, OnSuccess: e.OnSuccess, OnFailure: e.OnFailure, OnSlow: e.OnSlow}[event]
	}
	if w := n.Webhook; w != nil {
		for _, hook := range map[string][]Webhook{OnStart: w.OnStart, OnSuccess: w.OnSuccess, OnFailure: w.OnFailure, OnSlow: w.OnSlow}[event] {
			destinations = append(destinations, hook.ID)
		}
	}
	return emails, destinations
}

// SlowAfter is after how many milliseconds a run is told of as slow, 0 for
// never.
func (n *Notifications) SlowAfter() (ms int64) {
	if n.Health == nil {
		return 0
	}
	for _, r := range n.Health.Rules {
		if after := int64(r.Value) * 1000; r.Metric == metricDuration && after > 0 && (ms == 0 || after < ms) {
			ms = after
		}
	}
	return ms
}

// notEffective reports what of n is kept and does nothing.
func (n *Notifications) notEffective() (backlog bool) {
	backlog = n.Email != nil && len(n.Email.OnBacklog) > 0 || n.Webhook != nil && len(n.Webhook.OnBacklog) > 0
	return backlog || n.Health != nil && slices.ContainsFunc(n.Health.Rules, func(r HealthRule) bool { return r.Metric != metricDuration })
}

// validate names what is wrong; where is "" for a job, else its task.
func (n *Notifications) validate(where string) error {
	bad := func(format string, args ...any) error {
		return Errorf(CodeInvalidParameter, "%s", where+fmt.Sprintf(format, args...))
	}
	if w := n.Webhook; w != nil {
		for event, list := range map[string][]Webhook{OnStart: w.OnStart, OnSuccess: w.OnSuccess, OnFailure: w.OnFailure, OnSlow: w.OnSlow} {
			if len(list) > maxWebhooks {
				return bad("webhook_notifications.%s names %d destinations: at most %d are allowed", event, len(list), maxWebhooks)
			}
			if slices.Contains(list, Webhook{}) {
				return bad("webhook_notifications.%s: a destination has no id", event)
			}
		}
	}
	if n.Health == nil {
		return nil
	}
	metrics := []string{metricDuration, "STREAMING_BACKLOG_BYTES", "STREAMING_BACKLOG_RECORDS", "STREAMING_BACKLOG_SECONDS", "STREAMING_BACKLOG_FILES"}
	for _, r := range n.Health.Rules {
		switch {
		case !slices.Contains(metrics, r.Metric):
			return bad("health.rules: the metric %q is none of %v", r.Metric, metrics)
		case r.Op != "GREATER_THAN":
			return bad("health.rules: op is GREATER_THAN, not %q", r.Op)
		case r.Value < 0:
			return bad("health.rules: the value of %s must not be negative", r.Metric)
		}
	}
	return nil
}

// Retries reports whether an attempt that has ended is followed by another one.
func (r *Run) Retries(t *TaskRun) bool {
	task := r.TaskOf(t)
	if parent := r.Attempt(t.ParentID); parent != nil && parent.Cause != "" {
		return false
	}
	return task != nil && t.Terminal() && r.Cause == "" && r.retryable(task, t)
}

// Repeated reports whether an attempt is not the first one of its task in this
// run or repair.
func (r *Run) Repeated(t *TaskRun) bool { return r.tries(t) > 1 }
