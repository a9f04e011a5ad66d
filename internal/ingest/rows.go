package ingest

import (
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

// Rows reads rows of clean in the order in which they came, one at a time:
// memory does not grow with them. fields has one text a column of the spec, nil
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
	if _, err := tx.Exec(ctx, "SET LOCAL enable_sort = off"); err != nil {
		return fmt.Errorf("reading %s: %w", spec.Name, err)
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
	sql := fmt.Sprintf(`COPY (SELECT _part, %s FROM (SELECT %s AS _part, %s, _batch, _line FROM %s) r WHERE _part IN (%s) ORDER BY _batch, _line) TO STDOUT`,
		readList(spec), split, columns, quote(spec.Name), strings.Join(wanted, ", "))
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

// BatchRows returns how many rows of clean each batch has, in the order in which Rows
// reads them.
func BatchRows(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) ([]int64, error) {
	found, err := conn.Query(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE split IS NOT NULL GROUP BY _batch ORDER BY _batch", quote(spec.Name)))
	if err != nil {
		return nil, fmt.Errorf("counting the rows of each batch of %s: %w", spec.Name, err)
	}
	batches, err := pgx.CollectRows(found, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("counting the rows of each batch of %s: %w", spec.Name, err)
	}
	return batches, nil
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
