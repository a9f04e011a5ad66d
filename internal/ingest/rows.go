package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
)

// Selection says which rows of clean are read.
type Selection struct {
	Splits []string // any of train, validation, test; none: all three
	Salt   string   // where set, splits are made by this salt instead of those stored
}

// Rows reads rows of clean in the order in which they came, or, where features look at
// earlier rows, by group and order, one at a time: memory does not grow with them. fields has one text a column of the spec, nil
// where it is missing, good until f returns, in the canonical form of its type. After an error
// of f, which comes back as it is, the connection is closed.
func Rows(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec, sel Selection, f func(split string, fields [][]byte) error) error {
	if len(sel.Splits) == 0 {
		sel.Splits = []string{dataset.Train, dataset.Validation, dataset.Test}
	}
	split := "split"
	if sel.Salt != "" {
		split = SplitSQL(spec, sel.Salt)
	}
	wanted := make([]string, len(sel.Splits))
	for i, s := range sel.Splits {
		wanted[i] = quoteText(s)
	}
	names := map[string]string{dataset.Train: dataset.Train, dataset.Validation: dataset.Validation, dataset.Test: dataset.Test}
	// The index by place has the order already; a sort of the whole table
	// would go to disk. In a transaction, for the setting to end with it.
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("reading %s: %w", spec.Name, err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if !spec.LooksBack() {
		if _, err := tx.Exec(ctx, "SET LOCAL enable_sort = off"); err != nil {
			return fmt.Errorf("reading %s: %w", spec.Name, err)
		}
	}
	var in copyFields
	var mine error
	var dates []int
	for c := range spec.Columns {
		if spec.Columns[c].Type == dataset.Date {
			dates = append(dates, c)
		}
	}
	canonical := make([][]byte, len(dates))
	line := func(text []byte) error {
		fields, err := in.read(text)
		if err != nil {
			mine = err
			return err
		}
		for i, c := range dates {
			if field := fields[1+c]; field != nil {
				if canonical[i], mine = dateOf(canonical[i][:0], field); mine != nil {
					return mine
				}
				fields[1+c] = canonical[i]
			}
		}
		mine = f(names[string(fields[0])], fields[1:])
		return mine
	}
	columns := columnList(spec, "")
	sql := fmt.Sprintf(`COPY (SELECT _part, %s FROM (SELECT %s AS _part, %s, _batch, _line FROM %s) r WHERE _part IN (%s) ORDER BY %s) TO STDOUT`,
		readList(spec), split, columns, quote(spec.Name), strings.Join(wanted, ", "), rowOrder(spec))
	if _, err := conn.PgConn().CopyTo(ctx, &lineWriter{line: line}, sql); err != nil {
		if mine != nil {
			return mine
		}
		return fmt.Errorf("reading %s: %w", spec.Name, err)
	}
	return nil
}

// readList is columnList with booleans as the texts true and false, and dates in
// ISO 8601 whatever the server's style is.
func readList(spec *dataset.Spec) string {
	names := columnNames(spec, "")
	for i := range spec.Columns {
		switch spec.Columns[i].Type {
		case dataset.Boolean:
			names[i] += "::text"
		case dataset.Date:
			names[i] = fmt.Sprintf(`to_char(%s, 'YYYY-MM-DD"T"HH24:MI:SS.US')`, names[i])
		}
	}
	return strings.Join(names, ", ")
}

// dateOf appends the canonical form of a date as readList reads it.
func dateOf(b, text []byte) ([]byte, error) {
	t, ok := dataset.ParseDate(text)
	if !ok {
		return b, fmt.Errorf("clean has the date %q", text)
	}
	return dataset.AppendDate(b, t), nil
}

// rowOrder is the order in which Rows reads. Rows without an order value come after
// those of their group that have one.
func rowOrder(spec *dataset.Spec) string {
	if !spec.LooksBack() {
		return "_batch, _line"
	}
	group := quoteColumn(spec.Group)
	if spec.Columns[spec.Column(spec.Group)].Type == dataset.Category {
		group += ` COLLATE "C"`
	}
	return fmt.Sprintf("%s, %s NULLS LAST, _batch, _line", group, quoteColumn(spec.Order))
}

// Arrival is when a row came.
type Arrival struct {
	Batch int32 // those that have rows, counted from 0
	Line  int64 // of the source
}

// Compare is negative if a came before b.
func (a Arrival) Compare(b Arrival) int {
	return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Line, b.Line))
}

// Arrivals returns when each row of clean came, in the order in which Rows reads them.
func Arrivals(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) ([]Arrival, error) {
	found, err := conn.Query(ctx, fmt.Sprintf("SELECT dense_rank() OVER (ORDER BY _batch) - 1, _line FROM %s WHERE split IS NOT NULL ORDER BY %s", quote(spec.Name), rowOrder(spec)))
	if err != nil {
		return nil, fmt.Errorf("reading when the rows of %s came: %w", spec.Name, err)
	}
	arrivals, err := pgx.CollectRows(found, pgx.RowToStructByPos[Arrival])
	if err != nil {
		return nil, fmt.Errorf("reading when the rows of %s came: %w", spec.Name, err)
	}
	return arrivals, nil
}

// Displaced is what is odd about the order of the rows that features of earlier rows
// look at.
type Displaced struct {
	// Late rows came in a later batch than a row that follows them in their group.
	// They take their place in the order all the same: rows that follow see them from
	// the next training on, which the trainings before did not.
	Late    int64
	Example string // of a late row: its place, group and batch

	Unplaced int64 // rows without an order value: they come last in their group, and before no other
	Alone    int64 // rows without a group: they have no earlier rows
	Tied     int64 // rows with the same place as another of their group: neither is before the other
}

// FindDisplaced looks for rows whose place in their group is odd.
func FindDisplaced(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) (d Displaced, err error) {
	group, order := quoteColumn(spec.Group), quoteColumn(spec.Order)
	sql := fmt.Sprintf(`SELECT count(*) FILTER (WHERE _batch > _next),
			coalesce(min(format('%%s %%s of %%s %%s came in batch %%s, a later one of the same group in batch %%s', %s, o, %s, g, _batch, _next)) FILTER (WHERE _batch > _next), ''),
			count(*) FILTER (WHERE o IS NULL AND g IS NOT NULL), count(*) FILTER (WHERE g IS NULL), count(*) FILTER (WHERE o = _before OR o = _after)
		FROM (SELECT %s AS g, %s AS o, _batch,
				CASE WHEN %[3]s IS NOT NULL AND %[4]s IS NOT NULL THEN min(_batch) OVER (PARTITION BY %[3]s ORDER BY %[4]s GROUPS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) END AS _next,
				CASE WHEN %[3]s IS NOT NULL THEN lag(%[4]s) OVER (PARTITION BY %[3]s ORDER BY %[4]s) END AS _before,
				CASE WHEN %[3]s IS NOT NULL THEN lead(%[4]s) OVER (PARTITION BY %[3]s ORDER BY %[4]s) END AS _after
			FROM %[5]s WHERE split IS NOT NULL) r`, quoteText(spec.Order), quoteText(spec.Group), group, order, quote(spec.Name))
	if err := conn.QueryRow(ctx, sql).Scan(&d.Late, &d.Example, &d.Unplaced, &d.Alone, &d.Tied); err != nil {
		return d, fmt.Errorf("looking for late rows of %s: %w", spec.Name, err)
	}
	return d, nil
}

// DataDigest names what is in clean: SHA-256 in hex over each batch's source
// digest, number and rows, and the rule of the split. It is the same on every
// machine that loaded the same sources in the same batches.
func DataDigest(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) (string, error) {
	r, err := decided(ctx, conn, spec)
	if err != nil {
		return "", err
	}
	if r == (rule{}) {
		return "", fmt.Errorf("%s is not split yet; load-val-test-data does that", spec.Name)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %s\n", spec.Name, r)
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT digest, number, rows, replaced, gone FROM %s WHERE rows + replaced + gone > 0 ORDER BY batch", tablesOf(spec).batches))
	if err != nil {
		return "", fmt.Errorf("reading the ledger of clean: %w", err)
	}
	var digest string
	var number, n, replaced, gone int64
	if _, err := pgx.ForEachRow(rows, []any{&digest, &number, &n, &replaced, &gone}, func() error {
		fmt.Fprintf(h, "%s %d %d", digest, number, n)
		if replaced+gone > 0 {
			fmt.Fprintf(h, " %d %d", replaced, gone)
		}
		fmt.Fprintln(h)
		return nil
	}); err != nil {
		return "", fmt.Errorf("reading the ledger of clean: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Counts is how many rows of a data set there are where.
type Counts struct {
	Raw         int64            // rows in raw
	Known       int64            // records passed over because raw had them
	Replaced    int64            // records that took the place of an earlier row
	RawRejected int64            // lines that could not be rows
	Clean       int64            // rows in clean
	Rejected    int64            // rows that could not be cleaned
	Splits      map[string]int64 // rows in clean by split; "" for those without
}

// Count returns the counts of a data set from connections to raw and to clean;
// they are 0 where it has no tables yet.
func Count(ctx context.Context, raw, clean *pgx.Conn, spec *dataset.Spec) (Counts, error) {
	t := tablesOf(spec)
	c := Counts{Splits: map[string]int64{}}
	ok, err := exists(ctx, raw, t.batches)
	if err != nil {
		return c, err
	}
	if ok {
		if err := raw.QueryRow(ctx, fmt.Sprintf("SELECT (SELECT count(*) FROM %s), coalesce(sum(known), 0), coalesce(sum(replaced), 0), coalesce(sum(rejected), 0) FROM %s", t.rows, t.batches)).
			Scan(&c.Raw, &c.Known, &c.Replaced, &c.RawRejected); err != nil {
			return c, fmt.Errorf("counting %s in raw: %w", spec.Name, err)
		}
	}
	if ok, err = exists(ctx, clean, t.batches); err != nil || !ok {
		return c, err
	}
	if err := clean.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM %s r WHERE %s", t.rejected, StillRejected)).Scan(&c.Rejected); err != nil {
		return c, fmt.Errorf("counting %s in clean: %w", spec.Name, err)
	}
	if c.Splits, _, err = countSplits(ctx, clean, spec); err != nil {
		return c, err
	}
	for _, n := range c.Splits {
		c.Clean += n
	}
	return c, nil
}
