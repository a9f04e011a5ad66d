// Package board defines the dashboards: their panels, what each asks Prometheus, and how
// the answer is to be read. The program dashboards writes Grafana's JSON from them, the
// page's Monitor draws them itself, and tests send each expression to a real Prometheus.
package board

import (
	"fmt"
	"strings"
	"time"
)

// Dashboard is a page of panels.
type Dashboard struct {
	UID         string // stable: links refer to it; its JSON is UID.json without the prefix
	Title       string
	Description string
	Refresh     string // how often Grafana asks again
	From        string // the time that is shown initially, such as now-6h
	Rows        []Row
	Tables      []Table // below the rows, in Grafana only
	Marks       []Query // each series is drawn as vertical lines wherever it has a value
}

// File is the name of the dashboard's JSON.
func (d *Dashboard) File() string { return strings.TrimPrefix(d.UID, "mlops-") + ".json" }

// Table is the answer of MLflow's Postgres to a statement.
type Table struct {
	Title, Description string
	SQL                string
	Height             int
}

// Row is a heading, which the first row of a dashboard lacks, and the panels below it.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is how a panel shows its series.
type Kind int

const (
	Series Kind = iota // lines over time
	Stat               // the last value, large
	Name               // what the series are called, large
)

// Panel is one picture or number.
type Panel struct {
	Kind          Kind
	Title         string
	Description   string
	Unit          Unit
	Width, Height int // of a grid 24 columns wide
	Queries       []Query
	Thresholds    []Threshold
	NoValue       string // why there is no data, shown if there is none; Need says it too
	Stacked       bool   // Series: on top of each other
	Bare          bool   // Stat: only the last value matters, without a line behind it
	Named         bool   // Stat: with the name of the series beside the value
	Share         bool   // values are between 0 and 1
	Need          Need
}

// Query is an expression, and what its series are called: text with {{label}}.
type Query struct{ Expr, Legend string }

// Threshold is a value from which on a panel is coloured: orange or red.
type Threshold struct {
	From  float64
	Color string
}

// Need is what a panel has no data without: a part of the release that is off by default, or
// something that has to have happened.
type Need string

// The parts that panels need.
const (
	Nothing    Need = ""
	Kubelet    Need = "prometheus.kubelet.enabled"
	Containers Need = "names of containers" // from the kubelet; one that does not find its runtime has none
	LoadTest   Need = "a load test"
	TLS        Need = "a certificate"
	Swap       Need = "a promotion a moment ago"
)

// Unit is how values are written, in Grafana's words.
type Unit string

// The units in use.
const (
	Short   Unit = "short"
	Seconds Unit = "s"
	Percent Unit = "percentunit"
	Bytes   Unit = "bytes"
)

// All returns every dashboard, the most used first.
func All() []Dashboard {
	return []Dashboard{Serving(), Model(), Pipelines(), Platform(), LoadTests()}
}

// rateInterval is Grafana's variable for an interval that contains at least four
// scrapes.
const rateInterval = "$__rate_interval"

// In returns an expression as Prometheus accepts it, with the interval in place of
// Grafana's variable.
func (q Query) In(interval time.Duration) string {
	return strings.ReplaceAll(q.Expr, rateInterval, fmt.Sprintf("%dms", interval.Milliseconds()))
}

// Expression is a query of a panel.
type Expression struct {
	Dashboard, Panel string
	Need             Need
	Query            string
}

func (e Expression) String() string {
	return fmt.Sprintf("%s, %s: %s", e.Dashboard, e.Panel, e.Query)
}

// Expressions returns every expression of every panel and mark.
func Expressions(interval time.Duration) []Expression {
	var all []Expression
	for _, d := range All() {
		for _, r := range d.Rows {
			for _, p := range r.Panels {
				for _, q := range p.Queries {
					all = append(all, Expression{d.Title, p.Title, p.Need, q.In(interval)})
				}
			}
		}
		for _, q := range d.Marks {
			all = append(all, Expression{d.Title, "marks", Swap, q.In(interval)})
		}
	}
	return all
}

func stat(width int, title, description string, unit Unit, noValue string, queries ...Query) Panel {
	return Panel{Kind: Stat, Title: title, Description: description, Unit: unit, Width: width, Height: 4, NoValue: noValue, Queries: queries}
}

func series(width int, title, description string, unit Unit, queries ...Query) Panel {
	return Panel{Title: title, Description: description, Unit: unit, Width: width, Height: 8, Queries: queries}
}

func (p Panel) need(n Need) Panel      { p.Need = n; return p }
func (p Panel) empty(why string) Panel { p.NoValue = why; return p }
func (p Panel) bare() Panel            { p.Bare = true; return p }
func (p Panel) named() Panel           { p.Named = true; return p }
func (p Panel) share() Panel           { p.Share = true; return p }
func (p Panel) stacked() Panel         { p.Stacked = true; return p }
func (p Panel) height(rows int) Panel  { p.Height = rows; return p }

func (p Panel) orange(from float64) Panel {
	p.Thresholds = append(p.Thresholds, Threshold{from, "orange"})
	return p
}

func (p Panel) red(from float64) Panel {
	p.Thresholds = append(p.Thresholds, Threshold{from, "red"})
	return p
}

// needs marks all panels of a row.
func needs(n Need, panels ...Panel) []Panel {
	for i := range panels {
		panels[i].Need = n
	}
	return panels
}
