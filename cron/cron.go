// Package cron reads Quartz cron expressions, as the Jobs API takes them, and
// finds the times at which they fire.
//
// An expression has six or seven fields: second, minute, hour, day of month,
// month, day of week and an optional year. Each is *, a value, a range a-b
// (which may wrap), a step a/b, or a list of these. Months and days of the week
// have names; Sunday is 1. Exactly one of the two day fields is ?. The day of
// month knows L, L-n, LW and nW; the day of the week nL and n#k.
package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule is a parsed expression.
type Schedule struct {
	second, minute, hour, month set
	everyHour                   bool // the hour is *
	day                         dayOfMonth
	week                        dayOfWeek
	year                        set // counted from firstYear
}

const firstYear, lastYear = 1970, 2099

// set holds the values 0 to 191.
type set [3]uint64

func (s *set) add(v int) { s[v/64] |= 1 << (v % 64) }

func (s *set) has(v int) bool { return s[v/64]&(1<<(v%64)) != 0 }

type dayOfMonth struct {
	ignored  bool // the field is ?
	days     set
	fromLast []int // days before the last one: L is 0
	weekdays []int // nW
	lastWork bool  // LW
}

type dayOfWeek struct {
	ignored bool
	days    set
	last    set
	nth     [8]set // by day: which of the month's
}

var (
	monthNames = names("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
	dayNames   = names("SUN MON TUE WED THU FRI SAT")
)

func names(list string) map[string]int {
	m := map[string]int{}
	for i, n := range strings.Fields(list) {
		m[n] = i + 1
	}
	return m
}

// Parse reads an expression. Its errors name the field.
func Parse(expression string) (*Schedule, error) {
	f := strings.Fields(strings.ToUpper(expression))
	if len(f) != 6 && len(f) != 7 {
		return nil, fmt.Errorf("a Quartz cron expression has 6 or 7 fields (second minute hour day-of-month month day-of-week [year]), and %q has %d", expression, len(f))
	}
	s := &Schedule{everyHour: f[2] == "*"}
	s.day.ignored, s.week.ignored = f[3] == "?", f[5] == "?"
	if s.day.ignored == s.week.ignored {
		return nil, fmt.Errorf("exactly one of day-of-month and day-of-week must be ? in %q", expression)
	}
	years := "*"
	if len(f) == 7 {
		years = f[6]
	}
	for _, field := range []struct {
		name, text string
		parse      func(string) error
	}{
		{"second", f[0], into(&s.second, 0, 59, nil)},
		{"minute", f[1], into(&s.minute, 0, 59, nil)},
		{"hour", f[2], into(&s.hour, 0, 23, nil)},
		{"day-of-month", f[3], s.day.parse},
		{"month", f[4], into(&s.month, 1, 12, monthNames)},
		{"day-of-week", f[5], s.week.parse},
		{"year", years, func(text string) error { return addYears(&s.year, text) }},
	} {
		for _, part := range strings.Split(field.text, ",") {
			if err := field.parse(part); err != nil {
				return nil, fmt.Errorf("the %s %q in %q: %w", field.name, part, expression, err)
			}
		}
	}
	return s, nil
}

func into(s *set, low, high int, names map[string]int) func(string) error {
	return func(part string) error { return span(part, low, high, names, s.add) }
}

func addYears(s *set, part string) error {
	return span(part, firstYear, lastYear, nil, func(y int) { s.add(y - firstYear) })
}

// span calls add for each value of *, a, a-b, a/n, */n or a-b/n.
func span(part string, low, high int, names map[string]int, add func(int)) error {
	text, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		var err error
		if step, err = strconv.Atoi(stepText); err != nil || step <= 0 || step > high-low+1 {
			return fmt.Errorf("the step is a number from 1 to %d", high-low+1)
		}
	}
	from, to := low, high
	if text != "*" {
		a, b, ranged := strings.Cut(text, "-")
		var err error
		if from, err = value(a, low, high, names); err != nil {
			return err
		}
		switch {
		case ranged:
			if to, err = value(b, low, high, names); err != nil {
				return err
			}
		case !stepped:
			to = from
		}
	}
	if to < from { // 22-2: over the end
		if high >= firstYear {
			return fmt.Errorf("the range ends before it begins")
		}
		to += high - low + 1
	}
	for v := from; v <= to; v += step {
		if v > high {
			add(v - (high - low + 1))
		} else {
			add(v)
		}
	}
	return nil
}

func value(text string, low, high int, names map[string]int) (int, error) {
	if v, ok := names[text]; ok {
		return v, nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < low || v > high {
		return 0, fmt.Errorf("a value from %d to %d is expected", low, high)
	}
	return v, nil
}

func (d *dayOfMonth) parse(part string) error {
	switch {
	case part == "?":
		if !d.ignored {
			return fmt.Errorf("? stands alone")
		}
		return nil
	case part == "LW":
		d.lastWork = true
		return nil
	case part == "L":
		d.fromLast = append(d.fromLast, 0)
		return nil
	case strings.HasPrefix(part, "L-"):
		n, err := value(part[2:], 1, 30, nil)
		d.fromLast = append(d.fromLast, n)
		return err
	case strings.HasSuffix(part, "W"):
		n, err := value(strings.TrimSuffix(part, "W"), 1, 31, nil)
		d.weekdays = append(d.weekdays, n)
		return err
	}
	return span(part, 1, 31, nil, d.days.add)
}

func (d *dayOfWeek) parse(part string) error {
	if part == "?" {
		if !d.ignored {
			return fmt.Errorf("? stands alone")
		}
		return nil
	}
	if day, nth, ok := strings.Cut(part, "#"); ok {
		v, err := value(day, 1, 7, dayNames)
		if err != nil {
			return err
		}
		k, err := value(nth, 1, 5, nil)
		d.nth[v].add(k)
		return err
	}
	if part == "L" { // Saturday, the last of the week
		d.days.add(7)
		return nil
	}
	if day, ok := strings.CutSuffix(part, "L"); ok {
		v, err := value(day, 1, 7, dayNames)
		if err == nil {
			d.last.add(v)
		}
		return err
	}
	return span(part, 1, 7, dayNames, d.days.add)
}

// Zone returns a time zone by its IANA name.
func Zone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone (an IANA name such as Europe/London)", name)
	}
	return zone, nil
}
