package live

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"time"

	"mlops/internal/linechart"
	"mlops/internal/progress"
	"mlops/loadtest"
)

// maxTargetLines is how many targets the charts by target show; the table has all.
const maxTargetLines = linechart.Colors

// charts draws a result; live, with what the page's script needs.
func charts(r *loadtest.Result, live bool) []template.HTML {
	x := make([]float64, len(r.Windows))
	line := func(name string, of func(w *loadtest.Window) float64) linechart.Line {
		l := linechart.Line{Name: name}
		for i := range r.Windows {
			l.Y = append(l.Y, of(&r.Windows[i]))
		}
		return l
	}
	for i := range r.Windows {
		x[i] = r.Windows[i].After
	}
	var marks []linechart.Mark
	for _, c := range r.Changes {
		mark := linechart.Mark{Name: "set to " + linechart.Short(c.Level), X: c.After}
		if len(x) > 0 {
			mark.X = min(max(mark.X, x[0]), x[len(x)-1]) // within a window that has not ended, or the first one
		}
		marks = append(marks, mark)
	}
	base := linechart.Chart{X: x, Marks: marks, FormX: clock, TicksX: linechart.ClockTicks, Readout: live}
	rates := base
	rates.Title = "Requests per second"
	rates.Lines = []linechart.Line{
		line("succeeded", func(w *loadtest.Window) float64 { return float64(w.Succeeded) / w.Seconds }),
		line("failed", func(w *loadtest.Window) float64 { return float64(w.Failed) / w.Seconds }),
	}
	if r.Plan.Model == loadtest.OpenModel {
		rates.Lines = append(rates.Lines, line("due", func(w *loadtest.Window) float64 { return w.Level }))
	}
	t := r.Plan.Thresholds
	if t.Rate > 0 {
		rates.Limits = []linechart.Limit{{Name: "at least " + linechart.Short(t.Rate), Y: t.Rate}}
	}
	failures := base
	failures.Title, failures.Format = "Failed requests", linechart.Percent
	failures.Lines = []linechart.Line{line("failed", func(w *loadtest.Window) float64 {
		if w.Succeeded+w.Failed == 0 {
			return math.NaN() // a gap: nothing is known of a second in which no request ended
		}
		return w.Share()
	})}
	if t.Errors != nil {
		failures.Limits = []linechart.Limit{{Name: "at most " + linechart.Percent(*t.Errors), Y: *t.Errors}}
	}
	latency := base
	latency.Title, latency.Format, latency.Log = "Latency from the intended start", linechart.Seconds, true
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}} {
		latency.Lines = append(latency.Lines, line(q.name, func(w *loadtest.Window) float64 { return seconds(&w.Latency, q.q) }))
	}
	for _, l := range []struct {
		name  string
		limit loadtest.Span
	}{{"p50 at most", t.P50}, {"p95 at most", t.P95}, {"p99 at most", t.P99}} {
		if l.limit > 0 {
			y := time.Duration(l.limit).Seconds()
			latency.Limits = append(latency.Limits, linechart.Limit{Name: l.name + " " + linechart.Seconds(y), Y: y})
		}
	}
	service := base
	service.Title, service.Format, service.Log = "Intended start beside service time", linechart.Seconds, true
	service.Lines = []linechart.Line{
		line("p50 intended", func(w *loadtest.Window) float64 { return seconds(&w.Latency, 0.5) }),
		line("p99 intended", func(w *loadtest.Window) float64 { return seconds(&w.Latency, 0.99) }),
		line("p50 service", func(w *loadtest.Window) float64 { return seconds(&w.Service, 0.5) }),
		line("p99 service", func(w *loadtest.Window) float64 { return seconds(&w.Service, 0.99) }),
	}
	users := base
	users.Title = "Users"
	users.Lines = []linechart.Line{line("users", func(w *loadtest.Window) float64 { return float64(w.Users) })}
	if r.Plan.Model == loadtest.OpenModel {
		users.Title, users.Lines[0].Name = "Connections in use", "in use"
	}
	all := []linechart.Chart{rates, latency, failures, users, service}
	if n := len(r.Plan.Targets); n > 1 {
		byRate, byP99 := base, base
		byRate.Title, byP99.Title = "Requests per second by target", "p99 by target"
		byP99.Format, byP99.Log = linechart.Seconds, true
		for i := range r.Plan.Targets[:min(n, maxTargetLines)] {
			name := r.Plan.Targets[i].Name
			byRate.Lines = append(byRate.Lines, line(name, func(w *loadtest.Window) float64 {
				return float64(w.ByTarget[i].Succeeded+w.ByTarget[i].Failed) / w.Seconds
			}))
			byP99.Lines = append(byP99.Lines, line(name, func(w *loadtest.Window) float64 { return seconds(&w.ByTarget[i].Latency, 0.99) }))
		}
		all = append(all, byRate, byP99)
	}
	drawn := make([]template.HTML, len(all))
	for i := range all {
		drawn[i] = template.HTML(all[i].SVG()) // escapes its texts
	}
	return drawn
}

// seconds is a quantile, or a gap if there was no request.
func seconds(c *loadtest.Counts, q float64) float64 {
	if len(c.N) == 0 {
		return math.NaN()
	}
	return c.Quantile(q) / 1000
}

// clock formats seconds since the start.
func clock(s float64) string {
	n := int(s)
	if n < 3600 {
		return fmt.Sprintf("%d:%02d", n/60, n%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", n/3600, n/60%60, n%60)
}

// functions are those of the templates.
var functions = template.FuncMap{
	"clock":   clock,
	"count":   progress.Count,
	"percent": linechart.Percent,
	"ms": func(v float64) string {
		if v == 0 {
			return "–"
		}
		return linechart.Seconds(v / 1000)
	},
	"number": func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) },
	"rate":   func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) },
	"time":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"of":     func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"open":   func(r *loadtest.Result) bool { return r.Plan.Model == loadtest.OpenModel },
}
