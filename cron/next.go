package cron

import (
	"slices"
	"time"
)

// Next returns the first time after t at which the schedule fires in loc; the
// zero time if there is none.
//
// A local time that the change to summer time leaves out is skipped. One that
// the change back repeats fires once, the first time, unless the schedule fires
// every hour: then it fires in each real hour.
func (s *Schedule) Next(t time.Time, loc *time.Location) time.Time {
	local := t.In(loc)
	// A day earlier: a repeated hour may reach back over midnight.
	day := time.Date(local.Year(), local.Month(), local.Day()-1, 0, 0, 0, 0, time.UTC)
	for ; day.Year() <= lastYear; day = day.AddDate(0, 0, 1) {
		if day.Year() < firstYear || !s.year.has(day.Year()-firstYear) || !s.month.has(int(day.Month())) || !s.onDay(day) {
			continue
		}
		if next := s.nextOn(day, t, loc); !next.IsZero() {
			return next
		}
	}
	return time.Time{}
}

func (s *Schedule) onDay(day time.Time) bool {
	if s.week.ignored {
		return s.day.has(day)
	}
	return s.week.has(day)
}

// nextOn returns the first time after t on a day.
func (s *Schedule) nextOn(day, t time.Time, loc *time.Location) time.Time {
	for h := range 24 {
		if !s.hour.has(h) {
			continue
		}
		last := instants(day.Add(time.Duration(h)*time.Hour+59*time.Minute+59*time.Second), loc)
		if n := len(last); n > 0 && !last[n-1].After(t) {
			continue // the whole hour is over
		}
		for again := range 2 {
			if again == 1 && !s.everyHour {
				break
			}
			if next := s.nextIn(day, h, again, t, loc); !next.IsZero() {
				return next
			}
		}
	}
	return time.Time{}
}

// nextIn returns the first time after t in an hour; again chooses its second
// passing where the clock is put back.
func (s *Schedule) nextIn(day time.Time, h, again int, t time.Time, loc *time.Location) time.Time {
	for m := range 60 {
		if !s.minute.has(m) {
			continue
		}
		at := instants(day.Add(time.Duration(h)*time.Hour+time.Duration(m)*time.Minute), loc)
		if again >= len(at) || !at[again].Add(time.Minute).After(t) {
			continue
		}
		for sec := range 60 {
			if next := at[again].Add(time.Duration(sec) * time.Second); s.second.has(sec) && next.After(t) {
				return next
			}
		}
	}
	return time.Time{}
}

// instants returns when a wall clock in loc shows a time (given in UTC): never
// in the gap of summer time, twice where the clock is put back.
func instants(wall time.Time, loc *time.Location) []time.Time {
	var list []time.Time
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(loc).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		_, actual := at.Zone()
		if actual == offset && !slices.ContainsFunc(list, at.Equal) {
			list = append(list, at)
		}
	}
	slices.SortFunc(list, time.Time.Compare)
	return list
}

func lastDay(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func (d *dayOfMonth) has(day time.Time) bool {
	n, last := day.Day(), lastDay(day)
	if d.days.has(n) || d.lastWork && n == nearestWeekday(day, last) {
		return true
	}
	for _, back := range d.fromLast {
		if n == last-back {
			return true
		}
	}
	for _, w := range d.weekdays {
		if w <= last && n == nearestWeekday(day, w) {
			return true
		}
	}
	return false
}

// nearestWeekday is the working day nearest to the n-th in day's month, without
// leaving the month.
func nearestWeekday(day time.Time, n int) int {
	switch time.Date(day.Year(), day.Month(), n, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if n == 1 {
			return 3
		}
		return n - 1
	case time.Sunday:
		if n == lastDay(day) {
			return n - 2
		}
		return n + 1
	}
	return n
}

func (d *dayOfWeek) has(day time.Time) bool {
	w := int(day.Weekday()) + 1
	return d.days.has(w) || d.last.has(w) && day.Day() > lastDay(day)-7 || d.nth[w].has((day.Day()-1)/7+1)
}

// Dense reports whether the schedule fires twice within less than gap in one
// minute.
func (s *Schedule) Dense(gap time.Duration) bool {
	previous := -60
	for sec := range 60 {
		if !s.second.has(sec) {
			continue
		}
		if time.Duration(sec-previous)*time.Second < gap {
			return true
		}
		previous = sec
	}
	return false
}
