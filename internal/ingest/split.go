package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
)

// Split gives each row of clean that has none its split, and writes down by
// what rule the first time. A spec with another rule is refused later: rows
// that a model was trained on would turn up among those it is measured with.
func Split(ctx context.Context, cfg Config) (Report, error) {
	pg := cfg.Postgres.Defaults()
	s := postgres.NewSession(pg, pg.Clean, "clean "+cfg.Spec.Name, cfg.Logger)
	defer s.Close()
	report := Report{Step: "load-val-test-data"}
	for {
		var left []int32
		err := s.Do(ctx, "preparing splits", func(ctx context.Context, conn *pgx.Conn) error {
			ok, err := exists(ctx, conn, tablesOf(cfg.Spec).rows)
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("database %s has no table %s yet; process-data makes it", pg.Clean, cfg.Spec.Name)
			}
			if err := checkTarget(ctx, conn, cfg.Spec); err != nil {
				return err
			}
			if err := decide(ctx, conn, cfg.Spec); err != nil {
				return err
			}
			report.Splits, left, err = countSplits(ctx, conn, cfg.Spec)
			return err
		})
		if err != nil {
			return report, err
		}
		// Counted again until no row is left.
		if len(left) == 0 {
			break
		}
		n, err := shareOut(ctx, cfg, s, left, report.Splits[""])
		report.Batches += len(left)
		report.Read += n
		report.Taken += n
		if err != nil {
			return report, err
		}
	}
	if report.Taken == 0 {
		cfg.Logger.Info("nothing to split: every row has a split")
	}
	return report, nil
}

// shareOut gives the rows of some batches their splits, a transaction each.
func shareOut(ctx context.Context, cfg Config, s *postgres.Session, batches []int32, total int64) (int64, error) {
	var done int64
	for _, batch := range batches {
		var n int64
		err := s.Do(ctx, fmt.Sprintf("splitting batch %d", batch), func(ctx context.Context, conn *pgx.Conn) error {
			tag, err := conn.Exec(ctx, fmt.Sprintf("UPDATE %s SET split = %s WHERE _batch = $1 AND split IS NULL",
				quote(cfg.Spec.Name), SplitSQL(cfg.Spec, cfg.Spec.Split.Salts[0])), batch)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return done, err
		}
		done += n
		cfg.Logger.Info("progress", "done", done, "total", total, "unit", "rows")
	}
	return done, nil
}

// countSplits returns the rows by split ("" for those without) and the batches
// that have some without.
func countSplits(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) (map[string]int64, []int32, error) {
	rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT coalesce(split, ''), count(*),
		array_agg(DISTINCT _batch ORDER BY _batch) FILTER (WHERE split IS NULL) FROM %s GROUP BY split`, quote(spec.Name)))
	if err != nil {
		return nil, nil, fmt.Errorf("counting splits: %w", err)
	}
	counts := map[string]int64{}
	var left, batches []int32
	var name string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&name, &n, &batches}, func() error {
		counts[name] = n
		left = append(left, batches...)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("counting splits: %w", err)
	}
	return counts, left, nil
}

// rule is what decides a row's split.
type rule struct {
	salt                    string
	by                      string // in words: the column, or the row
	train, validation, test int
}

func ruleOf(spec *dataset.Spec) rule {
	by := "row"
	switch {
	case spec.Group != "" && spec.Key != "":
		by = "group " + spec.Group + ", key " + spec.Key
	case spec.Group != "":
		by = "group " + spec.Group + ", row"
	case spec.Key != "":
		by = "key " + spec.Key
	}
	return rule{spec.Split.Salts[0], by, spec.Split.Train, spec.Split.Validation, spec.Split.Test}
}

func (r rule) String() string {
	return fmt.Sprintf("salt %q, by %s, %d/%d/%d", r.salt, r.by, r.train, r.validation, r.test)
}

// decide writes the spec's rule down, or compares it with the one that is there.
func decide(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) error {
	want := ruleOf(spec)
	t := tablesOf(spec)
	if _, err := conn.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (salt, by, train, validation, test, decided_at)
		VALUES ($1, $2, $3, $4, $5, now()) ON CONFLICT DO NOTHING`, t.split),
		want.salt, want.by, want.train, want.validation, want.test); err != nil {
		return fmt.Errorf("writing down the split: %w", err)
	}
	got, err := decided(ctx, conn, spec)
	if err != nil {
		return err
	}
	if got != want {
		return &Mismatch{fmt.Sprintf("%s was split by %s, and the spec says %s: rows would move from one split to another; %s", spec.Name, got, want, forgetHint(spec))}
	}
	return nil
}

// decided returns the rule that was written down; the zero rule where none was.
func decided(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) (rule, error) {
	var r rule
	err := conn.QueryRow(ctx, fmt.Sprintf("SELECT salt, by, train, validation, test FROM %s", tablesOf(spec).split)).
		Scan(&r.salt, &r.by, &r.train, &r.validation, &r.test)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("reading how %s was split: %w", spec.Name, err)
	}
	return r, nil
}

// SplitSQL returns the SQL expression of a clean row's split under a salt. The
// first four bytes of SHA-256(salt ":" group) as a big-endian number, divided by
// 2^32, give a place between 0 and 1, where the shares follow one another. A row
// without a group goes by its key, and one without a key by all its values, so
// that equal rows stay together and neither the order nor the number of the
// sources matters.
func SplitSQL(spec *dataset.Spec, salt string) string {
	values := make([]string, len(spec.Columns))
	for i, name := range columnNames(spec, "") {
		values[i] = name + "::text"
	}
	by := fmt.Sprintf(`array_to_string(ARRAY[%s], E'\x1f', E'\x1e')`, strings.Join(values, ", "))
	if spec.Key != "" {
		by = quoteColumn(spec.Key) + "::text"
	}
	if spec.Group != "" {
		by = fmt.Sprintf("coalesce(%s::text, %s)", quoteColumn(spec.Group), by)
	}
	// The first four bytes as a number below 2^32, then the hundredth of
	// the line that it falls in; width_bucket names the third it is in.
	return fmt.Sprintf(`(ARRAY['train', 'validation', 'test'])[1 + width_bucket(
		(('x' || encode(substring(sha256(convert_to(%s || ':' || %s, 'UTF8')) FROM 1 FOR 4), 'hex'))::bit(32)::bigint * 100) >> 32,
		ARRAY[%d, %d]::bigint[])]`,
		quoteText(salt), by, spec.Split.Train, spec.Split.Train+spec.Split.Validation)
}
