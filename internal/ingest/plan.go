package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/progress"
	"mlops/internal/source"
)

// Without a key, rows are recognized by their content and its count: a source
// that has a row three times, of which two are there, brings one. Before its
// first batch is loaded, the whole source is compared with the rows that are
// there, which gives the lines that bring something new: the plan. Postgres
// sorts hashes of both for it, so memory does not grow; and a known row never
// goes to the server.
//
// The plan follows from the source, the rows that are there and the spec. It
// holds while the ledger's last batch is the one that it was made or continued
// with, and is rebuilt otherwise: rows of the same source that are there
// already count among those known, so the lines that are left come out the same
// whenever it is made. docs/decisions/0013-data-that-changes.md says more.

// planTables are a plan's tables, the same for all runs of a data set. They are
// unlogged: a crash of the server empties both, and the plan is rebuilt.
type planTables struct{ of, lines string }

func planOf(spec *dataset.Spec) planTables {
	return planTables{of: ours(spec, "plan"), lines: ours(spec, "plan_lines")}
}

// Absent says how many rows that are there a source no longer has. They stay.
type Absent struct {
	Rows  int64  `json:"rows"`
	Batch int32  `json:"batch"` // of an example
	Line  int64  `json:"line"`  // in the source that brought it
	Text  string `json:"text"`
	Key   string `json:"key,omitempty"` // of the example, where rows have one
}

// String is what became of the rows for people, in one line.
func (a Absent) String() string {
	example := fmt.Sprintf("batch %d, line %d", a.Batch, a.Line)
	if a.Key != "" {
		example = a.Key + ", " + example
	}
	return fmt.Sprintf("%s of earlier files not in this one, and kept; for example %s: %s", progress.Counted(a.Rows, "row"), example, strconv.Quote(a.Text))
}

// prepare makes the plan of a source without a key, unless the one that is there
// holds.
func (l *loader) prepare(ctx context.Context, conn *pgx.Conn) error {
	p := planOf(l.cfg.Spec)
	for _, sql := range []string{
		fmt.Sprintf(`CREATE UNLOGGED TABLE IF NOT EXISTS %s (digest text NOT NULL, spec text NOT NULL, last integer NOT NULL,
			absent bigint NOT NULL, absent_batch integer NOT NULL, absent_line integer NOT NULL)`, p.of),
		fmt.Sprintf(`CREATE UNLOGGED TABLE IF NOT EXISTS %s (line integer PRIMARY KEY)`, p.lines),
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("creating the plan's tables: %w", err)
		}
	}
	var holds bool
	if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT EXISTS (SELECT FROM %s WHERE digest = $1 AND spec = $2 AND last = (SELECT coalesce(max(id), 0) FROM %s))", p.of, l.t.batches),
		l.table.Digest, l.cfg.Spec.Digest()).Scan(&holds); err != nil || holds {
		return err
	}
	if err := l.compare(ctx, conn, p); err != nil {
		return fmt.Errorf("comparing %s with the rows that are there: %w", l.table.Source, err)
	}
	return nil
}

// compare makes the plan.
func (l *loader) compare(ctx context.Context, conn *pgx.Conn, p planTables) error {
	pg := l.cfg.Postgres.Defaults()
	raw, err := postgres.Connect(ctx, pg, pg.Raw, l.logger) // a connection does one COPY at a time
	if err != nil {
		return err
	}
	defer raw.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, fmt.Sprintf(`TRUNCATE %s, %s;
		CREATE TEMP TABLE _there (content uuid NOT NULL, _batch integer NOT NULL, _line integer NOT NULL) ON COMMIT DROP;
		CREATE TEMP TABLE _source (content uuid NOT NULL, _line integer NOT NULL) ON COMMIT DROP`, p.of, p.lines)); err != nil {
		return err
	}
	there, err := l.hashThere(ctx, raw, conn)
	if err != nil {
		return err
	}
	read, err := l.hashSource(ctx, conn)
	if err != nil {
		return err
	}
	r := strings.NewReplacer("{plan}", p.of, "{lines}", p.lines, "{batches}", l.t.batches)
	if _, err := tx.Exec(ctx, "ANALYZE _there; ANALYZE _source"); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, r.Replace(`INSERT INTO {lines}
		SELECT _line FROM (SELECT content, _line, row_number() OVER (PARTITION BY content ORDER BY _line) AS nth FROM _source) s
		LEFT JOIN (SELECT content, count(*) AS have FROM _there GROUP BY 1) t USING (content)
		WHERE nth > coalesce(have, 0) ORDER BY _line`))
	if err != nil {
		return err
	}
	// Of rows that are there more often than in the source, the last ones are
	// those that it has no more.
	var absent int64
	if err := tx.QueryRow(ctx, r.Replace(`WITH absent AS (
			SELECT _batch, _line FROM (SELECT content, _batch, _line, row_number() OVER (PARTITION BY content ORDER BY _batch, _line) AS nth FROM _there) t
			LEFT JOIN (SELECT content, count(*) AS have FROM _source GROUP BY 1) s USING (content)
			WHERE nth > coalesce(have, 0)
		), one AS (SELECT _batch, _line FROM absent ORDER BY _batch, _line LIMIT 1)
		INSERT INTO {plan} SELECT $1, $2, (SELECT coalesce(max(id), 0) FROM {batches}),
			(SELECT count(*) FROM absent), coalesce((SELECT _batch FROM one), 0), coalesce((SELECT _line FROM one), 0)
		RETURNING absent`), l.table.Digest, l.cfg.Spec.Digest()).Scan(&absent); err != nil {
		return err
	}
	l.logger.Info("compared the source with the rows that are there", "records", read, "there", there, "new", tag.RowsAffected(), "absent", absent)
	return tx.Commit(ctx)
}

// hashThere copies the hashes of all rows that are there to the server.
func (l *loader) hashThere(ctx context.Context, raw, conn *pgx.Conn) (int64, error) {
	r, w := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	var n int64
	g.Go(func() error {
		err := func() error {
			var in copyFields
			content := contentOf{spec: l.cfg.Spec}
			out := make([]byte, 0, chunkSize+1024)
			line := func(text []byte) error {
				f, err := in.read(text)
				if err != nil {
					return err
				}
				columns := len(l.cfg.Spec.Columns)
				out = content.append(out, f[:columns])
				for _, field := range f[columns:] {
					out = append(append(out, '\t'), field...)
				}
				if out = append(out, '\n'); len(out) < chunkSize {
					return nil
				}
				_, err = w.Write(out)
				out = out[:0]
				return err
			}
			sql := fmt.Sprintf("COPY (SELECT %s, _batch, _line FROM %s) TO STDOUT", columnList(l.cfg.Spec, ""), l.t.rows)
			if _, err := raw.PgConn().CopyTo(ctx, &lineWriter{line: line}, sql); err != nil {
				return err
			}
			_, err := w.Write(out)
			return err
		}()
		w.CloseWithError(err) // io.EOF for the reader where there is none
		return err
	})
	g.Go(func() error {
		tag, err := conn.PgConn().CopyFrom(ctx, r, "COPY _there FROM STDIN")
		n = tag.RowsAffected()
		r.CloseWithError(err)
		return err
	})
	return n, g.Wait()
}

// hashSource copies the hashes of all records of the source that can be rows.
func (l *loader) hashSource(ctx context.Context, conn *pgx.Conn) (int64, error) {
	records, err := l.table.Records(source.Position{})
	if err != nil {
		return 0, err
	}
	b := &rawBatch{spec: l.cfg.Spec, key: -1}
	content := contentOf{spec: l.cfg.Spec}
	var out []byte
	n, _, err := copyBatch(ctx, conn, "COPY _source FROM STDIN", "", func() (chunk, error) {
		out = out[:0]
		for len(out) < chunkSize {
			rec, err := records.Next()
			if err != nil {
				return chunk{rows: out}, err // io.EOF among them
			}
			if b.judge(rec) != (rejection{}) {
				continue
			}
			out = content.append(out, rec.Fields)
			out = append(out, '\t')
			out = strconv.AppendInt(out, rec.Line, 10)
			out = append(out, '\n')
		}
		return chunk{rows: out}, ctx.Err()
	})
	if err == nil {
		records.Close() // otherwise a COPY that broke off may still be reading
	}
	return n, err
}

// fresh returns the lines that bring something new, from that one on, as many as
// a batch may have.
func (l *loader) fresh(ctx context.Context, tx pgx.Tx, from int64) ([]int32, error) {
	found, err := tx.Query(ctx, fmt.Sprintf("SELECT line FROM %s WHERE line >= $1 ORDER BY line LIMIT $2", planOf(l.cfg.Spec).lines), from, l.cfg.Batch)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	lines, err := pgx.CollectRows(found, pgx.RowTo[int32])
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	return lines, nil
}

// proceed makes the plan hold after a batch of its source.
func (l *loader) proceed(ctx context.Context, tx pgx.Tx, e entry) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET last = $1", planOf(l.cfg.Spec).of), e.id); err != nil {
		return fmt.Errorf("keeping the plan: %w", err)
	}
	return nil
}

// absent returns what the plan found of rows that the source no longer has, nil
// where there are none.
func (l *loader) absent(ctx context.Context, conn *pgx.Conn) (*Absent, error) {
	var a Absent
	if ok, err := exists(ctx, conn, planOf(l.cfg.Spec).of); err != nil || !ok {
		return nil, err
	}
	err := conn.QueryRow(ctx, fmt.Sprintf("SELECT absent, absent_batch, absent_line FROM %s WHERE digest = $1", planOf(l.cfg.Spec).of), l.table.Digest).
		Scan(&a.Rows, &a.Batch, &a.Line)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && a.Rows == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	if err := l.exemplify(ctx, conn, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// exemplify looks up the text of the example.
func (l *loader) exemplify(ctx context.Context, conn interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, a *Absent) error {
	var fields []string
	for i, name := range columnNames(l.cfg.Spec, "") {
		if i == 8 {
			fields = append(fields, "'...'")
			break
		}
		fields = append(fields, "coalesce("+name+", '')")
	}
	if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT concat_ws(',', %s) FROM %s WHERE _batch = $1 AND _line = $2", strings.Join(fields, ", "), l.t.rows), a.Batch, a.Line).
		Scan(&a.Text); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("reading %s: %w", l.t.rows, err)
	}
	a.Text = example([]byte(a.Text))
	return nil
}

// dropPlan removes the plan of a source that is exhausted.
func (l *loader) dropPlan(ctx context.Context, conn *pgx.Conn) error {
	p := planOf(l.cfg.Spec)
	if _, err := conn.Exec(ctx, fmt.Sprintf("DROP TABLE IF EXISTS %s, %s", p.of, p.lines)); err != nil {
		return fmt.Errorf("dropping the plan: %w", err)
	}
	return nil
}

// contentOf hashes rows by their values in canonical form: half of a SHA-256, so
// that different rows never count as equal, also where someone tries.
type contentOf struct {
	spec *dataset.Spec
	text []byte
}

// append appends a row's hash in hex. A field that is no value of its column goes
// by its text. No field holds NUL, which parts them.
func (c *contentOf) append(b []byte, fields [][]byte) []byte {
	c.text = c.text[:0]
	for i, field := range fields {
		v, err := c.spec.Cell(i, field)
		if err != nil {
			v = bytes.TrimSpace(field)
		}
		c.text = append(append(c.text, v...), 0) // no value is an empty text
	}
	sum := sha256.Sum256(c.text)
	return hex.AppendEncode(b, sum[:16])
}
