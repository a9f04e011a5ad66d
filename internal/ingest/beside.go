package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/progress"
	"mlops/internal/source"
)

// Beside is a table next to the rows of its data set that were loaded before, as LoadRaw
// would see them. It holds hashes of at most maxBeside rows.
type Beside struct {
	Rows   int64 // that were loaded before; the others are 0 where there are none
	Loaded bool  // this very table was loaded before; then the following are not counted

	New     int64 // rows of the table
	Known   int64 // were loaded before with the same values
	Changed int64 // have a key that was loaded before with other values
	Gone    int64 // rows that were loaded before and are not in the table

	Line int64  // of the first changed row
	Key  string // of it

	Again     int64  // of the new rows, have the values of an earlier one under another key
	AgainLine int64  // of the first of them
	AgainKey  string // of it

	Compared int64 // of Rows, with which the table was compared
}

// maxBeside bounds how many earlier rows a table is compared with.
const maxBeside = 1 << 20

// earlierRow is what is remembered of a row that was loaded before.
type earlierRow struct {
	values uint64 // 0: not all columns were loaded, so nothing can be said of a change
	rows   int32  // alike, where the spec has no key
	seen   int32  // of them, in the table
}

// Compare compares the table that the configuration names with the rows that were loaded
// before, and notes in p, what Try found of it, what both have together. raw is a connection to
// that database, and nothing is written. It calls row for each earlier row that can be cleaned,
// as Try does.
func Compare(ctx context.Context, raw *pgx.Conn, cfg Config, p *Preview, row func(fields [][]byte)) (*Beside, error) {
	spec := cfg.Spec
	t := tablesOf(spec)
	b := &Beside{}
	if ok, err := exists(ctx, raw, t.batches); err != nil || !ok {
		return b, err
	}
	if err := raw.QueryRow(ctx, "SELECT count(*) FROM "+t.rows).Scan(&b.Rows); err != nil {
		return nil, fmt.Errorf("counting the rows of %s: %w", spec.Name, err)
	}
	if b.Rows == 0 {
		return b, nil
	}
	table, err := open(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	if err := raw.QueryRow(ctx, fmt.Sprintf("SELECT EXISTS (SELECT FROM %s WHERE digest = $1)", t.batches), table.Digest).Scan(&b.Loaded); err != nil {
		return nil, fmt.Errorf("looking for the table among the batches of %s: %w", spec.Name, err)
	}
	var earlier map[uint64]*earlierRow
	together := newTrial(spec, nil)
	err = pgx.BeginTxFunc(ctx, raw, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		earlier, err = b.earlier(ctx, tx, spec, func(fields [][]byte) {
			row(fields)
			together.cleaned(fields)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the earlier rows of %s: %w", spec.Name, err)
	}
	if !b.Loaded {
		if err := b.compare(ctx, table, spec, earlier, together); err != nil {
			return nil, err
		}
	}
	p.Together = together.counted()
	return b, nil
}

// earlier reads the rows that were loaded before, by what they are recognized by.
func (b *Beside) earlier(ctx context.Context, tx pgx.Tx, spec *dataset.Spec, row func(fields [][]byte)) (map[uint64]*earlierRow, error) {
	there, err := headers(ctx, tx, tablesOf(spec).rows)
	if err != nil {
		return nil, err
	}
	columns := columnNames(spec, "")
	for i, c := range spec.Columns {
		if _, ok := there[ColumnName(c.Name)]; !ok {
			columns[i] = "NULL"
		}
	}
	all := map[uint64]*earlierRow{}
	key := spec.Column(spec.Key)
	var in copyFields
	clean := make([][]byte, len(columns))
	line := func(text []byte) error {
		fields, err := in.read(text)
		if err != nil {
			return err
		}
		var known []byte // canonical already
		if key >= 0 {
			known = fields[key]
		}
		k, values := recognized(spec, fields, known)
		if slices.ContainsFunc(fields, func(f []byte) bool { return f == nil }) {
			values = 0
		}
		if r := all[k]; r != nil {
			r.rows++
		} else {
			all[k] = &earlierRow{values: values, rows: 1}
		}
		b.Compared++
		for i, field := range fields {
			if i == key {
				clean[i] = field
			} else if clean[i], err = cleanValue(spec, i, field); err != nil {
				return nil
			}
		}
		row(clean)
		return nil
	}
	sql := fmt.Sprintf("COPY (SELECT %s FROM %s ORDER BY _batch DESC, _line LIMIT %d) TO STDOUT", strings.Join(columns, ", "), tablesOf(spec).rows, maxBeside)
	_, err = tx.Conn().PgConn().CopyTo(ctx, &lineWriter{line: line}, sql)
	return all, err
}

// values are those of the earlier rows, besides their keys, where they tell rows apart: nil
// if more than one row in 20 has those of another.
func values(spec *dataset.Spec, earlier map[uint64]*earlierRow) map[uint64]bool {
	if spec.Key == "" {
		return nil
	}
	all := make(map[uint64]bool, len(earlier))
	for _, r := range earlier {
		if r.values != 0 {
			all[r.values] = true
		}
	}
	if len(all)*20 < len(earlier)*19 {
		return nil
	}
	return all
}

// compare reads the table, and counts its new rows in together.
func (b *Beside) compare(ctx context.Context, table *source.Table, spec *dataset.Spec, earlier map[uint64]*earlierRow, together *trial) error {
	records, err := table.Records(source.Position{})
	if err != nil {
		return err
	}
	defer records.Close()
	twice := map[uint64]bool{} // new keys
	were := values(spec, earlier)
	judge := rawBatch{spec: spec, key: spec.Column(spec.Key)}
	for read := 1; ; read++ {
		rec, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if read%10_000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if judge.judge(rec) != (rejection{}) {
			continue // Try says so
		}
		key, values := recognized(spec, rec.Fields, judge.keyText)
		r := earlier[key]
		switch {
		case r == nil && spec.Key != "" && twice[key]:
			continue // Try says so
		case r == nil || spec.Key == "" && r.seen == r.rows:
			b.New++
			if spec.Key != "" && len(twice) < maxBeside {
				twice[key] = true
			}
			if were[values] {
				if b.Again++; b.Again == 1 {
					b.AgainLine, b.AgainKey = rec.Line, example(judge.keyText)
				}
			}
			together.added(rec.Fields)
			continue
		case spec.Key == "" || r.values == 0 && !spec.Replaces() || r.values == values:
			b.Known++
		default:
			if b.Changed++; b.Changed == 1 {
				b.Line, b.Key = rec.Line, example(judge.keyText)
			}
		}
		r.seen++
	}
	for _, r := range earlier {
		if spec.Key == "" {
			b.Gone += int64(r.rows - r.seen)
		} else if r.seen == 0 {
			b.Gone++
		}
	}
	return nil
}

// added counts a row that can be loaded, if it can be cleaned.
func (t *trial) added(fields [][]byte) {
	for i, field := range fields {
		var err error
		if t.fields[i], err = cleanValue(t.spec, i, field); err != nil {
			return
		}
	}
	t.cleaned(t.fields)
}

// recognized returns hashes of what a row is recognized by, its key or its values, and of
// its values besides the key.
func recognized(spec *dataset.Spec, fields [][]byte, key []byte) (by, values uint64) {
	var h maphash.Hash
	h.SetSeed(seed)
	for i, field := range fields {
		if i == spec.Column(spec.Key) {
			continue
		}
		v, err := spec.Cell(i, field)
		switch {
		case err != nil:
			v = field
		case v == nil:
			h.WriteByte(0xff) // no byte of UTF-8
		}
		h.Write(v)
		h.WriteByte(0xfe)
	}
	if values = h.Sum64(); spec.Key == "" {
		return values, values
	}
	return maphash.Bytes(seed, key), values
}

// String says what was found in one line.
func (b *Beside) String(spec *dataset.Spec) string {
	switch {
	case b.Rows == 0:
		return fmt.Sprintf("no row of %s was loaded before: there is nothing to compare the table with", spec.Name)
	case b.Loaded:
		return "this very table was loaded before: loading it again changes nothing"
	}
	text := fmt.Sprintf("beside the %s loaded before: %s new, %s known", progress.Counted(b.Rows, "row"), progress.Count(b.New), progress.Count(b.Known))
	if b.Compared < b.Rows {
		text = fmt.Sprintf("beside the last %s of %s rows loaded before: %s new, %s known", progress.Count(b.Compared), progress.Count(b.Rows), progress.Count(b.New), progress.Count(b.Known))
	}
	if b.Changed > 0 {
		what := "rejected"
		if spec.Replaces() {
			what = "put in the place of the earlier ones"
		}
		text += fmt.Sprintf("; %s a known key with other values and would be %s, the first on line %s: %s = %s", progress.Counted(b.Changed, "row")+map[bool]string{true: " has", false: " have"}[b.Changed == 1], what, progress.Count(b.Line), spec.Key, b.Key)
	}
	if b.Gone > 0 {
		text += fmt.Sprintf("; %s not in this table and would stay", map[bool]string{true: "1 is", false: progress.Count(b.Gone) + " of them are"}[b.Gone == 1])
	}
	return text
}

// Warning says that the table has rows that were loaded before under another key; it is empty
// if hardly any are.
func (b *Beside) Warning(spec *dataset.Spec) string {
	if b.Again*20 < b.New || b.Again == 0 {
		return ""
	}
	return fmt.Sprintf("%s the values of a row loaded before, and another key, the first on line %s: %s = %s. They would count twice, and a model would be tested on rows that it was trained on: give them the keys that they had before",
		progress.Counted(b.Again, "new row")+map[bool]string{true: " has", false: " have"}[b.Again == 1], progress.Count(b.AgainLine), spec.Key, b.AgainKey)
}

// Stops reports whether the load would reject too many rows of a table, of which so many are
// rejected for what they are, and so many are read.
func (b *Beside) Stops(spec *dataset.Spec, load Report) string {
	if spec.Replaces() || b.Changed == 0 || b.Changed+load.Rejected <= spec.AtMost().Of(load.Read) {
		return ""
	}
	return fmt.Sprintf("load-raw-data would reject %s of %s lines, %s of them for a known key with other values, and rejects.at_most allows %s: give the rows keys of their own, or say on_change: replace",
		progress.Count(b.Changed+load.Rejected), progress.Count(load.Read), progress.Count(b.Changed), spec.AtMost())
}
