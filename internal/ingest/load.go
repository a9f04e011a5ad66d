package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
	"mlops/internal/source"
)

// LoadRaw brings one batch of records, or all that are left, from the source
// into the database raw. Batches that hold only known rows are passed over
// until one brings a row or a rejected line.
//
// A key that the same source has twice is rejected the second time. A row that
// another source brought before is known where all its values are the same;
// where they are not, the spec says whether it is rejected or replaces the one
// that is there. Without a key, rows are recognized by their content and its
// count, in whatever order they come.
//
// A run that rejects more lines than the spec allows ends with a *LossError and
// takes back what it brought, along with what an unfinished run of the same
// source brought before it.
func LoadRaw(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Batch == 0 {
		cfg.Batch = Batch
	}
	if cfg.Batch < 0 || cfg.Batch > 1<<30 {
		return Report{}, &Mismatch{fmt.Sprintf("a batch of %d records can't be loaded", cfg.Batch)}
	}
	spec := cfg.Spec
	table, err := open(ctx, &cfg)
	if err != nil {
		return Report{}, err
	}
	defer table.Close()
	cfg.Logger.Info("source found", "source", table.Source, "digest", table.Digest, "bytes", table.Size, "lines", table.Lines)

	pg := cfg.Postgres.Defaults()
	s := postgres.NewSession(pg, pg.Raw, "load-raw-data "+spec.Name, cfg.Logger)
	defer s.Close()
	l := &loader{cfg: cfg, table: table, t: tablesOf(spec), logger: cfg.Logger}
	err = l.run(ctx, s)
	return l.report, err
}

// open opens the source that the configuration or the spec names, as the spec
// says that the table is written.
func open(ctx context.Context, cfg *Config) (*source.Table, error) {
	spec := cfg.Spec
	address := cfg.Source
	if address == "" {
		address = spec.Source.URL
	}
	if address == "" {
		return nil, &Mismatch{"no source is given, and the spec names none"}
	}
	open := cfg.Open.For(spec)
	open.Logger = cfg.Logger
	if address == spec.Source.URL {
		open.SHA256 = spec.Source.SHA256
	}
	return source.Open(ctx, address, open)
}

// loader is one run of LoadRaw.
type loader struct {
	cfg    Config
	table  *source.Table
	t      tables
	logger *slog.Logger
	report Report

	stopped bool // before the source's end, since too much of it is rejected
	begun   bool
	first   int32 // the ledger's last batch of this table before the run
	last    entry // the ledger's last batch of this table now
	careful bool  // rows go by the staging table from here on; without a key, by the plan
	reader  *source.Reader
	leftOut []string // columns of raw that the spec does not list
}

func (l *loader) run(ctx context.Context, s *postgres.Session) error {
	defer l.drop()
	if err := s.Do(ctx, "preparing raw", func(ctx context.Context, conn *pgx.Conn) error {
		if err := createRaw(ctx, conn, l.cfg.Spec); err != nil {
			return err
		}
		var err error
		if l.leftOut, err = leftOut(ctx, conn, l.cfg.Spec); err != nil {
			return err
		}
		if err := l.settleOthers(ctx, conn); err != nil {
			return err
		}
		if err := l.fits(ctx, conn); err != nil {
			return err
		}
		return l.fill(ctx, conn)
	}); err != nil {
		return err
	}
	for more := true; more; {
		before := l.last
		var sum sums
		err := s.Do(ctx, "loading "+l.cfg.Spec.Name, func(ctx context.Context, conn *pgx.Conn) error {
			if err := l.next(ctx, conn); err != nil {
				return err
			}
			var err error
			sum, err = l.sums(ctx, conn)
			return err
		})
		if err != nil {
			return err
		}
		if l.last.batch > before.batch {
			e := l.last
			l.logger.Info("batch loaded", "batch", e.batch, "id", e.id, "rows", e.rows, "known", e.known, "replaced", e.replaced, "rejected", e.rejected)
			l.progress(sum)
		}
		if l.last.endOffset < l.table.Size && hopeless(sum, l.table.Lines-l.last.lastLine, l.cfg.Spec.AtMost()) {
			l.stopped = true
			break
		}
		more = l.last.endOffset < l.table.Size && (l.cfg.All || l.last.batch == l.first || l.last.rows+l.last.replaced+l.last.rejected == 0)
	}
	if err := s.Do(ctx, "ending", l.tell); err != nil {
		return err
	}
	if l.report.Batches == 0 {
		l.logger.Info("the source is exhausted: all of its records have been read", "digest", l.table.Digest, "batches", l.last.batch)
	}
	return l.settle(ctx, s)
}

// progress logs how many records became rows or were known, of how many there
// will be: only the last batch tells, so until then it is judged by the bytes.
func (l *loader) progress(sum sums) {
	total := sum.rows
	if end := l.last.endOffset; end > 0 && end < l.table.Size {
		total = int64(float64(sum.rows) * float64(l.table.Size) / float64(end))
	}
	l.logger.Info("progress", "done", sum.rows, "total", total, "unit", "rows")
}

// tell fills the report in from the ledger, which alone knows what was
// committed: the batches that no run has accepted yet.
func (l *loader) tell(ctx context.Context, conn *pgx.Conn) error {
	es, err := entries(ctx, conn, l.t, "digest = $1 AND NOT accepted ORDER BY batch", l.table.Digest)
	if err != nil {
		return err
	}
	r := Report{Step: "load-raw-data", Source: l.table.Source, Digest: l.table.Digest, UsedUp: l.last.endOffset == l.table.Size}
	if l.stopped {
		r.Lines = l.table.Lines
	}
	ids := []int32{}
	for _, e := range es {
		r.Batches++
		r.Taken += e.rows
		r.Known += e.known
		r.Replaced += e.replaced
		r.Rejected += e.rejected
		r.addEmpty(e.empty)
		ids = append(ids, e.id)
	}
	r.Read = r.Taken + r.Known + r.Replaced + r.Rejected
	if r.Replaced > 0 {
		if r.Replacement, err = replacementOf(ctx, conn, l.cfg.Spec, es[0].id); err != nil {
			return err
		}
	}
	if r.Rejected > 0 {
		losses, err := lossesOf(ctx, conn, l.t.rejected, ids)
		if err != nil {
			return err
		}
		r.reject(losses)
		addRemedies(l.cfg.Spec, r.Losses)
		byRow(l.table, r.Losses)
	}
	if l.planned() && r.UsedUp && r.Batches > 0 {
		if r.Absent, err = l.absent(ctx, conn); err != nil {
			return err
		}
	}
	if l.staged() && r.UsedUp && r.Batches > 0 {
		if r.Absent, err = l.gone(ctx, conn); err != nil {
			return err
		}
	}
	l.report = r
	return nil
}

// drop forgets the reader; the next batch opens one where it starts.
func (l *loader) drop() {
	if l.reader != nil {
		l.reader.Close()
		l.reader = nil
	}
}

// next brings the ledger one batch further, or finds that it is further
// already: the connection was lost after a commit and before that was heard.
// Where to go on is read from the ledger each time. It may even have gone back,
// where a server that does not wait for its disk crashed; what it lost is then
// loaded again.
func (l *loader) next(ctx context.Context, conn *pgx.Conn) error {
	last, err := lastEntry(ctx, conn, l.t, l.table.Digest)
	if err != nil {
		return err
	}
	if !l.begun {
		if err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT EXISTS (SELECT FROM %s WHERE digest <> $1 AND rows + replaced > 0)`, l.t.batches), l.table.Digest).Scan(&l.careful); err != nil {
			return fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
		}
		l.first, l.last, l.begun = last.batch, last, true
	}
	if last != l.last {
		l.logger.Warn("the ledger moved while this source was loading; going by the ledger", "ledger", last.batch, "run", l.last.batch)
		further := last.batch > l.last.batch
		l.drop()
		if l.last = last; further {
			return nil
		}
	}
	if l.last.endOffset == l.table.Size {
		return nil
	}
	if l.planned() {
		if err := l.prepare(ctx, conn); err != nil {
			return err
		}
	}
	e, err := l.load(ctx, conn)
	if postgres.Code(err) == postgres.UniqueViolation && !l.careful {
		// The same key twice. Going by the staging table for the rest of the
		// run reads each batch twice at most, however many such keys there are.
		l.logger.Info("duplicate keys: continuing row by row", "batch", l.last.batch+1)
		l.careful = true
		e, err = l.load(ctx, conn)
	}
	if err != nil {
		return err
	}
	l.last = e
	return nil
}

// planned reports whether a plan says which lines bring something new.
func (l *loader) planned() bool { return l.careful && l.cfg.Spec.Key == "" }

// staged reports whether rows go by the staging table.
func (l *loader) staged() bool { return l.careful && l.cfg.Spec.Key != "" }

// load loads one batch in one transaction.
func (l *loader) load(ctx context.Context, conn *pgx.Conn) (e entry, err error) {
	from := source.Position{Offset: l.last.endOffset, Line: l.last.lastLine + 1}
	if l.last.batch == 0 {
		from = source.Position{}
	}
	if l.reader == nil {
		if l.reader, err = l.table.Records(from); err != nil {
			return e, err
		}
	}
	defer func() {
		if err != nil {
			// The reader is past the batch's start, and a COPY that broke off
			// may still be using it: leave it to that.
			l.reader = nil
		}
	}()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return e, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	b := &rawBatch{
		spec: l.cfg.Spec, reader: l.reader, separator: l.table.Separator(), left: l.cfg.Batch, whole: l.staged(),
		key: l.cfg.Spec.Column(l.cfg.Spec.Key),
	}
	var before int64
	if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT nextval(pg_get_serial_sequence($1, 'id')), (SELECT coalesce(sum(rejected), 0) FROM %s WHERE digest = $2)", l.t.batches), l.t.batches, l.table.Digest).
		Scan(&b.id, &before); err != nil {
		return e, fmt.Errorf("numbering the batch: %w", err)
	}
	b.keep = max(0, cmp.Or(l.cfg.kept, maxKept)-before)
	first := l.reader.Position()
	columns := columnList(l.cfg.Spec, "") + ", _batch, _line"
	into := l.t.rows
	if l.planned() {
		b.planned = true
		if b.fresh, err = l.fresh(ctx, tx, first.Line); err != nil {
			return e, err
		}
	}
	if l.staged() {
		if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE _staged (LIKE %s, _text text) ON COMMIT DROP", l.t.rows)); err != nil {
			return e, fmt.Errorf("making the staging table: %w", err)
		}
		into, columns = "_staged", columns+", _text"
	}
	rows, written, err := copyBatch(ctx, conn,
		fmt.Sprintf("COPY %s (%s) FROM STDIN", into, columns),
		fmt.Sprintf("COPY %s (%s) FROM STDIN", l.t.rejected, rawRejected), b.next)
	if err != nil {
		return e, err
	}
	if written != b.written {
		return e, fmt.Errorf("batch %d: %d rows about rejected lines were written, want %d", l.last.batch+1, written, b.written)
	}
	known, replaced, rejected := b.known, int64(0), b.lost
	if l.staged() {
		var twice int64
		if rows, known, replaced, twice, err = l.judge(ctx, tx, max(0, b.keep-b.lost)); err != nil {
			return e, err
		}
		rejected += twice
	}
	end := l.reader.Position()
	if rows+known+replaced+rejected != b.read {
		return e, fmt.Errorf("batch %d: %d rows, %d known, %d replaced and %d rejected do not add up to the %d records read", l.last.batch+1, rows, known, replaced, rejected, b.read)
	}
	if end.Line-1 > 1<<31-1 {
		return e, &source.Error{Source: l.table.Source, Err: errors.New("has more lines than the ledger can number")}
	}
	e = entry{
		id: b.id, batch: l.last.batch + 1, firstLine: first.Line, lastLine: end.Line - 1, endOffset: end.Offset,
		rows: rows, known: known, rejected: rejected, replaced: replaced, empty: l.reader.TakeEmpty(),
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (id, digest, batch, source, first_line, last_line, end_offset, rows, known, rejected, replaced, empty, empty_line, lacks, accepted, started_at, loaded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, false, now(), clock_timestamp())`, l.t.batches),
		e.id, l.table.Digest, e.batch, l.table.Source, e.firstLine, e.lastLine, e.endOffset, e.rows, e.known, e.rejected, e.replaced, e.empty.Lines, e.empty.First, append([]string{}, l.leftOut...))
	if err != nil {
		return e, fmt.Errorf("writing the ledger %s: %w", l.t.batches, err)
	}
	if l.planned() {
		if err := l.proceed(ctx, tx, e); err != nil {
			return e, err
		}
	}
	if err := l.table.Unchanged(); err != nil {
		return e, err
	}
	return e, tx.Commit(ctx)
}
