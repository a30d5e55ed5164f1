package cicd

import (
	"archive/tar"
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
	suites []suite
	digest string
	failed []string
}

// Bounds of what is read for test results.
const (
	maxReport  = 8 << 20
	maxReports = 50
)

// testResults finds the JUnit reports in a packed artifact; nil if there are
// none.
func testResults(file string) (*results, error) {
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
	t := tar.NewReader(z)
	h := sha256.New()
	var r *results
	for n := 0; n < maxReports; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(header.Name, ".xml") || header.Size > maxReport {
			continue
		}
		n++
		b, err := io.ReadAll(io.LimitReader(t, maxReport))
		if err != nil {
			return nil, err
		}
		if found := suites(b); len(found) > 0 {
			if r == nil {
				r = &results{}
			}
			r.suites = append(r.suites, found...)
		}
	}
	if r == nil {
		return nil, nil
	}
	for _, s := range r.suites {
		for _, c := range s.Cases {
			outcome := "passed"
			switch {
			case c.Failure != nil || c.Error != nil:
				outcome = "failed"
				if len(r.failed) < 100 {
					r.failed = append(r.failed, c.Class+"::"+c.Name)
				}
			case c.Skipped != nil:
				outcome = "skipped"
			}
			fmt.Fprintf(h, "%s::%s %s\n", c.Class, c.Name, outcome)
		}
	}
	r.digest = hex.EncodeToString(h.Sum(nil))
	return r, nil
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
	return map[string]any{"job": j.Leg(), "name": j.Name, "digest": r.digest, "suites": r.suites, "failed": r.failed}
}
