package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// stateView is a state as pages show it: Kind chooses shape and colour, Word
// says it.
type stateView struct{ Kind, Word string }

func viewState(s wherry.Standing) stateView {
	switch s.State {
	case wherry.Queued:
		return stateView{"queued", "Queued"}
	case wherry.Blocked:
		return stateView{"waiting", "Waiting"}
	case wherry.Pending:
		return stateView{"pending", "Starting"}
	case wherry.Running:
		return stateView{"running", "Running"}
	case wherry.Waiting:
		return stateView{"waiting", "Retrying soon"}
	case wherry.Terminating:
		return stateView{"pending", "Cancelling"}
	}
	switch s.Result {
	case wherry.ResultSuccess:
		return stateView{"ok", "Succeeded"}
	case wherry.ResultSuccessWithFailures:
		return stateView{"warn", "Succeeded with failures"}
	case wherry.ResultTimedOut:
		return stateView{"failed", "Timed out"}
	case wherry.ResultCanceled:
		return stateView{"canceled", "Cancelled"}
	case wherry.ResultUpstreamCanceled:
		return stateView{"canceled", "Upstream cancelled"}
	case wherry.ResultUpstreamFailed:
		return stateView{"skipped", "Upstream failed"}
	case wherry.ResultExcluded:
		return stateView{"skipped", "Excluded"}
	case wherry.ResultDisabled:
		return stateView{"skipped", "Disabled"}
	case wherry.ResultMaxConcurrent:
		return stateView{"skipped", "Skipped, too many runs"}
	default:
		return stateView{"failed", "Failed"}
	}
}

// failing reports a result that someone has to look at.
func failing(s wherry.Standing) bool {
	k := viewState(s).Kind
	return s.Terminal() && (k == "failed" || k == "warn")
}

// duration is a length of time in milliseconds, for people.
func duration(ms int64) string {
	d := time.Duration(max(0, ms)) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%dh %02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// when is a moment in milliseconds since 1970; the script makes it relative and
// local.
func when(ms int64) template.HTML {
	if ms == 0 {
		return "–"
	}
	t := time.UnixMilli(ms).UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-ms="%d">%s</time>`, t.Format(time.RFC3339), ms, t.Format("2006-01-02 15:04:05 UTC")))
}

// elapsed is how long something took, or takes so far; the script counts on.
func elapsed(start, end int64, now time.Time) template.HTML {
	switch {
	case start == 0:
		return "–"
	case end == 0:
		return template.HTML(fmt.Sprintf(`<span data-since="%d">%s</span>`, start, duration(now.UnixMilli()-start)))
	default:
		return template.HTML(template.HTMLEscapeString(duration(end - start)))
	}
}

// bytesOf is a size in bytes, for people.
func bytesOf(n int64) string {
	const units = "KMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size, i := float64(n)/1000, 0
	for ; size >= 999.5; i++ {
		size /= 1000
	}
	if size < 10 {
		return fmt.Sprintf("%.1f %cB", size, units[i])
	}
	return fmt.Sprintf("%.0f %cB", size, units[i])
}

// short cuts a text in its middle.
func short(n int, text string) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:n-n/3-1]) + "…" + string(r[len(r)-n/3:])
}

// ending keeps the end of a path.
func ending(n int, text string) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return "…" + string(r[len(r)-n+1:])
}

func funcs() template.FuncMap {
	return template.FuncMap{
		"ciState": viewCI, "artifactPath": artifactPath, "check": viewCheck, "proof": viewProof, "version": viewVersion, "decision": viewDecision,
		"commitPath": commitPath, "environmentPath": environmentPath, "linked": func(link bool, name string) linkedName { return linkedName{link, name} }, "whoever": whoever, "diffLines": diffLines, "add": func(a, b int) int { return a + b },
		"duration": duration, "when": when, "short": short, "ending": ending, "state": viewState, "node": viewNode, "traceLink": traceLink, "runPath": runPath, "segment": url.PathEscape, "elsewhere": auth.ElsewhereHost,
		"when64": func(ms wherry.Int64) template.HTML { return when(int64(ms)) }, "number": func(f *mlflow.Float) string { return fmt.Sprintf("%.4g", float64(*f)) },
		"elapsed":     func(start, end int64) template.HTML { return elapsed(start, end, time.Now()) },
		"catalogPath": catalogPath, "doc": doc, "clusterState": clusterState, "bytes": bytesOf, "plain": plain,
		"at":    func(t time.Time) template.HTML { return when(t.UnixMilli()) },
		"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}
}
