package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mlops/internal/source"
)

// gone says how many rows of other sources a used-up source does not have, by their keys;
// nil where there are none. Its keys are read once more for it and compared in Postgres,
// so memory does not grow with them. A line that could not be read has no key.
func (l *loader) gone(ctx context.Context, conn *pgx.Conn) (*Absent, error) {
	var a Absent
	var others bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+l.t.batches+" WHERE digest <> $1)", l.table.Digest).Scan(&others); err != nil {
		return nil, fmt.Errorf("looking for rows that %s no longer has: %w", l.table.Source, err)
	}
	if !others {
		return nil, nil
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `CREATE TEMP TABLE _keys (key text COLLATE "C" NOT NULL) ON COMMIT DROP`); err != nil {
			return err
		}
		if err := l.copyKeys(ctx, conn); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "ANALYZE _keys"); err != nil {
			return err
		}
		key := quoteColumn(l.cfg.Spec.Key)
		err := tx.QueryRow(ctx, fmt.Sprintf(`WITH gone AS (SELECT %[1]s AS _key, _batch, _line FROM %[2]s r WHERE NOT EXISTS (SELECT FROM _keys k WHERE k.key = r.%[1]s))
			SELECT (SELECT count(*) FROM gone), _batch, _line, left(_key, %[3]d) FROM gone ORDER BY _batch, _line LIMIT 1`, key, l.t.rows, maxExample)).
			Scan(&a.Rows, &a.Batch, &a.Line, &a.Key)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		a.Key = l.cfg.Spec.Key + "=" + a.Key
		return l.exemplify(ctx, tx, &a)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for rows that %s no longer has: %w", l.table.Source, err)
	}
	if a.Rows == 0 {
		return nil, nil
	}
	l.logger.Info("rows of earlier files are not in this one, and stay", "rows", a.Rows, "example", a.Key)
	return &a, nil
}

// copyKeys copies the source's keys to the server.
func (l *loader) copyKeys(ctx context.Context, conn *pgx.Conn) error {
	records, err := l.table.Records(source.Position{})
	if err != nil {
		return err
	}
	b := &rawBatch{spec: l.cfg.Spec, key: l.cfg.Spec.Column(l.cfg.Spec.Key)}
	var out []byte
	_, _, err = copyBatch(ctx, conn, "COPY _keys FROM STDIN", "", func() (chunk, error) {
		out = out[:0]
		for len(out) < chunkSize {
			rec, err := records.Next()
			if err != nil {
				return chunk{rows: out}, err // io.EOF among them
			}
			if b.judge(rec) == (rejection{}) {
				out = append(appendField(out, b.keyText), '\n')
			}
		}
		return chunk{rows: out}, ctx.Err()
	})
	if err == nil {
		records.Close() // otherwise a COPY that broke off may still be reading
	}
	return err
}
