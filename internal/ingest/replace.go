package ingest

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"mlops/internal/dataset"
)

// A row whose key another source brought before, with other values, takes the
// place of the earlier row where the spec says on_change: replace. The earlier
// row moves to the table of replaced rows, with the batch that replaced it: in
// raw in the transaction of that batch, in clean when that batch is cleaned. So
// the rows that a batch brought are those of the table and those of the replaced
// ones together, and a batch can be cleaned, or taken back, at any later time.

// createReplaced makes the table of replaced rows where it is missing: the
// columns of the rows, and the batch that replaced them.
func createReplaced(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	t := tablesOf(spec)
	cols, err := tableColumns(ctx, tx, t.replaced)
	if err != nil || len(cols) > 0 {
		return err
	}
	for _, sql := range []string{
		fmt.Sprintf("CREATE TABLE %s (LIKE %s, _replaced_by integer NOT NULL)", t.replaced, t.rows),
		fmt.Sprintf("CREATE INDEX %s ON %s (_replaced_by)", ours(spec, "replaced_by"), t.replaced),
		fmt.Sprintf("CREATE INDEX %s ON %s (_batch)", ours(spec, "replaced_place"), t.replaced),
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("creating table %s: %w", t.replaced, err)
		}
	}
	return nil
}

// Replacement is an example of a row that replaced an earlier one, with the
// first column in which they differ.
type Replacement struct {
	Key    string `json:"key"`    // column=value
	Line   int64  `json:"line"`   // in the source that this step read
	Column string `json:"column"` // empty where they differ in spelling only
	Was    string `json:"was"`
	Now    string `json:"now"`
	Batch  int32  `json:"batch"`  // that brought the earlier row
	Before int64  `json:"before"` // its line
}

// String is the example for people, in one line.
func (r Replacement) String() string {
	s := fmt.Sprintf("line %d: %s", r.Line, r.Key)
	if r.Column != "" {
		s += fmt.Sprintf(", column %s was %s, is %s", r.Column, strconv.Quote(r.Was), strconv.Quote(r.Now))
	}
	return fmt.Sprintf("%s (the earlier row: batch %d, line %d)", s, r.Batch, r.Before)
}

// replacementOf returns the first row that replaced another in a batch of raw
// from that one on, nil where there is none.
func replacementOf(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec, from int32) (*Replacement, error) {
	t := tablesOf(spec)
	key := quoteColumn(spec.Key)
	all := columnList(spec, "") + ", _batch, _line"
	sql := fmt.Sprintf(`SELECT n._line::text, o._batch::text, o._line::text, o.%s, %s, %s FROM %s o
		JOIN (SELECT %s FROM %s UNION ALL SELECT %s FROM %s) n ON n.%s = o.%s AND n._batch = o._replaced_by
		WHERE o._replaced_by >= %d ORDER BY o._replaced_by, n._line LIMIT 1`,
		key, columnList(spec, "o."), columnList(spec, "n."), t.replaced, all, t.rows, all, t.replaced, key, key, from)
	var found *Replacement
	var in copyFields
	line := func(text []byte) error {
		f, err := in.read(text)
		if err != nil {
			return err
		}
		found = &Replacement{Key: spec.Key + "=" + example(f[3])}
		var batch int64
		for _, n := range []struct {
			text []byte
			into *int64
		}{{f[0], &found.Line}, {f[1], &batch}, {f[2], &found.Before}} {
			if *n.into, err = strconv.ParseInt(string(n.text), 10, 64); err != nil {
				return err
			}
		}
		found.Batch = int32(batch)
		was, now := f[4:4+len(spec.Columns)], f[4+len(spec.Columns):]
		for c := range spec.Columns {
			if !spec.SameCell(c, was[c], now[c]) {
				found.Column, found.Was, found.Now = spec.Columns[c].Name, example(was[c]), example(now[c])
				break
			}
		}
		return nil
	}
	if _, err := conn.PgConn().CopyTo(ctx, &lineWriter{line: line}, "COPY ("+sql+") TO STDOUT"); err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.replaced, err)
	}
	return found, nil
}

// clear takes the rows that a batch of raw replaced out of clean, before the
// batch's own are copied in: from the rows to the replaced ones; a rejected one
// is marked. It returns how many rows left.
func (p *processor) clear(ctx context.Context, raw *pgx.Conn, tx pgx.Tx, e rawEntry) (gone int64, err error) {
	if _, err := tx.Exec(ctx, "CREATE TEMP TABLE _gone (_batch integer NOT NULL, _line integer NOT NULL) ON COMMIT DROP"); err != nil {
		return 0, fmt.Errorf("making the table of replaced rows: %w", err)
	}
	r, w := io.Pipe()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := raw.PgConn().CopyTo(gctx, w, fmt.Sprintf("COPY (SELECT _batch, _line FROM %s WHERE _replaced_by = %d) TO STDOUT", p.t.replaced, e.id))
		w.CloseWithError(err)
		return err
	})
	g.Go(func() error {
		_, err := tx.Conn().PgConn().CopyFrom(gctx, r, "COPY _gone FROM STDIN")
		r.CloseWithError(err)
		return err
	})
	if err := g.Wait(); err != nil {
		return 0, fmt.Errorf("reading the rows that batch %d replaced: %w", e.id, err)
	}
	columns := columnList(p.cfg.Spec, "") + ", _batch, _line, split"
	rep := strings.NewReplacer("{rows}", p.t.rows, "{replaced}", p.t.replaced, "{rejected}", p.t.rejected, "{columns}", columns)
	tag, err := tx.Exec(ctx, rep.Replace(`WITH gone AS (
			DELETE FROM {rows} r USING _gone g WHERE r._batch = g._batch AND r._line = g._line RETURNING r.*
		) INSERT INTO {replaced} ({columns}, _replaced_by) SELECT {columns}, $1 FROM gone`), e.id)
	if err != nil {
		return 0, fmt.Errorf("clearing replaced rows from clean: %w", err)
	}
	if _, err := tx.Exec(ctx, rep.Replace(`UPDATE {rejected} r SET replaced_by = $1 FROM _gone g WHERE r._batch = g._batch AND r.line = g._line`), e.id); err != nil {
		return 0, fmt.Errorf("clearing replaced rows from clean: %w", err)
	}
	return tag.RowsAffected(), nil
}

// inherit gives the rows of a batch the splits of those that they replaced, and
// returns how many these are. A row that changed its group goes where its group
// is: a hash puts no group in two splits. Where rows are split by time, each goes by its
// own new value.
func (p *processor) inherit(ctx context.Context, tx pgx.Tx, e rawEntry) (replaced int64, err error) {
	split := "o.split"
	if p.cfg.Spec.ByTime() {
		split = "NULL"
	} else if g := p.cfg.Spec.Group; g != "" {
		split = fmt.Sprintf("CASE WHEN n.%[1]s IS NOT DISTINCT FROM o.%[1]s THEN o.split END", quoteColumn(g))
	}
	key := quoteColumn(p.cfg.Spec.Key)
	tag, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE %s n SET split = %s FROM %s o WHERE o._replaced_by = $1 AND n.%s = o.%s AND n._batch = $1`,
		p.t.rows, split, p.t.replaced, key, key), e.id)
	if err != nil {
		return 0, fmt.Errorf("keeping the splits of replaced rows: %w", err)
	}
	return tag.RowsAffected(), nil
}
