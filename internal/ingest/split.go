package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/progress"
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
			if err := decide(ctx, conn, cfg); err != nil {
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
	err := s.Do(ctx, "looking at the splits", func(ctx context.Context, conn *pgx.Conn) (err error) {
		report.Notes, err = splitNotes(ctx, conn, cfg.Spec, report.Splits)
		return err
	})
	for _, n := range report.Notes {
		cfg.Logger.Warn(n)
	}
	return report, err
}

// shareOut gives the rows of some batches their splits, a transaction each.
func shareOut(ctx context.Context, cfg Config, s *postgres.Session, batches []int32, total int64) (int64, error) {
	var done int64
	for _, batch := range batches {
		var n int64
		err := s.Do(ctx, fmt.Sprintf("splitting batch %d", batch), func(ctx context.Context, conn *pgx.Conn) error {
			tag, err := conn.Exec(ctx, fmt.Sprintf("UPDATE %s SET split = %s WHERE _batch = $1 AND split IS NULL",
				quote(cfg.Spec.Name), SplitSQL(cfg.Spec, salt(cfg.Spec))), batch)
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

	validationFrom, testFrom string // of a split by time, whose column by names
}

// byTime comes before the column in the by of a split by time.
const byTime = "time "

func ruleOf(spec *dataset.Spec) rule {
	if spec.ByTime() {
		return rule{by: byTime + spec.Split.By, validationFrom: spec.Split.ValidationFrom, testFrom: spec.Split.TestFrom}
	}
	by := "row"
	switch {
	case spec.Group != "" && spec.Key != "":
		by = "group " + spec.Group + ", key " + spec.Key
	case spec.Group != "":
		by = "group " + spec.Group + ", row"
	case spec.Key != "":
		by = "key " + spec.Key
	}
	return rule{salt: salt(spec), by: by, train: spec.Split.Train, validation: spec.Split.Validation, test: spec.Split.Test}
}

// salt is the one that a spec's rows are split with, "" where they are split by time.
func salt(spec *dataset.Spec) string {
	if len(spec.Split.Salts) == 0 {
		return ""
	}
	return spec.Split.Salts[0]
}

func (r rule) String() string {
	if r.validationFrom != "" {
		return fmt.Sprintf("%s, validation from %s, test from %s", r.by, r.validationFrom, r.testFrom)
	}
	return fmt.Sprintf("salt %q, by %s, %d/%d/%d", r.salt, r.by, r.train, r.validation, r.test)
}

// decide writes the spec's rule down, or compares it with the one that is there.
func decide(ctx context.Context, conn *pgx.Conn, cfg Config) error {
	spec := cfg.Spec
	want := ruleOf(spec)
	t := tablesOf(spec)
	columns, values := "salt, by, train, validation, test, decided_at", "$1, $2, $3, $4, $5, now()"
	args := []any{want.salt, want.by, want.train, want.validation, want.test}
	if spec.ByTime() { // a table of an earlier release may lack these columns
		columns, values = columns+", validation_from, test_from", values+", $6, $7"
		args = append(args, want.validationFrom, want.testFrom)
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT DO NOTHING", t.split, columns, values), args...); err != nil {
		return fmt.Errorf("writing down the split: %w", err)
	}
	got, err := decided(ctx, conn, spec)
	if err != nil || got == want {
		return err
	}
	if movesOn(spec, got, want) {
		return moveOn(ctx, conn, cfg, got, want)
	}
	return otherSplit(spec, got, want)
}

// otherSplit refuses a rule by which rows would move from one split to another.
func otherSplit(spec *dataset.Spec, got, want rule) *Mismatch {
	remedy := forgetHint(spec)
	if got.by == want.by && want.validationFrom != "" {
		remedy = "boundaries only move to later, so that no model is measured on rows that it was trained on; " + remedy
	}
	return &Mismatch{fmt.Sprintf("%s was split by %s, and the spec says %s: rows would move from one split to another; %s", spec.Name, got, want, remedy)}
}

// keepsSplit refuses a spec by which rows of clean would move from one split to another.
func keepsSplit(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	got, err := decided(ctx, tx.Conn(), spec)
	if err != nil {
		return err
	}
	if want := ruleOf(spec); got != (rule{}) && got != want && !movesOn(spec, got, want) {
		return otherSplit(spec, got, want)
	}
	return nil
}

// movesOn reports whether a rule differs from the one before only by boundaries that
// are later. Then rows move from test to validation and from there to training, and never
// back: no model was trained on a row that it is measured on.
func movesOn(spec *dataset.Spec, from, to rule) bool {
	return from.by == to.by && from.validationFrom != "" && to.validationFrom != "" &&
		spec.CompareTimes([]byte(from.validationFrom), []byte(to.validationFrom)) <= 0 &&
		spec.CompareTimes([]byte(from.testFrom), []byte(to.testFrom)) <= 0
}

// moveOn writes a rule with later boundaries down, and moves the rows, in one transaction.
func moveOn(ctx context.Context, conn *pgx.Conn, cfg Config, from, to rule) error {
	t := tablesOf(cfg.Spec)
	var moved int64
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET validation_from = $1, test_from = $2, decided_at = now()", t.split), to.validationFrom, to.testFrom); err != nil {
			return err
		}
		split := SplitSQL(cfg.Spec, "")
		tag, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET split = %s WHERE split IS NOT NULL AND split <> %[2]s", t.rows, split))
		moved = tag.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("moving the boundaries of the splits: %w", err)
	}
	cfg.Logger.Info("the boundaries of the splits moved to later", "rows", moved, "from", from.String(), "to", to.String())
	return nil
}

// decided returns the rule that was written down; the zero rule where none was.
func decided(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) (rule, error) {
	var r rule
	// A table of an earlier release lacks the boundaries, and only process-data adds them.
	err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT salt, by, train, validation, test, %s FROM %s s`, storedBoundaries, tablesOf(spec).split)).
		Scan(&r.salt, &r.by, &r.train, &r.validation, &r.test, &r.validationFrom, &r.testFrom)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("reading how %s was split: %w", spec.Name, err)
	}
	return r, nil
}

// SplitRule says in words how the rows of a data set are split, from a connection to the
// database clean; "" where they are not.
func SplitRule(ctx context.Context, conn *pgx.Conn, name string) (string, error) {
	spec := &dataset.Spec{Name: name}
	if ok, err := exists(ctx, conn, tablesOf(spec).split); err != nil || !ok {
		return "", err
	}
	r, err := decided(ctx, conn, spec)
	if err != nil || r == (rule{}) {
		return "", err
	}
	return r.String(), nil
}

// storedBoundaries are the boundaries of the rule s, empty where it has none.
const storedBoundaries = "coalesce(to_jsonb(s) ->> 'validation_from', ''), coalesce(to_jsonb(s) ->> 'test_from', '')"

// splitNotes says what to know of a split by time: splits with few rows, and groups on
// both sides of a boundary.
func splitNotes(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec, rows map[string]int64) ([]string, error) {
	if !spec.ByTime() {
		return nil, nil
	}
	var groups, both int64
	var example *string
	if spec.Group != "" {
		if err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE splits > 1), min(g) FILTER (WHERE splits > 1)
			FROM (SELECT %s::text AS g, count(DISTINCT split) AS splits FROM %s WHERE %[1]s IS NOT NULL GROUP BY 1) r`,
			quoteColumn(spec.Group), quote(spec.Name))).Scan(&groups, &both, &example); err != nil {
			return nil, fmt.Errorf("looking for groups in several splits: %w", err)
		}
	}
	notes := timeNotes(spec, rows)
	if both > 0 {
		notes = append(notes, spanningNote(spec, both, groups, *example))
	}
	return notes, nil
}

// leastTraining is the share of the rows that should train, in percent.
const leastTraining = 50

// timeNotes says which splits by time have few rows, and how to give them more.
func timeNotes(spec *dataset.Spec, rows map[string]int64) (notes []string) {
	var all int64
	for _, split := range splitNames {
		all += rows[split]
	}
	if all == 0 {
		return nil
	}
	for _, split := range splitNames {
		if rows[split] == 0 {
			notes = append(notes, fmt.Sprintf("the split %s has no rows, %s: %s", split, spec.SplitRule(), spec.EnlargeSplit(split)))
		}
	}
	if n := rows[dataset.Train]; n > 0 && n*100 < leastTraining*all {
		notes = append(notes, fmt.Sprintf("only %d %% of the rows are before %s %s and train, and no later row ever does: %s, and test_from with it",
			n*100/all, spec.Split.By, spec.Split.ValidationFrom, spec.EnlargeSplit(dataset.Train)))
	}
	return notes
}

// spanningNote says that groups have rows in several splits by time.
func spanningNote(spec *dataset.Spec, both, groups int64, example string) string {
	return fmt.Sprintf("%s of %s %s rows on both sides of a boundary, for example %s: the figures hold for a future with the same %s again; a split by a hash keeps each in one split",
		progress.Count(both), progress.Counted(groups, "group"), map[bool]string{true: "has", false: "have"}[both == 1], fmt.Sprintf("%s %s", spec.Group, example), spec.Group)
}

// SplitSQL returns the SQL expression of a clean row's split under a salt. The
// first four bytes of SHA-256(salt ":" group) as a big-endian number, divided by
// 2^32, give a place between 0 and 1, where the shares follow one another. A row
// without a group goes by its key, and one without a key by all its values, so
// that equal rows stay together and neither the order nor the number of the
// sources matters. Where rows are split by time, the salt does not matter.
func SplitSQL(spec *dataset.Spec, salt string) string {
	if spec.ByTime() {
		column := quoteColumn(spec.Split.By)
		kind := kinds[spec.Columns[spec.Column(spec.Split.By)].Type]
		return fmt.Sprintf("CASE WHEN %s >= %s::%s THEN 'test' WHEN %[1]s >= %[4]s::%[3]s THEN 'validation' ELSE 'train' END",
			column, quoteText(spec.Split.TestFrom), kind, quoteText(spec.Split.ValidationFrom))
	}
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
