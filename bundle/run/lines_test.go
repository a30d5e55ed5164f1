package run

import (
	"regexp"
	"strings"
	"testing"
)

// A line for each change; what was said of a task is said once.
func TestLines(t *testing.T) {
	var out strings.Builder
	show := lines(&out)
	for _, task := range []Task{
		{LifeCycle: "BLOCKED"},
		{LifeCycle: "PENDING"},
		{LifeCycle: "PENDING", Message: "4 cores are capped at 2; starting compute"},
		{LifeCycle: "RUNNING", Message: "4 cores are capped at 2"},
		{LifeCycle: "RUNNING", Message: "4 cores are capped at 2; starting Spark"},
		{LifeCycle: "RUNNING", Message: "4 cores are capped at 2"},
		{LifeCycle: "TERMINATED", State: "SUCCESS", Message: "", ExecutionMS: 2000},
		{LifeCycle: "TERMINATED", State: "SUCCESS", Message: "", ExecutionMS: 2000},
	} {
		task.Key = "a"
		show(&Result{Tasks: []Task{task}})
	}
	got := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `).ReplaceAllString(out.String(), "")
	want := `a: PENDING
a: PENDING 4 cores are capped at 2; starting compute
a: RUNNING
a: RUNNING starting Spark
a: SUCCESS 2.0 s
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// What a task coloured is coloured on a terminal, and plain in a file.
func TestReportColours(t *testing.T) {
	r := &Result{RunID: 1, State: "SUCCESS", Tasks: []Task{{Key: "a", Output: "\x1b[38;5;208mmind\x1b[0m"}}}
	for _, colour := range []bool{false, true} {
		var out strings.Builder
		report(&out, r, colour)
		if strings.Contains(out.String(), "\x1b") != colour || !strings.Contains(out.String(), "mind") {
			t.Errorf("colour %v: %q", colour, out.String())
		}
	}
}
