package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"mlops/dashboards/board"
)

// source is the data source that the reader chooses at the top of a dashboard; the
// default one of Prometheus' kind at first.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// registry is the data source of MLflow's Postgres.
var registry = common.DataSourceRef{Type: cog.ToPtr("grafana-postgresql-datasource"), Uid: cog.ToPtr("${registry}")}

// statement is a query of such a data source, which the SDK has no type for.
type statement string

func (s statement) Build() (variants.Dataquery, error) {
	return variants.UnknownDataquery{"refId": "A", "datasource": registry, "format": "table", "editorMode": "code", "rawQuery": true, "rawSql": string(s)}, nil
}

// grafana returns a dashboard as Grafana reads it, always the same text.
func grafana(d *board.Dashboard) ([]byte, error) {
	//lint:ignore SA1019 files that are provisioned have this schema; the newer one needs another API
	b := dashboard.NewDashboardBuilder(d.Title).Uid(d.UID).Description(d.Description).Tags([]string{"mlops"}).
		Timezone("browser").Editable().Tooltip(dashboard.DashboardCursorSyncCrosshair).Refresh(d.Refresh).Time(d.From, "now").Version(1).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"))
	for _, q := range d.Marks {
		b.Annotation(dashboard.NewAnnotationQueryBuilder().Name("Promotions").Datasource(source).Enable(true).IconColor("purple").
			Expr(q.Expr).TitleFormat(q.Legend).Step("60s"))
	}
	if len(d.Tables) > 0 {
		b.WithVariable(dashboard.NewDatasourceVariableBuilder("registry").Label("MLflow's Postgres").Type(*registry.Type))
	}
	y := uint32(0)
	id := uint32(0)
	for _, r := range d.Rows {
		if r.Title != "" {
			id++
			b.WithRow(dashboard.NewRowBuilder(r.Title).Id(id).GridPos(dashboard.GridPos{H: 1, W: columns, Y: y}))
			y++
		}
		x, height := uint32(0), uint32(0)
		for _, p := range r.Panels {
			w, h := uint32(p.Width), uint32(p.Height)
			if x+w > columns {
				x, y, height = 0, y+height, 0
			}
			id++
			b.WithPanel(panel(&p, id, dashboard.GridPos{H: h, W: w, X: x, Y: y}))
			x, height = x+w, max(height, h)
		}
		y += height
	}
	for _, t := range d.Tables {
		id++
		b.WithPanel(table.NewPanelBuilder().Id(id).GridPos(dashboard.GridPos{H: uint32(t.Height), W: columns, Y: y}).
			Title(t.Title).Description(t.Description).Datasource(registry).Targets([]cog.Builder[variants.Dataquery]{statement(t.SQL)}))
		y += uint32(t.Height)
	}
	built, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("building dashboard %s: %w", d.UID, err)
	}
	// The SDK gives every variable what only one of intervals has.
	for i := range built.Templating.List {
		v := &built.Templating.List[i]
		v.Auto, v.AutoMin, v.AutoCount = nil, nil, nil
	}
	text, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing dashboard %s: %w", d.UID, err)
	}
	// As people read it: expressions compare. No text of ours has a backslash.
	for _, r := range []string{"<", ">", "&"} {
		text = bytes.ReplaceAll(text, fmt.Appendf(nil, `\u%04x`, r[0]), []byte(r))
	}
	return append(text, '\n'), nil
}

// columns is the width of Grafana's grid.
const columns = 24

func panel(p *board.Panel, id uint32, at dashboard.GridPos) cog.Builder[dashboard.Panel] {
	instant := p.Kind == board.Name || p.Kind == board.Stat && p.Bare
	var targets []cog.Builder[variants.Dataquery]
	for i, q := range p.Queries {
		targets = append(targets, query(q, i, instant))
	}
	description := p.Description
	switch p.Need {
	case board.Kubelet, board.Containers:
		description += " Needs " + string(board.Kubelet) + "=true in the chart's values."
	case board.LoadTest:
		description += " Empty until a load test has run."
	}
	base := "green"
	if len(p.Thresholds) == 0 {
		base = "text"
	}
	steps := []dashboard.Threshold{{Color: base}}
	for _, t := range p.Thresholds {
		steps = append(steps, dashboard.Threshold{Color: t.Color, Value: cog.ToPtr(t.From)})
	}
	thresholds := dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
	if p.Kind == board.Series {
		opacity, stacking := 8.0, common.StackingModeNone
		if p.Stacked {
			opacity, stacking = 30, common.StackingModeNormal
		}
		b := timeseries.NewPanelBuilder().Id(id).GridPos(at).Title(p.Title).Description(description).Datasource(source).Targets(targets).
			Unit(string(p.Unit)).Min(0).Thresholds(thresholds).
			ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdPaletteClassic)).
			DrawStyle(common.GraphDrawStyleLine).LineInterpolation(common.LineInterpolationLinear).LineWidth(1).FillOpacity(opacity).
			ShowPoints(common.VisibilityModeAuto).SpanNulls(common.BoolOrFloat64{Bool: cog.ToPtr(false)}).
			Stacking(common.NewStackingConfigBuilder().Mode(stacking).Group("A")).
			Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).Calcs([]string{})).
			Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
		if p.NoValue != "" {
			b.NoValue(p.NoValue)
		}
		if len(p.Thresholds) > 0 {
			b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
		}
		if p.Share {
			b.Max(1)
		}
		return b
	}
	b := stat.NewPanelBuilder().Id(id).GridPos(at).Title(p.Title).Description(description).Datasource(source).Targets(targets).
		Unit(string(p.Unit)).NoValue(p.NoValue).Thresholds(thresholds).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}).Fields("").Values(false)).
		Orientation(common.VizOrientationAuto).JustifyMode(common.BigValueJustifyModeAuto).WideLayout(true)
	if p.Kind == board.Name {
		return b.TextMode(common.BigValueTextModeName).ColorMode(common.BigValueColorModeNone).GraphMode(common.BigValueGraphModeNone)
	}
	graph := common.BigValueGraphModeArea
	if p.Bare {
		graph = common.BigValueGraphModeNone
	}
	text := common.BigValueTextModeValue
	if p.Named {
		text = common.BigValueTextModeValueAndName
	}
	b.Min(0)
	if p.Share {
		b.Max(1)
	}
	return b.TextMode(text).ColorMode(common.BigValueColorModeValue).GraphMode(graph)
}

func query(q board.Query, i int, instant bool) *prometheus.DataqueryBuilder {
	b := prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Datasource(source).Expr(q.Expr).LegendFormat(q.Legend)
	if instant {
		return b.Instant()
	}
	if strings.Contains(q.Expr, "mlops_request_duration_seconds_bucket") {
		b.Exemplar(true) // dots that name a trace
	}
	return b.Range()
}
