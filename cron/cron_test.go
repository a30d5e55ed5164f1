package cron

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the test's zones do not depend on the machine
)

const layout = "2006-01-02 15:04:05"

func TestNext(t *testing.T) {
	for _, tc := range []struct{ expression, zone, after, want string }{
		{"0 0 1 * * ?", "UTC", "2026-11-28 14:00:00", "2026-11-29 01:00:00|2026-11-30 01:00:00"},
		{"0 0/15 * * * ?", "UTC", "2026-01-01 00:16:00", "2026-01-01 00:30:00|2026-01-01 00:45:00|2026-01-01 01:00:00"},
		{"10,40 30 9-10 ? * MON-FRI", "UTC", "2026-01-02 10:30:10", "2026-01-02 10:30:40|2026-01-05 09:30:10"},
		{"0 0 2 L * ?", "UTC", "2028-02-01 00:00:00", "2028-02-29 02:00:00|2028-03-31 02:00:00"},
		{"0 0 2 L-3 * ?", "UTC", "2026-02-01 00:00:00", "2026-02-25 02:00:00|2026-03-28 02:00:00"},
		{"0 0 2 LW * ?", "UTC", "2026-01-01 00:00:00", "2026-01-30 02:00:00|2026-02-27 02:00:00"},
		{"0 0 2 15W * ?", "UTC", "2026-08-01 00:00:00", "2026-08-14 02:00:00|2026-09-15 02:00:00"},
		{"0 0 2 1W * ?", "UTC", "2026-08-01 00:00:00", "2026-08-03 02:00:00|2026-09-01 02:00:00"},
		{"0 0 9 ? * 2#1", "UTC", "2026-01-01 00:00:00", "2026-01-05 09:00:00|2026-02-02 09:00:00"},
		{"0 0 9 ? * 6#5", "UTC", "2026-01-01 00:00:00", "2026-01-30 09:00:00|2026-05-29 09:00:00"},
		{"0 0 9 ? * 6L", "UTC", "2026-01-01 00:00:00", "2026-01-30 09:00:00|2026-02-27 09:00:00"},
		{"0 0 9 ? * L", "UTC", "2026-01-01 00:00:00", "2026-01-03 09:00:00"},
		{"0 0 0 29 FEB ?", "UTC", "2026-01-01 00:00:00", "2028-02-29 00:00:00|2032-02-29 00:00:00"},
		{"0 0 0 1 JAN,JUL ? 2027-2028", "UTC", "2026-01-01 00:00:00", "2027-01-01 00:00:00|2027-07-01 00:00:00|2028-01-01 00:00:00|2028-07-01 00:00:00|never"},
		{"0 0 22-2 * * ?", "UTC", "2026-01-01 02:00:00", "2026-01-01 22:00:00|2026-01-01 23:00:00|2026-01-02 00:00:00"},
		{"0 0 0 ? * FRI-MON", "UTC", "2026-01-01 00:00:00", "2026-01-02 00:00:00|2026-01-03 00:00:00|2026-01-04 00:00:00|2026-01-05 00:00:00|2026-01-09 00:00:00"},
		{"0 0 0 30 2 ?", "UTC", "2026-01-01 00:00:00", "never"},
		// Summer time begins: 01:30 and 02:30 do not exist on that day.
		{"0 30 1 * * ?", "Europe/London", "2026-03-28 02:00:00", "2026-03-30 01:30:00"},
		{"0 30 2 * * ?", "America/New_York", "2026-03-07 03:00:00", "2026-03-09 02:30:00"},
		{"0 0 * * * ?", "America/New_York", "2026-03-08 01:00:00", "2026-03-08 03:00:00"},
		// It ends: a daily time fires once, an hourly schedule in each real hour.
		{"0 30 1 * * ?", "Europe/London", "2026-10-24 02:00:00", "2026-10-25 01:30:00|2026-10-26 01:30:00"},
		{"0 30 1 * * ?", "America/New_York", "2026-10-31 02:00:00", "2026-11-01 01:30:00|2026-11-02 01:30:00"},
		{"0 0 * * * ?", "Europe/London", "2026-10-25 00:00:00", "2026-10-25 01:00:00|2026-10-25 01:00:00|2026-10-25 02:00:00"},
	} {
		s, err := Parse(tc.expression)
		if err != nil {
			t.Error(err)
			continue
		}
		loc, err := time.LoadLocation(tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation(layout, tc.after, loc)
		if err != nil {
			t.Fatal(err)
		}
		for want := range strings.SplitSeq(tc.want, "|") {
			next := s.Next(at, loc)
			got := "never"
			if !next.IsZero() {
				got = next.Format(layout)
			}
			if got != want || !next.IsZero() && !next.After(at) {
				t.Errorf("%s in %s after %s: %s, want %s", tc.expression, tc.zone, at.Format(layout), got, want)
				break
			}
			at = next
		}
	}
}

func TestLondonAutumnFiresFirst(t *testing.T) {
	s, err := Parse("0 30 1 25 10 ?")
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	first := s.Next(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), loc)
	if want := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC); !first.Equal(want) {
		t.Errorf("fires at %s, want %s", first.UTC(), want)
	}
	if again := s.Next(first, loc); again.Year() != 2027 {
		t.Errorf("fires again at %s", again)
	}
}

func TestErrors(t *testing.T) {
	for _, expression := range []string{
		"", "* * * * *", "0 0 1 * * *", "0 0 1 ? * ?", "60 0 0 * * ?", "0 0 24 * * ?", "0 0 0 32 * ?", "0 0 0 ? * 8", "0 0 0 ? * 2#6",
		"0 0 0 ? * MOON", "0 0 0 1 13 ?", "0 0 0 1 1 ? 1969", "0 0 0 1 1 ? 2028-2027", "0/0 0 0 * * ?", "0 0 0 40W * ?", "0 0 0 L-x * ?", "a 0 0 * * ?", "0 0 0 1,? * ?",
	} {
		if _, err := Parse(expression); err == nil {
			t.Errorf("%q was taken", expression)
		}
	}
	for expression, dense := range map[string]bool{"* * * * * ?": true, "0/5 * * * * ?": true, "0/10 * * * * ?": false, "0 * * * * ?": false, "0,9 0 0 * * ?": true} {
		s, err := Parse(expression)
		if err != nil || s.Dense(10*time.Second) != dense {
			t.Errorf("%s: dense %v, %v", expression, !dense, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0 0 2 L * ?", "0/15 1-5 LW ? * 6#3 2026", "0 0 0 15W JAN ? *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		s, err := Parse(expression)
		if err != nil {
			return
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := s.Next(at, time.UTC); !next.IsZero() && !next.After(at) {
			t.Errorf("%q fires at %s, not after %s", expression, next, at)
		}
	})
}

func TestZone(t *testing.T) {
	for name, ok := range map[string]bool{"Europe/London": true, "UTC": true, "Mars/Base": false, "Local": false, "../etc/passwd": false} {
		if zone, err := Zone(name); (err == nil) != ok || ok && zone.String() != name {
			t.Errorf("%s: %v, %v", name, zone, err)
		}
	}
}
