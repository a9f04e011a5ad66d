package ingest

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/progress"
)

// rowCost is how many bytes a row takes in Postgres besides its values: header, pointer,
// batch and line, and its entries in indexes.
const rowCost = 48

// fits refuses a source whose new rows can't be kept, before any of them is loaded.
func (l *loader) fits(ctx context.Context, conn *pgx.Conn) error {
	free, known, err := postgres.Free(ctx, conn)
	if err != nil || !known {
		return err
	}
	last, err := lastEntry(ctx, conn, l.t, l.table.Digest)
	if err != nil {
		return err
	}
	var others int64 // rows that this source may have too, and that are then known
	if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(sum(rows), 0) FROM %s WHERE digest <> $1", l.t.batches), l.table.Digest).Scan(&others); err != nil {
		return fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
	}
	lines := max(0, l.table.Lines-last.lastLine-others)
	if need := needs(l.table.Size, l.table.Lines, lines, len(l.cfg.Spec.Columns)); need > free {
		return &Mismatch{fmt.Sprintf("loading %s lines of %s takes about %s in Postgres, raw and clean together, and its volume has %s left: make room or enlarge the volume; docs/operating.md says how",
			progress.Count(lines), l.table.Source, dataset.Size(need), dataset.Size(free))}
	}
	return nil
}

// needs estimates how many bytes some lines of a table take, in raw and in clean.
func needs(size, all, lines int64, columns int) int64 {
	if all == 0 {
		return 0
	}
	return int64(2 * float64(lines) * (float64(size)/float64(all) + rowCost + float64(columns)))
}
