package ingest

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
)

// A batch is accepted once the run that brought it has ended within the limit of
// the spec's rejects. Clean takes accepted batches of raw only, so that nothing
// goes on from a run that is still to be judged. A run above the limit takes
// its batches back, from the rows, the rejected ones and the ledger in one
// transaction: the next run begins where the last accepted batch ended.

// sums are what the ledger of raw says of a source.
type sums struct {
	rows           int64 // new, known or replaced, in all of its batches
	read, rejected int64 // in the batches that are not accepted
}

func (l *loader) sums(ctx context.Context, conn *pgx.Conn) (sums, error) {
	var s sums
	err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT coalesce(sum(rows + known + replaced), 0),
			coalesce(sum(rows + known + replaced + rejected) FILTER (WHERE NOT accepted), 0), coalesce(sum(rejected) FILTER (WHERE NOT accepted), 0)
		FROM %s WHERE digest = $1`, l.t.batches), l.table.Digest).Scan(&s.rows, &s.read, &s.rejected)
	if err != nil {
		return s, fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
	}
	return s, nil
}

// settle accepts what the report is of, or takes it back and returns a *LossError.
func (l *loader) settle(ctx context.Context, s *postgres.Session) error {
	most := l.cfg.Spec.AtMost()
	within := l.report.Rejected <= most.Of(l.report.Read)
	err := s.Do(ctx, "ending", func(ctx context.Context, conn *pgx.Conn) error {
		if within {
			if l.planned() && l.report.UsedUp {
				if err := l.dropPlan(ctx, conn); err != nil {
					return err
				}
			}
			if err := summarize(ctx, conn, l.cfg.Spec); err != nil {
				return err
			}
			return acceptSource(ctx, conn, l.t, l.table.Digest)
		}
		var first int32
		if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(min(id), 0) FROM %s WHERE digest = $1 AND NOT accepted", l.t.batches), l.table.Digest).Scan(&first); err != nil {
			return fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
		}
		if first == 0 {
			return nil // an earlier try took them back
		}
		return takeBackRaw(ctx, conn, l.cfg.Spec, first)
	})
	if err != nil || within {
		return err
	}
	return &LossError{Report: l.report, AtMost: most, Of: "lines"}
}

// hopeless reports whether a load that has left so many lines may as well stop: more is
// rejected than the limit allows even if each of them were a row, or most of what was
// read.
func hopeless(sum sums, left int64, most dataset.Percent) bool {
	if sum.read <= enough || sum.rejected <= most.Of(sum.read) {
		return false
	}
	return sum.rejected > most.Of(sum.read+left) || 2*sum.rejected > sum.read
}

// enough is how many rows a run reads before it may stop early, because more are
// rejected than the limit allows of the whole. Fewer are read quickly, and the
// whole count tells more.
const enough = 100_000

// settleOthers judges what a run of another source left when it was broken off,
// by what it had read: this source's rows are compared with its rows.
func (l *loader) settleOthers(ctx context.Context, conn *pgx.Conn) error {
	found, err := conn.Query(ctx, fmt.Sprintf(`SELECT digest, min(id), sum(rows + known + replaced + rejected), sum(rejected)
		FROM %s WHERE digest <> $1 AND NOT accepted GROUP BY 1 ORDER BY 2 DESC`, l.t.batches), l.table.Digest)
	if err != nil {
		return fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
	}
	type left struct {
		digest         string
		first          int32
		read, rejected int64
	}
	others, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (left, error) {
		var o left
		return o, r.Scan(&o.digest, &o.first, &o.read, &o.rejected)
	})
	if err != nil {
		return fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
	}
	for _, o := range others {
		if o.rejected <= l.cfg.Spec.AtMost().Of(o.read) {
			if err := acceptSource(ctx, conn, l.t, o.digest); err != nil {
				return err
			}
			continue
		}
		l.logger.Warn("taking back what an unfinished load of another source left, more of it was rejected than rejects.at_most allows",
			"digest", o.digest, "read", o.read, "rejected", o.rejected)
		if err := takeBackRaw(ctx, conn, l.cfg.Spec, o.first); err != nil {
			return err
		}
	}
	return nil
}

// acceptSource accepts the batches of a source.
func acceptSource(ctx context.Context, conn *pgx.Conn, t tables, digest string) error {
	if _, err := conn.Exec(ctx, fmt.Sprintf("UPDATE %s SET accepted = true WHERE digest = $1 AND NOT accepted", t.batches), digest); err != nil {
		return fmt.Errorf("accepting batches in %s: %w", t.batches, err)
	}
	return nil
}

// takeBackRaw removes the batches from one on, whatever their source: a later one
// may have called rows known because of an earlier one. Rows that they replaced
// are back as they were.
//
// It is a function in the database, since process-data may not write to raw.
func takeBackRaw(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec, first int32) error {
	call := fmt.Sprintf("SELECT %s($1)", ours(spec, "take_back"))
	_, err := conn.Exec(ctx, call, first)
	if postgres.Code(err) == postgres.UndefinedFunction { // an earlier release made the tables
		if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return createTakeBack(ctx, tx, spec) }); err != nil {
			return err
		}
		_, err = conn.Exec(ctx, call, first)
	}
	if err != nil {
		return fmt.Errorf("taking batches back from %s: %w", tablesOf(spec).rows, err)
	}
	return nil
}

// createTakeBack creates the function of takeBackRaw, or replaces that of another
// release. It has its owner's rights whoever calls it, so it names the schema of
// its tables and looks for them nowhere else.
func createTakeBack(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	name := ours(spec, "take_back")
	t := tablesOf(spec)
	var body strings.Builder
	body.WriteString("\nDECLARE columns text;\nBEGIN\n")
	fmt.Fprintf(&body, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped;\n", quoteText(t.rows))
	for _, sql := range takeBackSQL(t, "id") {
		fmt.Fprintf(&body, "EXECUTE replace(%s, '{columns}', columns) USING $1;\n", quoteText(sql))
	}
	body.WriteString("END ")
	var current, schema string
	if err := tx.QueryRow(ctx, "SELECT coalesce((SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure($1)), ''), quote_ident(current_schema())", name+"(integer)").Scan(&current, &schema); err != nil {
		return fmt.Errorf("looking for function %s: %w", name, err)
	}
	if current == body.String() {
		return nil
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE FUNCTION %s(first integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = %s, pg_temp AS %s; REVOKE ALL ON FUNCTION %s(integer) FROM PUBLIC",
		name, schema, quoteText(body.String()), name)); err != nil {
		return fmt.Errorf("creating function %s: %w", name, err)
	}
	return nil
}

// takeBackClean is takeBackRaw for the database clean.
func takeBackClean(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec, first int32) error {
	t := tablesOf(spec)
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		cols, err := tableColumns(ctx, tx, t.rows) // also those that the spec leaves out
		if err != nil {
			return err
		}
		names := make([]string, len(cols))
		for i, c := range cols {
			names[i] = quote(c.name)
		}
		for _, sql := range takeBackSQL(t, "batch") {
			if _, err := tx.Exec(ctx, strings.ReplaceAll(sql, "{columns}", strings.Join(names, ", ")), first); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("taking batches back from %s: %w", t.rows, err)
	}
	return nil
}

// takeBackSQL returns the statements that take back the batches from $1 on; id is
// the ledger's column of the batch, and {columns} are those of the rows.
func takeBackSQL(t tables, id string) []string {
	r := strings.NewReplacer("{rows}", t.rows, "{replaced}", t.replaced, "{rejected}", t.rejected, "{batches}", t.batches, "{id}", id)
	sql := []string{
		"DELETE FROM {rows} WHERE _batch >= $1",
		// A key that was replaced twice has two rows here; the one from before
		// the first batch that goes is the one that was there.
		`WITH back AS (DELETE FROM {replaced} WHERE _replaced_by >= $1 RETURNING *)
			INSERT INTO {rows} ({columns}) SELECT {columns} FROM back WHERE _batch < $1`,
		"DELETE FROM {rejected} WHERE _batch >= $1",
		"UPDATE {rejected} SET replaced_by = NULL WHERE replaced_by >= $1",
		"DELETE FROM {batches} WHERE {id} >= $1",
	}
	for i := range sql {
		sql[i] = r.Replace(sql[i])
	}
	return sql
}

// settle accepts the batches of clean that no run has accepted yet, or takes
// them back, out of raw too: so the table can be mended as well as the spec, and
// the next load brings what this one did. Clean goes first; if this ends between
// the two, the next run finds the batches of raw again and judges them again.
func (p *processor) settle(ctx context.Context, clean *postgres.Session) error {
	most := p.cfg.Spec.AtMost()
	within := p.report.Rejected <= most.Of(p.report.Read)
	first := p.first // of the batches of raw that go
	err := clean.Do(ctx, "ending", func(ctx context.Context, conn *pgx.Conn) error {
		anew, err := rebuilding(ctx, conn, p.t)
		if err != nil {
			return err
		}
		if within {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET accepted = true WHERE NOT accepted", p.t.batches)); err != nil || !anew {
					return err
				}
				return finishRebuild(ctx, tx, p.cfg.Spec)
			})
		}
		if anew {
			first, err = undo(ctx, conn, p.t)
			return err
		}
		if len(p.report.Changed) > 0 {
			return nil // an earlier try has put the old tables back
		}
		return takeBackClean(ctx, conn, p.cfg.Spec, p.first)
	})
	if err != nil || within {
		return err
	}
	pg := p.cfg.Postgres.Defaults()
	raw := postgres.NewSession(pg, pg.Raw, "load-raw-data "+p.cfg.Spec.Name, p.cfg.Logger)
	defer raw.Close()
	if err := raw.Do(ctx, "taking batches back", func(ctx context.Context, conn *pgx.Conn) error {
		if first == 0 {
			return nil
		}
		return takeBackRaw(ctx, conn, p.cfg.Spec, first)
	}); err != nil {
		return err
	}
	return &LossError{Report: p.report, AtMost: most, Of: "raw rows"}
}
