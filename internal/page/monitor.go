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
	monitorKept    = 50               // drawn dashboards
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
	Board                string // in the address
	From, To             string // what is shown, in momentFormat
	Past                 bool   // what is shown does not change any more
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
	i := slices.IndexFunc(boards, func(d board.Dashboard) bool { return boardName(&d) == q.Get("board") })
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
	now, code := time.Now(), http.StatusOK
	past, err := stretchOf(q, now)
	if err != nil {
		code = http.StatusBadRequest
	}
	v := s.monitor.view(r.Context(), now, boards, i, j, past)
	if err != nil {
		v.Notice = err.Error()
	}
	s.render(w, code, "monitor.html", v)
}

// view is a dashboard as it is now or was a moment ago, or as it was in a stretch of the past.
func (m *monitor) view(ctx context.Context, now time.Time, boards []board.Dashboard, i, j int, past stretch) monitorView {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := fmt.Sprint(i, " ", j, " ", past.from.Unix(), " ", past.to.Unix())
	if v, ok := m.drawn[key]; ok && now.Sub(v.at) < monitorFresh {
		return v
	}
	if len(m.drawn) >= monitorKept {
		clear(m.drawn)
	}
	v := m.look(ctx, now, boards, i, j, past)
	m.drawn[key] = v
	return v
}

func (m *monitor) look(ctx context.Context, now time.Time, boards []board.Dashboard, i, j int, past stretch) monitorView {
	d, shown, live := &boards[i], past, past == stretch{}
	v := monitorView{Title: d.Title + " · Monitor", Heading: d.Title, Lead: d.Description, Board: boardName(d), Past: !live, at: now}
	address := func(i, j int, past stretch) string {
		q := url.Values{"board": {boardName(&boards[i])}, "range": {monitorRanges[j].Span.String()}}
		if past != (stretch{}) {
			q.Set("from", past.from.Format(momentFormat))
			q.Set("to", past.to.Format(momentFormat))
		}
		return "/monitor?" + q.Encode()
	}
	for k := range boards {
		v.Boards = append(v.Boards, monitorLink{boards[k].Title, address(k, j, past), k == i})
	}
	if live {
		shown = stretch{now.Add(-monitorRanges[j].Span), now}
		if m.own != nil { // it is not longer than this
			j, shown.from = 0, now.Add(-monitorRanges[0].Span)
			if first, _, _, err := m.own.Span(); err == nil {
				shown.from = now.Add(-min(monitorRanges[0].Span, max(2*time.Minute, now.Sub(first).Round(time.Minute))))
			}
		}
	}
	v.From, v.To = shown.from.UTC().Format(momentFormat), shown.to.UTC().Format(momentFormat)
	for k, r := range monitorRanges {
		if m.own == nil || !live && k == 0 { // the one way back
			v.Ranges = append(v.Ranges, monitorLink{r.Name, address(i, k, stretch{}), k == j && live})
		}
	}
	v.Source = "From Prometheus at " + m.where + "."
	unread := false // what is shown is not known, since nothing was read of it
	if m.own != nil {
		v.Source = "From the inference server's own metrics, which this page has read every " + followInterval.String() + " since it started, for half an hour at most: there is no Prometheus."
		first, last, dropped, err := m.own.Span()
		unread = err != nil || now.Sub(last) > 3*followInterval && shown.to.After(last) || shown.to.Before(first)
		switch {
		case err != nil:
			v.Notice = "Nothing has been read of the inference server's metrics yet."
		case now.Sub(last) > 3*followInterval:
			v.Notice = "The inference server's metrics could last be read " + linechart.Seconds(now.Sub(last).Seconds()) + " ago."
		case dropped > 0:
			v.Notice = fmt.Sprintf("%d series are left out: the page remembers no more.", dropped)
		case shown.from.Before(first) && !live:
			v.Notice = "The page remembers nothing from before " + first.UTC().Format(momentFormat) + "."
		}
		if d.UID != "mlops-serving" && d.UID != "mlops-model" {
			v.Notice = "This needs Prometheus, which make demo does not run; make up does. make status shows the last runs, and MLflow the trainings."
			return v
		}
	}
	m.draw(ctx, &v, d, shown, live, unread)
	return v
}

// boardName is what a dashboard is called in the address.
func boardName(d *board.Dashboard) string { return strings.TrimSuffix(d.File(), ".json") }

// answer is what the source says to an expression.
type answer struct {
	lines  []recent.Line
	failed bool
}

// draw asks all expressions and fills in the rows. What has no data because it was not
// read, or not answered, is not said to be none.
func (m *monitor) draw(ctx context.Context, v *monitorView, d *board.Dashboard, shown stretch, live, unread bool) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	step := shown.to.Sub(shown.from) / monitorPoints
	interval := max(minRate, step)
	now := shown.to.Truncate(time.Second)
	times := make([]time.Time, monitorPoints+1)
	for k := range times {
		times[k] = now.Add(-time.Duration(monitorPoints-k) * step)
	}
	axis := axisOf(shown)
	if live {
		axis = axisUpTo(now, shown.to.Sub(shown.from))
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, monitorAtOnce)
	var mu sync.Mutex
	var failed []string
	ask := func(q board.Query, to *answer) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			lines, err := m.source.lines(ctx, q.In(interval), times)
			if err != nil {
				mu.Lock()
				failed = append(failed, err.Error())
				mu.Unlock()
			}
			*to = answer{lines, err != nil}
		})
	}
	answers := map[string]*answer{} // by expression: some are there twice
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
			answers[q.Expr] = new(answer)
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
	marks := promotionMarks(d, answers, times, axis)
	for _, r := range d.Rows {
		row := monitorRow{Title: r.Title}
		for k := range r.Panels {
			p := &r.Panels[k]
			var lines []recent.Line
			var names []string
			unknown := unread
			for q := range p.Queries {
				a := answers[p.Queries[q].Expr]
				unknown = unknown || a.failed
				for _, l := range a.lines {
					lines, names = append(lines, l), append(names, legend(p.Queries[q].Legend, l.Labels))
				}
			}
			if p.Kind == board.Series {
				row.Charts = append(row.Charts, chartOf(p, lines, names, times, axis, marks, unknown))
			} else {
				row.Tiles = append(row.Tiles, tileOf(p, lines, names, unknown))
			}
		}
		v.Rows = append(v.Rows, row)
	}
}

func promotionMarks(d *board.Dashboard, answers map[string]*answer, times []time.Time, axis *axis) []linechart.Mark {
	var marks []linechart.Mark
	for q := range d.Marks {
		for _, l := range answers[d.Marks[q].Expr].lines {
			before := false
			for k, y := range l.Values { // a rate sees a change for as long as it looks back
				is := y > 0
				if is && !before {
					marks = append(marks, linechart.Mark{Name: legend(d.Marks[q].Legend, l.Labels), X: axis.at(times[k])})
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

func tileOf(p *board.Panel, lines []recent.Line, names []string, unknown bool) monitorTile {
	t := monitorTile{Title: p.Title, Description: p.Description}
	var values []string
	for k, l := range lines {
		y, ok := linechart.Current(l.Values)
		switch {
		case !ok:
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
	switch {
	case t.Value != "":
	case unknown:
		t.Value = "not known"
	default:
		t.Value = p.NoValue
	}
	return t
}

func chartOf(p *board.Panel, lines []recent.Line, names []string, times []time.Time, axis *axis, marks []linechart.Mark, unknown bool) monitorChart {
	v := monitorChart{Title: p.Title, Description: p.Description}
	c := linechart.Chart{Title: p.Title, Format: format(p.Unit), FormX: axis.form, TicksX: axis.ticks, Marks: marks, Readout: true, Binary: p.Unit == board.Bytes}
	for _, at := range times {
		c.X = append(c.X, axis.at(at))
	}
	type named struct {
		name string
		line recent.Line
		most float64
		zero bool // throughout
	}
	var all []named
	for k, l := range lines {
		most, zero := math.Inf(-1), true
		for _, y := range l.Values {
			if !math.IsNaN(y) && !math.IsInf(y, 0) {
				most, zero = max(most, y), zero && y == 0
			}
		}
		if !math.IsInf(most, -1) {
			all = append(all, named{names[k], l, most, zero})
		}
	}
	if len(all) == 0 {
		switch {
		case unknown:
			v.Empty = "Not known."
		case p.Need == board.Nothing:
			v.Empty = "No data: " + p.NoValue + "."
		case p.Need == board.LoadTest:
			v.Empty = "No data: no load test has run."
		case p.Need == board.Containers:
			v.Empty = "No data: " + string(board.Kubelet) + " is off, or the kubelet does not name its containers."
		default:
			v.Empty = "No data: " + string(p.Need) + " is off."
		}
		return v
	}
	if n := len(all); n > linechart.Colors/2 { // counters start at 0 for all that can happen
		all = slices.DeleteFunc(all, func(l named) bool { return l.zero })
		switch left := n - len(all); {
		case left == n:
			v.Empty = fmt.Sprintf("All %d series are 0.", n)
			return v
		case left > 0:
			v.Description += fmt.Sprintf(" %d further series are 0.", left)
		}
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
