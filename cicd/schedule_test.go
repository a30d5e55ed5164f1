package cicd

import (
	"testing"
	"time"
)

// TestNextFire: POSIX cron as GitHub reads it, in UTC; either day will do where
// both are given. 2026-11-29 is a Sunday.
func TestNextFire(t *testing.T) {
	at := time.Date(2026, 11, 29, 0, 30, 0, 0, time.UTC)
	for expression, want := range map[string]string{
		"0 1 * * *":    "2026-11-29T01:00:00Z",
		"*/15 * * * *": "2026-11-29T00:45:00Z",
		"0 0 * * 0":    "2026-12-06T00:00:00Z",
		"0 0 * * 7":    "2026-12-06T00:00:00Z",
		"0 9 * * 1-5":  "2026-11-30T09:00:00Z",
		"0 0 1 * *":    "2026-12-01T00:00:00Z",
		"0 0 1 * 1":    "2026-11-30T00:00:00Z",
		"0 0 30 2 *":   "", "* * *": "", "61 * * * *": "",
	} {
		next, err := nextFire(expression, at)
		if got := next.Format(time.RFC3339); want != "" && got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %s, %v; want %s", expression, got, err, want)
		}
	}
}
