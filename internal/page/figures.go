package page

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/dashboards/board"
	"mlops/internal/postgres"
)

const (
	figuresPatience = 2 * time.Second // with a Postgres that does not respond
	figuresVersions = 30              // shown, the newest of each model first
)

// monitorTable is a table of a dashboard: a row per version, a column per metric.
type monitorTable struct {
	Title, Description string
	Empty              string // why there are no rows
	Header             []string
	Rows               [][]string
}

// versionFigure is a row of board.VersionMetrics.
type versionFigure struct {
	Model      string
	Version    int
	Aliases    *string
	Registered time.Time
	Metric     string
	Value      float64
}

// UseFigures makes the page Monitor show how each version did, from MLflow's database.
// The role of cfg needs to read only what board.VersionMetrics names.
func (s *Server) UseFigures(cfg postgres.Config) {
	cfg.Patience = figuresPatience
	s.monitor.figures = postgres.NewSession(cfg, "mlflow", "", s.log)
}

// table asks for the figures of versions. The caller must see to it that only one does so
// at a time.
func (m *monitor) table(ctx context.Context, t board.Table) monitorTable {
	v := monitorTable{Title: t.Title, Description: t.Description}
	all, err := m.versions(ctx, t.SQL)
	switch {
	case err != nil:
		v.Empty = "MLflow's database could not be asked: " + postgres.Cause(err).Error()
	case len(all) == 0:
		v.Empty = "No version is registered yet."
	default:
		v.Header, v.Rows = pivot(all)
	}
	return v
}

func (m *monitor) versions(ctx context.Context, statement string) ([]versionFigure, error) {
	conn, err := m.figures.Conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[versionFigure])
}

// pivot makes a row of each version, with a column for each metric that any of them has.
func pivot(all []versionFigure) (header []string, rows [][]string) {
	var metrics []string
	for _, f := range all {
		if !slices.Contains(metrics, f.Metric) {
			metrics = append(metrics, f.Metric)
		}
	}
	slices.Sort(metrics)
	header = []string{"model", "version", "aliases", "registered"}
	for _, m := range metrics {
		header = append(header, strings.TrimPrefix(m, "test_"))
	}
	at := map[string]int{} // rows by model and version
	for _, f := range all {
		key := fmt.Sprint(f.Version, " ", f.Model)
		i, known := at[key]
		if !known {
			if len(rows) == figuresVersions {
				continue
			}
			i = len(rows)
			at[key] = i
			row := make([]string, len(header))
			row[0], row[1], row[3] = f.Model, strconv.Itoa(f.Version), f.Registered.UTC().Format("2006-01-02 15:04")
			if f.Aliases != nil {
				row[2] = *f.Aliases
			}
			rows = append(rows, row)
		}
		rows[i][4+slices.Index(metrics, f.Metric)] = strconv.FormatFloat(f.Value, 'g', 4, 64)
	}
	return header, rows
}
