package overview

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
)

// Rows are the rows of a data set in the databases.
type Rows struct {
	Raw, RawRejected, Clean, CleanRejected int64
	Split                                  map[string]int64
	SplitRule                              string        // in words; empty: the rows are not split
	RawLosses, CleanLosses                 []ingest.Loss // why rows were rejected
}

// Databases connects to the databases raw and clean.
type Databases func(ctx context.Context, database string) (*pgx.Conn, error)

// Count counts the rows of a data set. Tables that are not there yet count as empty.
func (db Databases) Count(ctx context.Context, name string) (Rows, error) {
	n := Rows{Split: map[string]int64{}}
	table, rejected := pgx.Identifier{name}.Sanitize(), pgx.Identifier{name + "_rejected"}.Sanitize()
	for _, d := range []struct {
		name          string
		rows, refused *int64
		losses        *[]ingest.Loss
	}{{"raw", &n.Raw, &n.RawRejected, &n.RawLosses}, {"clean", &n.Clean, &n.CleanRejected, &n.CleanLosses}} {
		conn, err := db(ctx, d.name)
		if err != nil {
			return n, fmt.Errorf("connecting to the database %s: %w", d.name, err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		for _, q := range []struct {
			table, rows, current string
			into                 *int64
		}{{table, "count(*)", "true", d.rows}, {rejected, ingest.RejectedRows, ingest.StillRejected, d.refused}} {
			var exists bool
			if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", q.table).Scan(&exists); err != nil {
				return n, fmt.Errorf("looking for %s.%s: %w", d.name, q.table, err)
			}
			if !exists {
				continue // not loaded yet
			}
			if err := conn.QueryRow(ctx, "SELECT "+q.rows+" FROM "+q.table+" r WHERE "+q.current).Scan(q.into); err != nil {
				return n, fmt.Errorf("counting %s.%s: %w", d.name, q.table, err)
			}
		}
		if *d.losses, err = ingest.Losses(ctx, conn, name); err != nil {
			return n, err
		}
		if d.name == "raw" || n.Clean == 0 {
			continue
		}
		if n.SplitRule, err = ingest.SplitRule(ctx, conn, name); err != nil {
			return n, err
		}
		rows, err := conn.Query(ctx, "SELECT coalesce(split, ''), count(*) FROM "+table+" GROUP BY 1")
		if err != nil {
			return n, fmt.Errorf("counting splits of clean.%s: %w", table, err)
		}
		var split string
		var count int64
		if _, err := pgx.ForEachRow(rows, []any{&split, &count}, func() error { n.Split[split] = count; return nil }); err != nil {
			return n, fmt.Errorf("counting splits of clean.%s: %w", table, err)
		}
	}
	return n, nil
}

// WriteHead writes the head of a table of data sets' rows.
func WriteHead(w io.Writer) {
	fmt.Fprintf(w, "\nROWS\tRAW\tREJECTED\tCLEAN\tREJECTED\tTRAIN\tVALIDATION\tTEST\n")
}

// Write writes the rows of a data set as a line of that table.
func (n Rows) Write(w io.Writer, name string) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", name, n.Raw, n.RawRejected, n.Clean, n.CleanRejected, n.Split["train"], n.Split["validation"], n.Split["test"])
}

// WriteNotes writes how the rows of a data set are split, and why some were rejected, a
// line for each reason.
func (n Rows) WriteNotes(w io.Writer, name string) {
	if n.SplitRule != "" {
		fmt.Fprintf(w, "split of %s: %s\n", name, n.SplitRule)
	}
	for _, d := range []struct {
		database string
		losses   []ingest.Loss
	}{{"raw", n.RawLosses}, {"clean", n.CleanLosses}} {
		for _, l := range d.losses {
			fmt.Fprintf(w, "%s.%s_rejected: %s\n", d.database, name, l)
		}
	}
}

// Check checks that no row is lost or doubled: source lines = raw + raw rejected
// (of a first load), raw = clean + clean rejected, clean = the three splits.
func (n Rows) Check(want int64) error {
	var errs []error
	if want > 0 && n.Raw+n.RawRejected != want {
		errs = append(errs, fmt.Errorf("%d raw and %d rejected rows make %d, want %d", n.Raw, n.RawRejected, n.Raw+n.RawRejected, want))
	}
	if n.Raw == 0 || n.Clean+n.CleanRejected != n.Raw {
		errs = append(errs, fmt.Errorf("%d clean and %d rejected rows make %d, want the %d raw ones", n.Clean, n.CleanRejected, n.Clean+n.CleanRejected, n.Raw))
	}
	if sum := n.Split["train"] + n.Split["validation"] + n.Split["test"]; sum != n.Clean {
		errs = append(errs, fmt.Errorf("the splits hold %d rows, want the %d clean ones", sum, n.Clean))
	}
	return errors.Join(errs...)
}

func truthQuery(spec *dataset.Spec, record map[string]string) (string, []any) {
	var where []string
	var args []any
	for i, c := range spec.Columns {
		if spec.Ignored(i) {
			continue
		}
		name := pgx.Identifier{ingest.ColumnName(c.Name)}.Sanitize()
		v, ok := record[c.Name]
		if !ok {
			where = append(where, name+" IS NULL")
			continue
		}
		args = append(args, v)
		cast := map[dataset.Type]string{dataset.Integer: "bigint", dataset.Number: "double precision", dataset.Category: "text", dataset.Boolean: "boolean", dataset.Date: "timestamp"}[c.Type]
		// Through text: the value goes over as it stands in the record.
		where = append(where, fmt.Sprintf("%s = $%d::text::%s", name, len(args), cast))
	}
	target := pgx.Identifier{ingest.ColumnName(spec.Target.Column)}.Sanitize()
	return fmt.Sprintf("SELECT DISTINCT %s::text FROM %s WHERE split = 'test' AND %s IS NOT NULL AND %s",
		target, pgx.Identifier{spec.Name}.Sanitize(), target, strings.Join(where, " AND ")), args
}

// Truth looks up the target of a sample, which was stored without key and
// target, among the test rows: all its other columns have to be equal.
func (db Databases) Truth(ctx context.Context, spec *dataset.Spec, record map[string]string) (string, error) {
	conn, err := db(ctx, "clean")
	if err != nil {
		return "", fmt.Errorf("connecting to the database clean: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	sql, args := truthQuery(spec, record)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return "", fmt.Errorf("looking up the sample's row: %w", err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("looking up the sample's row: %w", err)
	}
	switch len(values) {
	case 0:
		return "", fmt.Errorf("the sample stored with the model is not a row of clean.%s", spec.Name)
	case 1:
		if spec.Task != dataset.Binary {
			return fmt.Sprintf("%s is %s", spec.Target.Column, values[0]), nil
		}
		label := spec.Target.Labels.Negative
		if slices.Contains(spec.Target.Positive, values[0]) {
			label = spec.Target.Labels.Positive
		}
		return fmt.Sprintf("%s (%s is %s)", label, spec.Target.Column, values[0]), nil
	}
	return "not known, several rows look like this", nil
}
