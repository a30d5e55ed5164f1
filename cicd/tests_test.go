package cicd

import (
	"encoding/json"
	"fmt"
	"testing"
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
