package page

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"mlops/internal/linechart"
)

const (
	momentFormat = "2006-01-02T15:04:05" // of a form's fields, in UTC
	minStretch   = time.Minute
	maxStretch   = 366 * 24 * time.Hour
)

// stretch is a part of the past that Monitor shows; the zero one is the time up to now.
type stretch struct{ from, to time.Time }

// stretchOf reads the address. One that names no time means the time up to now; where one end
// is missing, half an hour is shown.
func stretchOf(q url.Values, now time.Time) (stretch, error) {
	from, err := moment(q, "from")
	if err != nil {
		return stretch{}, err
	}
	to, err := moment(q, "to")
	switch {
	case err != nil:
		return stretch{}, err
	case from.IsZero() && to.IsZero():
		return stretch{}, nil
	case to.IsZero():
		to = from.Add(monitorRanges[0].Span)
	case from.IsZero():
		from = to.Add(-monitorRanges[0].Span)
	}
	if to.After(now) {
		to = now.UTC().Truncate(time.Second)
	}
	switch whole := to.Sub(from); {
	case whole <= 0:
		return stretch{}, fmt.Errorf("from %s to %s is no stretch of the past", from.Format(momentFormat), to.Format(momentFormat))
	case whole > maxStretch:
		return stretch{}, fmt.Errorf("from %s to %s is more than a year", from.Format(momentFormat), to.Format(momentFormat))
	case whole < minStretch: // wide enough to see something
		middle := from.Add(whole / 2).Truncate(time.Second)
		from, to = middle.Add(-minStretch/2), middle.Add(minStretch/2)
	}
	return stretch{from, to}, nil
}

// moment reads a time of the address: as a form's field sends it, with or without seconds, or
// with a zone.
func moment(q url.Values, name string) (time.Time, error) {
	text := strings.TrimSpace(q.Get(name))
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{momentFormat, "2006-01-02T15:04", time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s: %q is not a time such as 2006-01-02T15:04:05 (UTC)", name, text)
}

// axis is the horizontal axis of a dashboard's charts.
type axis struct {
	zero  time.Time
	unit  time.Duration
	form  func(x float64) string
	ticks func(low, high float64) []float64 // nil: round numbers
}

func (a *axis) at(t time.Time) float64 { return t.Sub(a.zero).Seconds() / a.unit.Seconds() }

// axisUpTo runs up to now, which is 0.
func axisUpTo(now time.Time, span time.Duration) *axis {
	unit, name := time.Minute, "min"
	switch {
	case span > 48*time.Hour:
		unit, name = 24*time.Hour, "d"
	case span > 2*time.Hour:
		unit, name = time.Hour, "h"
	}
	return &axis{zero: now, unit: unit, form: func(x float64) string {
		if x > -1e-9 {
			return "now"
		}
		return "−" + linechart.Short(-x) + " " + name
	}}
}

// axisOf has the clock's times, and days if the stretch has more than one.
func axisOf(s stretch) *axis {
	zero := s.from.Truncate(24 * time.Hour) // midnight
	layout := "15:04"
	switch {
	case s.to.Sub(s.from) > 5*24*time.Hour:
		layout = "Jan 2"
	case s.to.Sub(zero) > 24*time.Hour:
		layout = "Jan 2 15:04"
	case s.to.Sub(s.from) < 10*time.Minute:
		layout = "15:04:05"
	}
	return &axis{zero: zero, unit: time.Second, ticks: linechart.ClockTicks,
		form: func(x float64) string {
			return zero.Add(time.Duration(math.Round(x)) * time.Second).Format(layout)
		}}
}
