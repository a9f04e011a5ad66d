package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"mlops/internal/postgres"
)

// Process cleans the batches of raw that clean does not have yet: spaces around
// a value go, missing markers become NULL, numbers are numbers. A row whose
// value is none of its column's, or whose key is there already once it is
// typed ("7" and "07"), is rejected. Where a row of raw was replaced, the one in
// clean is too, and its split stays.
//
// It writes to the database clean only, and a batch's ledger entry there is in
// the transaction of its rows. A run that rejects more rows than the spec allows
// ends with a *LossError, and its batches leave clean and raw.
func Process(ctx context.Context, cfg Config) (Report, error) {
	pg := cfg.Postgres.Defaults()
	p := &processor{cfg: cfg, t: tablesOf(cfg.Spec)}
	p.raw = postgres.NewSession(pg, pg.Raw, "", cfg.Logger)
	defer p.raw.Close()
	clean := postgres.NewSession(pg, pg.Clean, "clean "+cfg.Spec.Name, cfg.Logger)
	defer clean.Close()
	if err := p.run(ctx, clean); err != nil {
		return p.report, err
	}
	return p.report, p.settle(ctx, clean)
}

type processor struct {
	cfg     Config
	t       tables
	raw     *postgres.Session
	report  Report
	first   int32 // the first batch that this run has to accept or take back
	careful bool
	said    bool // that clean is rebuilt
}

// rawEntry is a batch of raw that is to be cleaned.
type rawEntry struct {
	id, number int32
	digest     string
	rows       int64 // new ones and those that replaced others
	replaced   int64 // of them
}

func (p *processor) run(ctx context.Context, clean *postgres.Session) error {
	for {
		var todo []rawEntry
		err := clean.Do(ctx, "preparing clean", func(ctx context.Context, conn *pgx.Conn) error {
			filled, err := p.checkRaw(ctx)
			if err != nil {
				return err
			}
			if err := createClean(ctx, conn, p.cfg.Spec, filled); err != nil {
				return err
			}
			if err := p.sayRebuild(ctx, conn); err != nil {
				return err
			}
			if todo, err = p.pending(ctx, conn); err != nil {
				return err
			}
			return p.tell(ctx, conn)
		})
		if err != nil {
			return err
		}
		// Repeated until nothing is left: raw may have got more meanwhile, and
		// only the ledger knows what of this run is there to stay.
		if len(todo) == 0 {
			break
		}
		if p.first == 0 {
			p.first = todo[0].id
		}
		early, err := p.work(ctx, clean, todo)
		if err != nil {
			return err
		}
		if early {
			if err := clean.Do(ctx, "ending", p.tell); err != nil {
				return err
			}
			break
		}
	}
	if p.report.Batches == 0 {
		p.cfg.Logger.Info("nothing to clean: every batch of raw is in clean already")
	}
	return nil
}

// tell fills the report in from the ledger: the batches that no run has
// accepted yet.
func (p *processor) tell(ctx context.Context, conn *pgx.Conn) error {
	r := Report{Step: "process-data"}
	var ids []int32
	err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(replaced), 0), coalesce(sum(rejected), 0), coalesce(min(batch), 0),
			coalesce(array_agg(batch) FILTER (WHERE rejected > 0), '{}')
		FROM %s WHERE NOT accepted`, p.t.batches)).Scan(&r.Batches, &r.Taken, &r.Replaced, &r.Rejected, &p.first, &ids)
	if err != nil {
		return fmt.Errorf("reading the ledger of clean: %w", err)
	}
	r.Read = r.Taken + r.Replaced + r.Rejected
	if err := p.tellRebuild(ctx, conn, &r); err != nil {
		return err
	}
	if r.Replaced > 0 {
		raw, err := p.raw.Conn(ctx)
		if err != nil {
			return err
		}
		if r.Replacement, err = replacementOf(ctx, raw, p.cfg.Spec, p.first); err != nil {
			return err
		}
	}
	if r.Rejected > 0 {
		losses, err := lossesOf(ctx, conn, p.t.rejected, ids)
		if err != nil {
			return err
		}
		r.reject(losses)
		addRemedies(p.cfg.Spec, r.Losses)
	}
	p.report = r
	return nil
}

// checkRaw refuses a spec that raw was not made for yet, and returns how often
// columns of it were filled in.
func (p *processor) checkRaw(ctx context.Context) (filled int64, err error) {
	raw, err := p.raw.Conn(ctx)
	if err != nil {
		return 0, err
	}
	if ok, err := exists(ctx, raw, p.t.batches); err != nil || !ok {
		return 0, err
	}
	tx, err := raw.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // it only reads
	there, err := headers(ctx, tx, p.t.rows)
	if err != nil {
		return 0, err
	}
	for _, c := range p.cfg.Spec.Columns {
		if _, ok := there[ColumnName(c.Name)]; !ok {
			return 0, &Mismatch{fmt.Sprintf("raw.%s has no column %s yet: run load-raw-data first, which makes it", p.cfg.Spec.Name, c.Name)}
		}
	}
	if err := checkKey(ctx, tx, "raw", p.cfg.Spec); err != nil {
		return 0, err
	}
	if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(sum(filled), 0) FROM %s", p.t.batches)).Scan(&filled); err != nil {
		return 0, fmt.Errorf("reading the ledger of raw: %w", err)
	}
	return filled, nil
}

// sayRebuild logs once that clean is rebuilt, and why.
func (p *processor) sayRebuild(ctx context.Context, conn *pgx.Conn) error {
	var r Report
	if err := p.tellRebuild(ctx, conn, &r); err != nil || len(r.Changed) == 0 || p.said {
		return err
	}
	p.said = true
	p.cfg.Logger.Info("rebuilding clean from raw, because the spec changed", "changed", r.Changed)
	return nil
}

// work cleans some batches. It stops early, and says so, once more rows are
// rejected than the limit allows of all of them.
func (p *processor) work(ctx context.Context, clean *postgres.Session, todo []rawEntry) (early bool, err error) {
	var total, sofar int64
	for _, e := range todo {
		total += e.rows
	}
	most, rejected := p.cfg.Spec.AtMost().Of(p.report.Read+total), p.report.Rejected
	for _, e := range todo {
		var rows, replaced, refused int64
		err := clean.Do(ctx, fmt.Sprintf("cleaning batch %d", e.id), func(ctx context.Context, conn *pgx.Conn) error {
			var err error
			rows, replaced, refused, err = p.batch(ctx, conn, e)
			return err
		})
		if err != nil {
			return false, err
		}
		sofar += e.rows
		rejected += refused
		p.cfg.Logger.Info("batch cleaned", "batch", e.id, "rows", rows, "replaced", replaced, "rejected", refused)
		p.cfg.Logger.Info("progress", "done", sofar, "total", total, "unit", "rows")
		if p.report.Read+sofar > enough && rejected > most {
			return true, nil
		}
	}
	return false, nil
}

// pending returns the batches that brought rows to raw and are not in clean's
// ledger, in the order in which they came.
func (p *processor) pending(ctx context.Context, clean *pgx.Conn) ([]rawEntry, error) {
	rows, err := clean.Query(ctx, fmt.Sprintf("SELECT batch FROM %s", p.t.batches))
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of clean: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of clean: %w", err)
	}
	raw, err := p.raw.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if ok, err := exists(ctx, raw, p.t.batches); err != nil || !ok {
		return nil, err
	}
	rows, err = raw.Query(ctx, fmt.Sprintf(`SELECT id, batch, digest, rows + replaced, replaced FROM %s
		WHERE rows + replaced > 0 AND accepted AND id <> ALL ($1) ORDER BY id`, p.t.batches), ids)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of raw: %w", err)
	}
	todo, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (rawEntry, error) {
		var e rawEntry
		return e, r.Scan(&e.id, &e.number, &e.digest, &e.rows, &e.replaced)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of raw: %w", err)
	}
	return todo, nil
}

// batch cleans one batch in one transaction, unless an earlier try of it was
// committed.
func (p *processor) batch(ctx context.Context, conn *pgx.Conn, e rawEntry) (rows, replaced, rejected int64, err error) {
	err = conn.QueryRow(ctx, fmt.Sprintf("SELECT rows, replaced, rejected FROM %s WHERE batch = $1", p.t.batches), e.id).Scan(&rows, &replaced, &rejected)
	if !errors.Is(err, pgx.ErrNoRows) {
		return rows, replaced, rejected, err
	}
	rows, replaced, rejected, err = p.clean(ctx, conn, e)
	if postgres.Code(err) == postgres.UniqueViolation && !p.careful {
		p.cfg.Logger.Info("duplicate keys once they are typed: continuing row by row", "batch", e.id)
		p.careful = true
		rows, replaced, rejected, err = p.clean(ctx, conn, e)
	}
	return rows, replaced, rejected, err
}

func (p *processor) clean(ctx context.Context, conn *pgx.Conn, e rawEntry) (rows, replaced, rejected int64, err error) {
	raw, err := p.raw.Conn(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	// A table just loaded has no statistics yet, and without them the planner
	// would read all of it for each batch.
	if _, err := raw.Exec(ctx, "SET enable_seqscan = off"); err != nil {
		return 0, 0, 0, fmt.Errorf("reading raw: %w", err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	var gone int64
	if e.replaced > 0 {
		if gone, err = p.clear(ctx, raw, tx, e); err != nil {
			return 0, 0, 0, err
		}
	}
	into := p.t.rows
	if p.careful {
		if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE _staged (LIKE %s) ON COMMIT DROP", p.t.rows)); err != nil {
			return 0, 0, 0, fmt.Errorf("making the staging table: %w", err)
		}
		into = "_staged"
	}
	rows, rejected, err = p.stream(ctx, raw, conn, e, into)
	if err != nil {
		return 0, 0, 0, err
	}
	if p.careful {
		var twice int64
		if rows, twice, err = p.judge(ctx, tx); err != nil {
			return 0, 0, 0, err
		}
		rejected += twice
	}
	if gone > 0 {
		if replaced, err = p.inherit(ctx, tx, e); err != nil {
			return 0, 0, 0, err
		}
		rows -= replaced
	}
	if rows+replaced+rejected != e.rows {
		return 0, 0, 0, fmt.Errorf("batch %d: %d rows, %d replaced and %d rejected do not add up to the %d of raw", e.id, rows, replaced, rejected, e.rows)
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (batch, digest, number, rows, replaced, gone, rejected, accepted, processed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, false, clock_timestamp())`, p.t.batches), e.id, e.digest, e.number, rows, replaced, gone, rejected)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("writing the ledger of clean: %w", err)
	}
	return rows, replaced, rejected, tx.Commit(ctx)
}

// stream copies a batch out of raw and, cleaned, into clean, at the same time.
func (p *processor) stream(ctx context.Context, raw, clean *pgx.Conn, e rawEntry, into string) (rows, rejected int64, err error) {
	g, ctx := errgroup.WithContext(ctx)
	full := make(chan chunk)
	free := make(chan chunk, 3) // two on their way, one at rest
	for range cap(free) {
		free <- chunk{}
	}
	c := &cleaner{spec: p.cfg.Spec, id: e.id, ctx: ctx, full: full, free: free}
	g.Go(func() error {
		defer close(full)
		lines := &lineWriter{line: c.line}
		// The order makes the same rows land in the same place, and the same
		// one of two equal keys, whenever it runs.
		columns := columnList(p.cfg.Spec, "") + ", _line"
		sql := fmt.Sprintf("COPY (SELECT %s FROM %s WHERE _batch = %d UNION ALL SELECT %s FROM %s WHERE _batch = %d ORDER BY _line) TO STDOUT",
			columns, p.t.rows, e.id, columns, p.t.replaced, e.id) // a later batch may have replaced some of them already
		if _, err := raw.PgConn().CopyTo(ctx, lines, sql); err != nil {
			return fmt.Errorf("reading batch %d of raw: %w", e.id, err)
		}
		return c.send()
	})
	g.Go(func() error {
		var last chunk
		held := false
		next := func() (chunk, error) {
			if held {
				free <- last
			}
			select {
			case last, held = <-full:
			case <-ctx.Done():
				held = false
				return chunk{}, ctx.Err()
			}
			if !held {
				return chunk{}, io.EOF
			}
			return last, nil
		}
		var err error
		rows, rejected, err = copyBatch(ctx, clean,
			fmt.Sprintf("COPY %s (%s, _batch, _line) FROM STDIN", into, columnList(p.cfg.Spec, "")),
			fmt.Sprintf("COPY %s (%s) FROM STDIN", p.t.rejected, cleanRejected), next)
		return err
	})
	return rows, rejected, g.Wait()
}

// judge moves the staged rows to the table, but for those whose key is there
// already, in the table or on an earlier line of the batch.
func (p *processor) judge(ctx context.Context, tx pgx.Tx) (rows, rejected int64, err error) {
	r := strings.NewReplacer(
		"{rows}", p.t.rows, "{rejected}", p.t.rejected, "{columns}", columnList(p.cfg.Spec, ""),
		"{key}", quoteColumn(p.cfg.Spec.Key), "{twice}", quoteText(keyTwice), "{name}", quoteText(p.cfg.Spec.Key),
	)
	sql := r.Replace(`
WITH judged AS MATERIALIZED (
	SELECT s.*, r._batch AS _there_batch, r._line AS _there_line,
		row_number() OVER _same_key AS _nth, first_value(s._line) OVER _same_key AS _first_line
	FROM _staged s LEFT JOIN {rows} r ON r.{key} = s.{key}
	WINDOW _same_key AS (PARTITION BY s.{key} ORDER BY s._line)
), added AS (
	INSERT INTO {rows} ({columns}, _batch, _line)
	SELECT {columns}, _batch, _line FROM judged WHERE _there_line IS NULL AND _nth = 1 ORDER BY _line
	RETURNING 1
), refused AS (
	INSERT INTO {rejected} (_batch, line, "column", kind, value, reason)
	SELECT _batch, _line, {name}, {twice}, left({key}::text, 60), 'key ' || {name} || '=' || left({key}::text, 100) || CASE
		WHEN _there_line IS NULL THEN ' is already on line ' || _first_line
		ELSE ' is already there, from batch ' || _there_batch || ', line ' || _there_line END
	FROM judged WHERE _there_line IS NOT NULL OR _nth > 1 ORDER BY _line
	RETURNING 1
)
SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM refused)`)
	if _, err := tx.Exec(ctx, lookUpKeys); err != nil {
		return 0, 0, fmt.Errorf("looking for keys: %w", err)
	}
	if err := tx.QueryRow(ctx, sql).Scan(&rows, &rejected); err != nil {
		return 0, 0, fmt.Errorf("looking for keys: %w", err)
	}
	return rows, rejected, nil
}
