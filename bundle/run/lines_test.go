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
	const red, link = "\x1b[31mbad\x1b[0m", "\x1b[?25l\x1b]8;;http://a\x1b\\here\x1b]8;;\x07\x1b[K"
	r := &Result{RunID: 1, State: "FAILED", Message: red, Tasks: []Task{{Key: "a", Output: link, Error: red, Trace: link + red}}}
	for _, colour := range []bool{false, true} {
		var out strings.Builder
		report(&out, r, colour)
		text := out.String()
		if strings.Contains(text, "\x1b") != colour || strings.Count(text, "bad") != 3 || strings.Count(text, "here") != 2 {
			t.Errorf("colour %v: %q", colour, text)
		}
	}
}
