package cicd

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/wherry-ml/wherry/workflow"
)

// suite is a test suite of a JUnit report.
type suite struct {
	Name     string  `xml:"name,attr" json:"name"`
	Tests    count   `xml:"tests,attr" json:"tests"`
	Failures count   `xml:"failures,attr" json:"failures"`
	Errors   count   `xml:"errors,attr" json:"errors"`
	Skipped  count   `xml:"skipped,attr" json:"skipped"`
	Seconds  seconds `xml:"time,attr" json:"seconds"`
	Cases    []struct {
		Class   string `xml:"classname,attr"`
		Name    string `xml:"name,attr"`
		Failure *struct {
			Message string `xml:"message,attr"`
		} `xml:"failure"`
		Error *struct {
			Message string `xml:"message,attr"`
		} `xml:"error"`
		Skipped *struct{} `xml:"skipped"`
	} `xml:"testcase" json:"-"`
}

// Numbers of a report are read leniently: Maven writes 1,234.5, others NaN, and
// one number that is none must not lose the results. It counts as 0.
type (
	count   int
	seconds float64
)

func (n *count) UnmarshalXMLAttr(a xml.Attr) error {
	*n = count(number(a.Value))
	return nil
}

func (n *seconds) UnmarshalXMLAttr(a xml.Attr) error {
	*n = seconds(number(a.Value))
	return nil
}

// thousands is a number whose thousands are set off.
var thousands = regexp.MustCompile(`^[1-9]\d{0,2}(,\d{3})+(\.\d+)?$`)

func number(text string) float64 {
	text = strings.TrimSpace(text)
	if thousands.MatchString(text) {
		text = strings.ReplaceAll(text, ",", "")
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > 1<<52 { // JSON has no NaN
		return 0
	}
	return n
}

// results are the test suites of an artifact.
type results struct {
	suites  []suite
	digest  string
	failed  []string
	leftOut string // what of the artifact was not read, "" if all was
}

// bounds are how much of an artifact is read for test results: who runs a job
// fills it as they like, and what is read of it goes into one event.
type bounds struct {
	unpacked int64 // bytes of the artifact
	report   int64 // bytes of one report
	reports  int64 // bytes of all
	suites   int
	cases    int
}

var resultBounds = bounds{unpacked: 256 << 20, report: 8 << 20, reports: 64 << 20, suites: 500, cases: 100_000}

// Bounds of what is told of test results: bytes of names, and how many failed.
const (
	maxSuiteName = 200
	maxCaseName  = 400
	maxFailed    = 100
)

// readerFunc is a reader that is one function.
type readerFunc func([]byte) (int, error)

func (fn readerFunc) Read(b []byte) (int, error) { return fn(b) }

// testResults finds the JUnit reports in a packed artifact; nil if there are
// none. What is beyond the bounds is left out.
func testResults(ctx context.Context, file string, most bounds) (*results, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	unpacked := &io.LimitedReader{N: most.unpacked, R: readerFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil { // nobody waits for it any more
			return 0, err
		}
		return z.Read(b)
	})}
	r := &results{}
	h := sha256.New()
	if err = r.read(tar.NewReader(unpacked), h, most); unpacked.N <= 0 {
		r.leftOut, err = fmt.Sprintf("what is beyond the first %d bytes of the artifact", most.unpacked), nil
	}
	if err != nil || len(r.suites) == 0 {
		return nil, err
	}
	r.digest = hex.EncodeToString(h.Sum(nil))
	return r, nil
}

// read takes over the reports of an artifact, one at a time; h gets how each
// test ended.
func (r *results) read(t *tar.Reader, h io.Writer, most bounds) error {
	all := most
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasSuffix(header.Name, ".xml") {
			continue
		}
		if header.Size > min(most.report, most.reports) {
			r.leftOut = fmt.Sprintf("reports of more than %d bytes, or of more than %d in all", all.report, all.reports)
			continue
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		most.reports -= int64(len(b))
		for _, s := range suites(b) {
			if most.suites == 0 {
				r.leftOut = fmt.Sprintf("what is beyond %d suites", all.suites)
				return nil
			}
			if len(s.Cases) > most.cases {
				r.leftOut = fmt.Sprintf("which tests there were beyond %d", all.cases)
				s.Cases = s.Cases[:most.cases]
			}
			most.suites, most.cases = most.suites-1, most.cases-len(s.Cases)
			r.add(s, h)
		}
	}
}

// add takes over a suite without its cases, and of them those that failed.
func (r *results) add(s suite, h io.Writer) {
	for _, c := range s.Cases {
		outcome := "passed"
		switch {
		case c.Failure != nil || c.Error != nil:
			outcome = "failed"
			if len(r.failed) < maxFailed {
				r.failed = append(r.failed, clip(c.Class+"::"+c.Name, maxCaseName))
			}
		case c.Skipped != nil:
			outcome = "skipped"
		}
		fmt.Fprintf(h, "%s::%s %s\n", c.Class, c.Name, outcome)
	}
	s.Name, s.Cases = clip(s.Name, maxSuiteName), nil
	r.suites = append(r.suites, s)
}

// suites reads a report: one suite, or several in testsuites.
func suites(b []byte) []suite {
	var many struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []suite  `xml:"testsuite"`
	}
	if xml.Unmarshal(b, &many) == nil {
		return many.Suites
	}
	var one struct {
		XMLName xml.Name `xml:"testsuite"`
		suite
	}
	if xml.Unmarshal(b, &one) == nil {
		return []suite{one.suite}
	}
	return nil
}

// payload is that of EventCITest.
func (r *results) payload(j *workflow.Job) map[string]any {
	p := map[string]any{"job": j.Leg(), "name": j.Name, "digest": r.digest, "suites": r.suites, "failed": r.failed}
	if r.leftOut != "" {
		p["left_out"] = r.leftOut
	}
	return p
}
