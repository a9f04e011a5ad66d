// Package board defines Grafana's dashboards in Go. The same definition yields
// the JSON that Grafana reads and the list of expressions; tests send each of
// them to a real Prometheus to see whether it has data.
package board

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Dashboard is a dashboard in Grafana's JSON, as far as ours need it.
type Dashboard struct {
	UID           string      `json:"uid"` // stable: links refer to it
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	SchemaVersion int         `json:"schemaVersion"`
	Version       int         `json:"version"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"` // 1: a shared crosshair in all panels
	Refresh       string      `json:"refresh"`
	Time          Range       `json:"time"`
	Timezone      string      `json:"timezone"`
	Annotations   Annotations `json:"annotations"`
	Templating    Templating  `json:"templating"`
	Panels        []Panel     `json:"panels"`
}

type (
	// Range is the time that a dashboard shows initially.
	Range struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	// Annotations is empty, but Grafana requires it.
	Annotations struct {
		List []struct{} `json:"list"`
	}
	// Templating is empty, but Grafana requires it.
	Templating struct {
		List []struct{} `json:"list"`
	}
)

// Panel is a panel of a dashboard, or the heading of a row.
type Panel struct {
	ID          int          `json:"id"`
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	GridPos     GridPos      `json:"gridPos"`
	Datasource  *Datasource  `json:"datasource,omitempty"`
	Targets     []Target     `json:"targets,omitempty"`
	FieldConfig *FieldConfig `json:"fieldConfig,omitempty"`
	Options     any          `json:"options,omitempty"`
	Collapsed   *bool        `json:"collapsed,omitempty"` // rows only
	Panels      *[]Panel     `json:"panels,omitempty"`    // rows only
}

// GridPos is a panel's position on a grid 24 columns wide.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Datasource is where a panel's data comes from.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// prometheus is the data source that the chart provisions.
var prometheus = &Datasource{Type: "prometheus", UID: "prometheus"}

// Target is one query of a panel.
type Target struct {
	RefID        string      `json:"refId"`
	Datasource   *Datasource `json:"datasource"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat"`
	Instant      bool        `json:"instant"`
	Range        bool        `json:"range"`
}

// FieldConfig says how values are displayed.
type FieldConfig struct {
	Defaults  Defaults   `json:"defaults"`
	Overrides []struct{} `json:"overrides"`
}

// Defaults apply to all series of a panel.
type Defaults struct {
	Unit       string      `json:"unit"`
	Decimals   *int        `json:"decimals,omitempty"`
	Min        *float64    `json:"min,omitempty"`
	Max        *float64    `json:"max,omitempty"`
	NoValue    string      `json:"noValue,omitempty"` // shown if there is no data
	Color      Color       `json:"color"`
	Thresholds *Thresholds `json:"thresholds,omitempty"`
	Custom     *Lines      `json:"custom,omitempty"`
}

// Color says where the colours of series come from.
type Color struct {
	Mode string `json:"mode"`
}

// Thresholds colour values.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step is a colour and the value from which it applies; the first step has none.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Lines is how a time series is drawn.
type Lines struct {
	DrawStyle         string   `json:"drawStyle"`
	LineInterpolation string   `json:"lineInterpolation"`
	LineWidth         int      `json:"lineWidth"`
	FillOpacity       int      `json:"fillOpacity"`
	ShowPoints        string   `json:"showPoints"`
	SpanNulls         bool     `json:"spanNulls"`
	Stacking          Stacking `json:"stacking"`
}

// Stacking puts series on top of each other, or not.
type Stacking struct {
	Mode  string `json:"mode"`
	Group string `json:"group"`
}

// StatOptions are the options of a stat panel.
type StatOptions struct {
	ReduceOptions ReduceOptions `json:"reduceOptions"`
	TextMode      string        `json:"textMode"`
	ColorMode     string        `json:"colorMode"`
	GraphMode     string        `json:"graphMode"`
	JustifyMode   string        `json:"justifyMode"`
	Orientation   string        `json:"orientation"`
	WideLayout    bool          `json:"wideLayout"`

	// Changes are not shown, but Grafana requires these fields.
	ShowPercentChange      bool   `json:"showPercentChange"`
	PercentChangeColorMode string `json:"percentChangeColorMode"`
}

// ReduceOptions reduce a series to one value.
type ReduceOptions struct {
	Calcs  []string `json:"calcs"`
	Fields string   `json:"fields"`
	Values bool     `json:"values"`
}

// SeriesOptions are the options of a time series panel.
type SeriesOptions struct {
	Legend  Legend  `json:"legend"`
	Tooltip Tooltip `json:"tooltip"`
}

// Legend names the series below a panel.
type Legend struct {
	ShowLegend  bool     `json:"showLegend"`
	DisplayMode string   `json:"displayMode"`
	Placement   string   `json:"placement"`
	Calcs       []string `json:"calcs"`
}

// Tooltip shows values at the cursor.
type Tooltip struct {
	Mode string `json:"mode"`
	Sort string `json:"sort"`
}

// All returns every dashboard by file name.
func All() map[string]Dashboard {
	return map[string]Dashboard{"serving.json": Serving(), "model.json": Model()}
}

// JSON returns a dashboard as Grafana reads it, always the same text.
func JSON(d Dashboard) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // expressions compare
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("writing dashboard %s: %w", d.UID, err)
	}
	return []byte(b.String()), nil
}

// rateInterval is Grafana's variable for an interval that contains at least four
// scrapes.
const rateInterval = "$__rate_interval"

// Expression is a query of a panel.
type Expression struct {
	Dashboard, Panel, Ref string
	Query                 string
}

func (e Expression) String() string {
	return fmt.Sprintf("%s, %s, %s: %s", e.Dashboard, e.Panel, e.Ref, e.Query)
}

// Expressions returns every expression of every panel as Prometheus accepts it, with
// the given interval in place of Grafana's variable.
func Expressions(interval time.Duration) []Expression {
	var all []Expression
	for file, d := range All() {
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				query := strings.ReplaceAll(t.Expr, rateInterval, fmt.Sprintf("%dms", interval.Milliseconds()))
				all = append(all, Expression{file, p.Title, t.RefID, query})
			}
		}
	}
	return all
}
