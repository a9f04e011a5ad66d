package board

// layout puts panels into rows from left to right, as they come, and numbers them.
type layout struct {
	panels  []Panel
	x, y, h int // of the row that is being filled
}

const columns = 24

func (l *layout) add(w, h int, p Panel) {
	if l.x+w > columns {
		l.x, l.y, l.h = 0, l.y+l.h, 0
	}
	p.ID = len(l.panels) + 1
	p.GridPos = GridPos{H: h, W: w, X: l.x, Y: l.y}
	l.x, l.h = l.x+w, max(l.h, h)
	l.panels = append(l.panels, p)
}

// heading begins a new part of the dashboard.
func (l *layout) heading(title string) {
	l.x, l.y, l.h = 0, l.y+l.h, 0
	collapsed, inside := false, []Panel{}
	l.add(columns, 1, Panel{Type: "row", Title: title, Collapsed: &collapsed, Panels: &inside})
	l.x, l.y, l.h = 0, l.y+1, 0
}

// query is an expression and what its series are called.
type query struct{ expr, legend string }

func targets(queries []query, instant bool) []Target {
	var all []Target
	for i, q := range queries {
		all = append(all, Target{
			RefID: string(rune('A' + i)), Datasource: prometheus, Expr: q.expr, LegendFormat: q.legend,
			Instant: instant, Range: !instant,
		})
	}
	return all
}

// stat is a panel with one large value.
func stat(title, description, unit string, look StatOptions, d Defaults, queries ...query) Panel {
	d.Unit = unit
	if d.Thresholds == nil {
		d.Thresholds = thresholds("text")
	}
	d.Color = Color{"thresholds"}
	look.ReduceOptions = ReduceOptions{Calcs: []string{"lastNotNull"}}
	look.JustifyMode, look.Orientation, look.WideLayout, look.PercentChangeColorMode = "auto", "auto", true, "standard"
	// A value with a graph behind it needs the series, a bare one only its end.
	return Panel{
		Type: "stat", Title: title, Description: description, Datasource: prometheus, Options: look,
		Targets: targets(queries, look.GraphMode == "none"), FieldConfig: &FieldConfig{Defaults: d, Overrides: []struct{}{}},
	}
}

var (
	number = StatOptions{TextMode: "value", ColorMode: "value", GraphMode: "area"}
	bare   = StatOptions{TextMode: "value", ColorMode: "value", GraphMode: "none"}
	name   = StatOptions{TextMode: "name", ColorMode: "none", GraphMode: "none"}
)

// series is a panel with lines over time.
func series(title, description, unit string, stacked bool, queries ...query) Panel {
	zero := 0.0
	lines := &Lines{DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, FillOpacity: 8, ShowPoints: "auto", Stacking: Stacking{"none", "A"}}
	if stacked {
		lines.FillOpacity, lines.Stacking.Mode = 30, "normal"
	}
	return Panel{
		Type: "timeseries", Title: title, Description: description, Datasource: prometheus,
		Targets: targets(queries, false),
		FieldConfig: &FieldConfig{
			Defaults:  Defaults{Unit: unit, Min: &zero, Color: Color{"palette-classic"}, Custom: lines},
			Overrides: []struct{}{},
		},
		Options: SeriesOptions{
			Legend:  Legend{ShowLegend: true, DisplayMode: "list", Placement: "bottom", Calcs: []string{}},
			Tooltip: Tooltip{Mode: "multi", Sort: "desc"},
		},
	}
}

// thresholds are colours, each from a value on but for the first.
func thresholds(first string, steps ...Step) *Thresholds {
	return &Thresholds{Mode: "absolute", Steps: append([]Step{{Color: first}}, steps...)}
}

func from(value float64, color string) Step { return Step{color, &value} }
