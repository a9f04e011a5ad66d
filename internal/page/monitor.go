package page

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mlops/dashboards/board"
	"mlops/internal/linechart"
	"mlops/internal/postgres"
	"mlops/internal/promapi"
	"mlops/internal/recent"
)

const (
	monitorPoints  = 120              // per line
	monitorTimeout = 8 * time.Second  // for all expressions of a dashboard together
	monitorAtOnce  = 6                // expressions
	monitorFresh   = 4 * time.Second  // for which a drawn dashboard is shown again
	followInterval = 5 * time.Second  // of the page's own history
	minRate        = 60 * time.Second // rates look back at least this far: several scrapes
)

// monitorRanges are the times that a dashboard can show.
var monitorRanges = []struct {
	Name string
	Span time.Duration
}{{"30 min", 30 * time.Minute}, {"6 h", 6 * time.Hour}, {"24 h", 24 * time.Hour}, {"7 d", 7 * 24 * time.Hour}}

// metricSource answers expressions at times.
type metricSource interface {
	lines(ctx context.Context, expr string, times []time.Time) ([]recent.Line, error)
}

// monitor draws the dashboards.
type monitor struct {
	source metricSource
	own    *recent.History // nil: there is a Prometheus
	where  string          // the Prometheus' address

	figures *postgres.Session // of MLflow's database; nil: it can't be asked

	mu    sync.Mutex // one dashboard is drawn at a time
	drawn map[string]monitorView
}

// monitorView is what monitor.html shows.
type monitorView struct {
	Title, Heading, Lead string
	Boards, Ranges       []monitorLink
	Notice               string // why something is missing
	Rows                 []monitorRow
	Tables               []monitorTable
	Source               string
	at                   time.Time
}

type monitorLink struct {
	Name, Address string
	Current       bool
}

type monitorRow struct {
	Title  string
	Tiles  []monitorTile
	Charts []monitorChart
}

type monitorTile struct{ Title, Description, Value, Color string }

type monitorChart struct {
	Title, Description, Empty string
	SVG                       template.HTML
}

// UsePrometheus makes the page Monitor ask the Prometheus at base. Otherwise it shows what
// the page itself has read of the inference server's metrics since it started.
func (s *Server) UsePrometheus(base string) error {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("address of Prometheus: %q is not an absolute http or https URL", base)
	}
	s.monitor.source, s.monitor.own, s.monitor.where = prometheusSource{promapi.New(base, &http.Client{Timeout: monitorTimeout})}, nil, base
	return nil
}

func newMonitor() *monitor {
	own := recent.New()
	return &monitor{source: historySource{own}, own: own, drawn: map[string]monitorView{}}
}

// follow reads the inference server's metrics until ctx ends, where there is no Prometheus.
func (s *Server) follow(ctx context.Context) {
	if s.monitor.own == nil {
		return
	}
	client := &http.Client{Timeout: followInterval}
	s.monitor.own.Follow(ctx, client, strings.TrimRight(s.inference.url, "/")+"/metrics", "inference", followInterval, func(err error) {
		if err != nil {
			s.log.Warn("the inference server's metrics can't be read", "error", err)
		}
	})
}

type historySource struct{ *recent.History }

func (h historySource) lines(_ context.Context, expr string, times []time.Time) ([]recent.Line, error) {
	return h.Range(expr, times)
}

func (s *Server) showMonitor(w http.ResponseWriter, r *http.Request) {
	boards := board.All()
	q := r.URL.Query()
	i := slices.IndexFunc(boards, func(d board.Dashboard) bool { return strings.TrimSuffix(d.File(), ".json") == q.Get("board") })
	if i < 0 {
		if q.Has("board") {
			s.notFound(w, r)
			return
		}
		i = 0
	}
	j := max(0, slices.IndexFunc(monitorRanges, func(m struct {
		Name string
		Span time.Duration
	}) bool {
		return m.Span.String() == q.Get("range")
	}))
	s.render(w, http.StatusOK, "monitor.html", s.monitor.view(r.Context(), time.Now(), boards, i, j))
}

// view is a dashboard as it is now, or was a moment ago.
func (m *monitor) view(ctx context.Context, now time.Time, boards []board.Dashboard, i, j int) monitorView {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, span := &boards[i], monitorRanges[j].Span
	key := fmt.Sprint(i, " ", j)
	if v, ok := m.drawn[key]; ok && now.Sub(v.at) < monitorFresh {
		return v
	}
	v := monitorView{Title: d.Title + " · Monitor", Heading: d.Title, Lead: d.Description, at: now}
	address := func(i, j int) string {
		return "/monitor?" + url.Values{"board": {strings.TrimSuffix(boards[i].File(), ".json")}, "range": {monitorRanges[j].Span.String()}}.Encode()
	}
	for k, b := range boards {
		v.Boards = append(v.Boards, monitorLink{b.Title, address(k, j), k == i})
	}
	if m.own != nil { // it is not longer than this
		j, span = 0, monitorRanges[0].Span
		if first, _, _, err := m.own.Span(); err == nil {
			span = min(span, max(2*time.Minute, now.Sub(first).Round(time.Minute)))
		}
	}
	for k, r := range monitorRanges {
		if m.own == nil {
			v.Ranges = append(v.Ranges, monitorLink{r.Name, address(i, k), k == j})
		}
	}
	v.Source = "From Prometheus at " + m.where + "."
	if m.own != nil {
		v.Source = "From the inference server's own metrics, which this page has read every " + followInterval.String() + " since it started, for half an hour at most: there is no Prometheus."
		_, last, dropped, err := m.own.Span()
		switch {
		case err != nil:
			v.Notice = "Nothing has been read of the inference server's metrics yet."
		case now.Sub(last) > 3*followInterval:
			v.Notice = "The inference server's metrics could last be read " + linechart.Seconds(now.Sub(last).Seconds()) + " ago."
		case dropped > 0:
			v.Notice = fmt.Sprintf("%d series are left out: the page remembers no more.", dropped)
		}
		if d.UID != "mlops-serving" && d.UID != "mlops-model" {
			v.Notice = "This needs Prometheus, which `make demo` does not run; `make up` does. `make status` shows the last runs, and MLflow the trainings."
			m.drawn[key] = v
			return v
		}
	}
	m.draw(ctx, &v, d, now, span)
	m.drawn[key] = v
	return v
}

// draw asks all expressions and fills in the rows.
func (m *monitor) draw(ctx context.Context, v *monitorView, d *board.Dashboard, now time.Time, span time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	step := span / monitorPoints
	interval := max(minRate, step)
	now = now.Truncate(time.Second)
	times := make([]time.Time, monitorPoints+1)
	for k := range times {
		times[k] = now.Add(-time.Duration(monitorPoints-k) * step)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, monitorAtOnce)
	var mu sync.Mutex
	var failed []string
	ask := func(q board.Query, to *[]recent.Line) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			lines, err := m.source.lines(ctx, q.In(interval), times)
			if err != nil {
				mu.Lock()
				failed = append(failed, err.Error())
				mu.Unlock()
				return
			}
			*to = lines
		})
	}
	answers := map[string]*[]recent.Line{} // by expression: some are there twice
	each := func(see func(q board.Query)) {
		for r := range d.Rows {
			for p := range d.Rows[r].Panels {
				for q := range d.Rows[r].Panels[p].Queries {
					see(d.Rows[r].Panels[p].Queries[q])
				}
			}
		}
		for q := range d.Marks {
			see(d.Marks[q])
		}
	}
	each(func(q board.Query) {
		if answers[q.Expr] == nil {
			answers[q.Expr] = new([]recent.Line)
			ask(q, answers[q.Expr])
		}
	})
	if m.figures != nil {
		wg.Go(func() {
			for _, t := range d.Tables {
				v.Tables = append(v.Tables, m.table(ctx, t))
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		slices.Sort(failed)
		v.Notice = fmt.Sprintf("%d of %d expressions could not be answered, so what they show is missing: %s", len(failed), len(answers), failed[0])
	}
	marks := promotionMarks(d, answers, times, span)
	for _, r := range d.Rows {
		row := monitorRow{Title: r.Title}
		for k := range r.Panels {
			p := &r.Panels[k]
			var lines []recent.Line
			var names []string
			for q := range p.Queries {
				for _, l := range *answers[p.Queries[q].Expr] {
					lines, names = append(lines, l), append(names, legend(p.Queries[q].Legend, l.Labels))
				}
			}
			if p.Kind == board.Series {
				row.Charts = append(row.Charts, chartOf(p, lines, names, times, span, marks))
			} else {
				row.Tiles = append(row.Tiles, tileOf(p, lines, names))
			}
		}
		v.Rows = append(v.Rows, row)
	}
}

func promotionMarks(d *board.Dashboard, answers map[string]*[]recent.Line, times []time.Time, span time.Duration) []linechart.Mark {
	unit, _ := axisUnit(span)
	var marks []linechart.Mark
	now := times[len(times)-1]
	for q := range d.Marks {
		for _, l := range *answers[d.Marks[q].Expr] {
			before := false
			for k, y := range l.Values { // a rate sees a change for as long as it looks back
				is := y > 0
				if is && !before {
					marks = append(marks, linechart.Mark{Name: legend(d.Marks[q].Legend, l.Labels), X: times[k].Sub(now).Seconds() / unit.Seconds()})
				}
				before = is
			}
		}
	}
	return marks
}

// legend puts labels into the text that names a series.
func legend(text string, labels recent.Labels) string {
	for name, value := range labels {
		text = strings.ReplaceAll(text, "{{"+name+"}}", value)
	}
	return text
}

func format(u board.Unit) func(float64) string {
	switch u {
	case board.Seconds:
		return linechart.Seconds
	case board.Percent:
		return linechart.Percent
	case board.Bytes:
		return func(v float64) string {
			for _, unit := range []struct {
				of   float64
				name string
			}{{1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}} {
				if math.Abs(v) >= unit.of {
					return linechart.Short(v/unit.of) + unit.name
				}
			}
			return linechart.Short(v) + " B"
		}
	}
	return linechart.Short
}

// last is a line's value at the end, or shortly before.
func last(l recent.Line) float64 {
	for k := len(l.Values) - 1; k >= max(0, len(l.Values)-3); k-- {
		if v := l.Values[k]; !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
	}
	return math.NaN()
}

func tileOf(p *board.Panel, lines []recent.Line, names []string) monitorTile {
	t := monitorTile{Title: p.Title, Description: p.Description}
	var values []string
	for k, l := range lines {
		y := last(l)
		switch {
		case math.IsNaN(y):
			continue
		case p.Kind == board.Name:
			values = append(values, names[k])
		case p.Named:
			values = append(values, names[k]+" "+format(p.Unit)(y))
		default:
			values = append(values, format(p.Unit)(y))
		}
		for _, level := range p.Thresholds {
			if y >= level.From {
				t.Color = level.Color
			}
		}
	}
	t.Value = strings.Join(values, ", ")
	if t.Value == "" {
		t.Value = p.NoValue
	}
	return t
}

func chartOf(p *board.Panel, lines []recent.Line, names []string, times []time.Time, span time.Duration, marks []linechart.Mark) monitorChart {
	v := monitorChart{Title: p.Title, Description: p.Description}
	c := linechart.Chart{Title: p.Title, Format: format(p.Unit), FormX: ago(span), Marks: marks, Readout: true, Binary: p.Unit == board.Bytes}
	unit, _ := axisUnit(span)
	now := times[len(times)-1]
	for _, at := range times {
		c.X = append(c.X, at.Sub(now).Seconds()/unit.Seconds())
	}
	type named struct {
		name string
		line recent.Line
		most float64
	}
	var all []named
	for k, l := range lines {
		most := math.Inf(-1)
		for _, y := range l.Values {
			if !math.IsNaN(y) && !math.IsInf(y, 0) {
				most = max(most, y)
			}
		}
		if !math.IsInf(most, -1) {
			all = append(all, named{names[k], l, most})
		}
	}
	if len(all) == 0 {
		switch p.Need {
		case board.Nothing:
			v.Empty = "No data."
		case board.LoadTest:
			v.Empty = "No data: no load test has run."
		case board.Containers:
			v.Empty = "No data: " + string(board.Kubelet) + " is off, or the kubelet does not name its containers."
		default:
			v.Empty = "No data: " + string(p.Need) + " is off."
		}
		return v
	}
	if n := len(all); n > linechart.Colors {
		slices.SortStableFunc(all, func(a, b named) int { return cmp.Compare(b.most, a.most) })
		all = all[:linechart.Colors]
		v.Description += fmt.Sprintf(" The %d highest of %d series.", linechart.Colors, n)
	}
	top := 0.0
	for _, l := range all {
		c.Lines = append(c.Lines, linechart.Line{Name: l.name, Y: l.line.Values})
		top = max(top, l.most)
	}
	for _, level := range p.Thresholds {
		if level.From <= 2*top { // one far above would flatten the lines
			c.Limits = append(c.Limits, linechart.Limit{Name: format(p.Unit)(level.From), Y: level.From})
		}
	}
	v.SVG = template.HTML(c.SVG()) //nolint:gosec // linechart escapes every text
	return v
}

// axisUnit is the unit of a chart's horizontal axis, which runs up to now at 0.
func axisUnit(span time.Duration) (unit time.Duration, name string) {
	switch {
	case span > 48*time.Hour:
		return 24 * time.Hour, "d"
	case span > 2*time.Hour:
		return time.Hour, "h"
	}
	return time.Minute, "min"
}

// ago writes a place on that axis.
func ago(span time.Duration) func(float64) string {
	_, name := axisUnit(span)
	return func(x float64) string {
		if x > -1e-9 {
			return "now"
		}
		return "−" + linechart.Short(-x) + " " + name
	}
}
