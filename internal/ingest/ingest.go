// Package ingest is the three data steps. LoadRaw brings a source's records
// into the database raw, as they are; Process brings them cleaned and typed
// into the database clean; Split shares the clean rows out. Training reads them
// with Rows.
//
// Each step works batch by batch, one transaction per batch, and a ledger says
// in that transaction which batches there are: a step that was killed at any
// moment goes on where its last transaction ended. A run that rejects more rows
// than the spec allows takes its batches back. docs/decisions/0004-ledgers.md
// says why this holds.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/source"
)

// Batch is how many records a batch has where nobody says otherwise.
const Batch = 15_000

// Config is what the steps need. Spec and Logger are required.
type Config struct {
	Spec     *dataset.Spec
	Postgres postgres.Config
	Logger   *slog.Logger

	// For LoadRaw only.
	Source string         // URL or path; empty: the spec's
	Batch  int            // records a batch; 0: Batch
	All    bool           // load all that is left, not one batch
	Open   source.Options // keys of remote sources, limits; LoadRaw sets columns, member and digest

	kept int64 // rejected lines of a source that are kept one by one; 0: maxKept
}

// Mismatch says that what the databases hold was made by another spec, so that
// going on would mix two things or move rows from one split to another.
type Mismatch struct{ Reason string }

func (e *Mismatch) Error() string { return e.Reason }

// ExitCode is what a step's program ends with: 0; 2 where the input is wrong
// and a second try can't help; 1 otherwise.
func ExitCode(err error) int {
	var bad *source.Error
	var other *Mismatch
	var spec *dataset.Error
	var losses *LossError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad), errors.As(err, &other), errors.As(err, &spec), errors.As(err, &losses), errors.Is(err, fs.ErrNotExist):
		return 2
	}
	return 1
}

// tables are the names of a data set's tables, quoted, the same in both
// databases.
type tables struct {
	rows, batches, rejected, replaced, split, meaning string
}

func tablesOf(spec *dataset.Spec) tables {
	return tables{
		rows:     quote(spec.Name),
		batches:  quote(spec.Name + "_batches"),
		rejected: quote(spec.Name + "_rejected"),
		replaced: quote(spec.Name + "_replaced"),
		split:    quote(spec.Name + "_split"),
		meaning:  ours(spec, "meaning"),
	}
}

// ours is the name of an index or a constraint of a data set. It starts with an
// underscore, which no data set's name does: whatever data sets are called, a
// table of one never meets an index of another.
func ours(spec *dataset.Spec, what string) string { return quote("_" + spec.Name + "_" + what) }

// ColumnName is how a column of the spec is called in the databases.
func ColumnName(name string) string { return postgres.ColumnName(name) }

// quoteColumn is a column of the spec as an SQL identifier.
func quoteColumn(name string) string { return quote(ColumnName(name)) }

// quote makes a name an SQL identifier; columns are named by the spec, and may
// hold dashes or be SQL's own words.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// quoteText makes a text an SQL literal, for the places that take no parameter.
// It relies on standard_conforming_strings, which is on since Postgres 9.1.
func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// columnNames returns the spec's columns, each with a prefix, quoted.
func columnNames(spec *dataset.Spec, prefix string) []string {
	names := make([]string, len(spec.Columns))
	for i, c := range spec.Columns {
		names[i] = prefix + quoteColumn(c.Name)
	}
	return names
}

// columnList is columnNames as SQL takes it.
func columnList(spec *dataset.Spec, prefix string) string {
	return strings.Join(columnNames(spec, prefix), ", ")
}

// exists reports whether the database has a table.
func exists(ctx context.Context, conn *pgx.Conn, table string) (bool, error) {
	var ok bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&ok); err != nil {
		return false, fmt.Errorf("looking for table %s: %w", table, err)
	}
	return ok, nil
}

// column is one column of a table, as Postgres has it.
type column struct{ name, kind string }

// tableColumns returns a table's columns in their order.
func tableColumns(ctx context.Context, tx pgx.Tx, table string) ([]column, error) {
	rows, err := tx.Query(ctx, `SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, table)
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", table, err)
	}
	cols, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (column, error) {
		var c column
		return c, r.Scan(&c.name, &c.kind)
	})
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", table, err)
	}
	return cols, nil
}

// lacking is a column that a table of an earlier release does not have.
type lacking struct{ table, name, ddl string }

// upgrade adds to tables of an earlier release the columns that they lack.
func upgrade(ctx context.Context, tx pgx.Tx, columns []lacking) error {
	for _, c := range columns {
		got, err := tableColumns(ctx, tx, c.table)
		if err != nil {
			return err
		}
		if len(got) == 0 || slices.ContainsFunc(got, func(have column) bool { return have.name == c.name }) {
			continue // only clean has every table
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", c.table, quote(c.name), c.ddl)); err != nil {
			return fmt.Errorf("upgrading table %s: %w", c.table, err)
		}
	}
	return nil
}
