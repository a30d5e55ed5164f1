package cicd

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/wherry-ml/wherry/workflow"
)

// TestSuiteNumbers: a number that is none loses neither the suite nor those
// beside it.
func TestSuiteNumbers(t *testing.T) {
	for text, want := range map[string]seconds{
		"1.5": 1.5, "1,234.5": 1234.5, "12,345,678": 12345678, "1e3": 1000, " 2 ": 2, "": 0, "NaN": 0, "Inf": 0, "-1": 0, "0,5": 0, "1,23": 0, "soon": 0, "1e400": 0,
	} {
		list := suites(fmt.Appendf(nil, `<testsuites><testsuite name="a" tests="1,024" failures="%s" time="%[1]s"/><testsuite name="b" tests="3" time="0.25"/></testsuites>`, text))
		if len(list) != 2 || list[0].Tests != 1024 || list[1].Tests != 3 || list[1].Seconds != 0.25 {
			t.Fatalf("time %q: %+v", text, list)
		}
		if list[0].Seconds != want || list[0].Failures != count(want) {
			t.Errorf("time %q is %v, %d failed; want %v", text, list[0].Seconds, list[0].Failures, want)
		}
		one := suites(fmt.Appendf(nil, `<testsuite name="a" tests="2" time="%s"/>`, text))
		if len(one) != 1 || one[0].Seconds != want {
			t.Errorf("time %q alone: %+v", text, one)
		}
	}
}

// FuzzSuites: whatever a report holds, what is read of it can be told.
func FuzzSuites(f *testing.F) {
	f.Add([]byte(`<testsuites><testsuite tests="1" time="NaN"><testcase name="a"><failure/></testcase></testsuite></testsuites>`))
	f.Add([]byte(`<testsuite tests="1,234" time="1,234.5"/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := json.Marshal(suites(b)); err != nil {
			t.Error(err)
		}
	})
}

// packed is an artifact of files with a text, in order.
func packed(t *testing.T, namesAndTexts ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "artifact")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for i := 0; i < len(namesAndTexts); i += 2 {
		text := namesAndTexts[i+1]
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: namesAndTexts[i], Mode: 0o644, Size: int64(len(text))}))
		_, werr := io.WriteString(w, text)
		err = errors.Join(err, werr)
	}
	if err := errors.Join(err, w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestResultBounds: what an artifact holds beyond the bounds is left out, and
// said, and the rest is told.
func TestResultBounds(t *testing.T) {
	report := func(n int) string {
		return `<testsuite name="s" tests="9" failures="9">` + strings.Repeat(`<testcase classname="c" name="n"><failure/></testcase>`, n) + `</testsuite>`
	}
	one := report(1)
	for name, c := range map[string]struct {
		files          []string
		suites, failed int
		leftOut        string
	}{
		"all":            {[]string{"a.xml", one, "b.xml", one}, 2, 2, ""},
		"beyond":         {[]string{"a.xml", one, "model.bin", strings.Repeat("0", 200_000), "b.xml", one}, 1, 1, "beyond the first 100000 bytes"},
		"large report":   {[]string{"a.xml", one, "b.xml", report(100), "c.xml", one}, 2, 2, "more than 4000 bytes"},
		"large in all":   {[]string{"a.xml", report(60), "b.xml", report(60), "c.xml", report(60), "d.xml", one}, 3, 121, "more than 8000 in all"},
		"many suites":    {[]string{"a.xml", "<testsuites>" + strings.Repeat(`<testsuite name="x"/>`, 50) + "</testsuites>"}, 20, 0, "beyond 20 suites"},
		"many tests":     {[]string{"a.xml", report(60), "b.xml", report(60), "c.xml", report(10)}, 3, 125, "beyond 125"},
		"no test at all": {[]string{"a.xml", "<a/>", "model.bin", strings.Repeat("0", 200_000)}, 0, 0, ""},
	} {
		r, err := testResults(t.Context(), packed(t, c.files...), bounds{unpacked: 100_000, report: 4000, reports: 8000, suites: 20, cases: 125})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r == nil {
			r = &results{}
		}
		if len(r.suites) != c.suites || len(r.failed) != min(c.failed, maxFailed) || !strings.Contains(r.leftOut, c.leftOut) || (c.leftOut == "") != (r.leftOut == "") {
			t.Errorf("%s: %d suites, %d failed, left out %q", name, len(r.suites), len(r.failed), r.leftOut)
		}
	}
}

// TestResultNames: names are told in part, however long, and as text.
func TestResultNames(t *testing.T) {
	long := strings.Repeat("鵜", 300_000)
	r, err := testResults(t.Context(), packed(t, "a.xml", `<testsuite name="`+long+`"><testcase classname="`+long+`" name="n"><error/></testcase></testsuite>`), resultBounds)
	if err != nil || len(r.suites) != 1 || len(r.failed) != 1 {
		t.Fatal(r, err)
	}
	for name, most := range map[string]int{r.suites[0].Name: maxSuiteName, r.failed[0]: maxCaseName} {
		if len(name) > most || !utf8.ValidString(name) || !strings.HasPrefix(name, "鵜鵜") {
			t.Errorf("%d bytes are told: %.60q", len(name), name)
		}
	}
	if b, err := json.Marshal(r.payload(&workflow.Job{})); err != nil || len(b) > 2000 {
		t.Errorf("the event has %d bytes: %v", len(b), err)
	}
}

// TestResultsNobodyWaitsFor: an upload that was broken off is not read on.
func TestResultsNobodyWaitsFor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := testResults(ctx, packed(t, "a.xml", "<testsuite/>"), resultBounds); !errors.Is(err, context.Canceled) {
		t.Errorf("it was read: %v", err)
	}
}
