package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/progress"
	"mlops/internal/source"
)

// A changed spec. Raw holds texts, so types, markers and ranges mean nothing to
// it; a column that the spec adds is added to it, one that the spec leaves out
// stays, and one that only has another name now is renamed. Clean says in a table
// what its columns meant when it was made; where the spec means something else,
// it is rebuilt from raw (rebuild.go).

// forgetHint ends errors about what a changed spec can't bring about by itself.
func forgetHint(spec *dataset.Spec) string {
	return fmt.Sprintf("put the spec back, or remove the rows of %s with `mlops forget SPEC` and load its files again", spec.Name)
}

// headers are what the columns of a raw table are called in the source: their
// comment, or their name.
func headers(ctx context.Context, tx pgx.Tx, table string) (map[string]string, error) {
	rows, err := tx.Query(ctx, `SELECT attname, coalesce(col_description(attrelid, attnum), attname) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('_batch', '_line')`, table)
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", table, err)
	}
	all := map[string]string{}
	var name, header string
	if _, err := pgx.ForEachRow(rows, []any{&name, &header}, func() error { all[name] = header; return nil }); err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", table, err)
	}
	return all, nil
}

// fitRaw makes the columns of raw those of the spec: it renames and adds some.
// Those that the spec leaves out stay.
func fitRaw(ctx context.Context, tx pgx.Tx, spec *dataset.Spec) error {
	t := tablesOf(spec)
	there, err := headers(ctx, tx, t.rows)
	if err != nil {
		return err
	}
	left := maps.Clone(there)
	for _, c := range spec.Columns {
		delete(left, ColumnName(c.Name))
	}
	for _, c := range spec.Columns {
		name := ColumnName(c.Name)
		if _, ok := there[name]; !ok {
			old := ""
			for _, n := range slices.Sorted(maps.Keys(left)) {
				if left[n] == c.Header() {
					old = n
				}
			}
			sql := "ALTER TABLE {table} ADD COLUMN {name} text COLLATE \"C\""
			if old != "" {
				delete(left, old)
				sql = "ALTER TABLE {table} RENAME COLUMN {old} TO {name}"
			} else if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET lacks = array_append(lacks, $1)", t.batches), name); err != nil {
				return fmt.Errorf("adding column %s to raw: %w", c.Name, err)
			}
			if old != "" {
				if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET lacks = array_replace(lacks, $1, $2)", t.batches), old, name); err != nil {
					return fmt.Errorf("renaming column %s of raw: %w", old, err)
				}
			}
			for _, table := range []string{t.rows, t.replaced} {
				if _, err := tx.Exec(ctx, strings.NewReplacer("{table}", table, "{name}", quote(name), "{old}", quote(old)).Replace(sql)); err != nil {
					return fmt.Errorf("making column %s in %s: %w", c.Name, table, err)
				}
			}
			there[name] = name
		}
		if there[name] != c.Header() {
			if _, err := tx.Exec(ctx, fmt.Sprintf("COMMENT ON COLUMN %s.%s IS %s", t.rows, quote(name), quoteText(c.Header()))); err != nil {
				return fmt.Errorf("noting the header of column %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

// leftOut are the columns of raw that the spec does not list.
func leftOut(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
		AND attname NOT IN ('_batch', '_line') ORDER BY attnum`, tablesOf(spec).rows)
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", spec.Name, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", spec.Name, err)
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return slices.ContainsFunc(spec.Columns, func(c dataset.Column) bool { return ColumnName(c.Name) == n })
	}), nil
}

// lack is a column that rows of a source never had, because the spec did not list
// it when they were loaded.
type lack struct {
	digest, source, column string
	rows                   int64
}

func (l *loader) lacking(ctx context.Context, conn *pgx.Conn) ([]lack, error) {
	names := make([]string, len(l.cfg.Spec.Columns))
	for i, c := range l.cfg.Spec.Columns {
		names[i] = ColumnName(c.Name)
	}
	found, err := conn.Query(ctx, fmt.Sprintf(`SELECT digest, max(source), name, sum(rows + replaced) FROM %s, unnest(lacks) AS name
		WHERE name = ANY ($1) AND rows + replaced > 0 GROUP BY digest, name ORDER BY min(id), name`, l.t.batches), names)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
	}
	lacks, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (lack, error) {
		var k lack
		return k, r.Scan(&k.digest, &k.source, &k.column, &k.rows)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the ledger %s: %w", l.t.batches, err)
	}
	return lacks, nil
}

// fill brings the columns that rows of this source lack out of it, and says which
// rows of other sources lack some.
func (l *loader) fill(ctx context.Context, conn *pgx.Conn) error {
	lacks, err := l.lacking(ctx, conn)
	if err != nil {
		return err
	}
	var mine []string
	for _, k := range lacks {
		if k.digest == l.table.Digest {
			mine = append(mine, k.column)
		}
	}
	if len(mine) > 0 {
		if err := l.fillColumns(ctx, conn, mine); err != nil {
			return fmt.Errorf("filling in columns %s: %w", strings.Join(mine, ", "), err)
		}
	}
	for _, k := range lacks {
		if k.digest == l.table.Digest {
			continue
		}
		if l.cfg.Spec.Key == "" {
			return &Mismatch{fmt.Sprintf("%s of %s were loaded before the spec had the column %s, so without a key they can't be compared with this file: load that file again first, which fills the column in, or remove the rows of %s with `mlops forget SPEC`",
				progress.Counted(k.rows, "row"), k.source, k.column, l.cfg.Spec.Name)}
		}
		l.logger.Warn("rows of an earlier file have no value in a column that the spec did not have then; to fill it in, load that file again",
			"column", k.column, "rows", k.rows, "source", k.source)
	}
	return nil
}

// fillColumns reads the source once more, for columns that its rows lack.
func (l *loader) fillColumns(ctx context.Context, conn *pgx.Conn, columns []string) error {
	records, err := l.table.Records(source.Position{})
	if err != nil {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	var at []int
	var create, set, names, nulls []string
	for i, c := range l.cfg.Spec.Columns {
		if name := ColumnName(c.Name); slices.Contains(columns, name) {
			at = append(at, i)
			names = append(names, quote(name))
			create = append(create, quote(name)+` text COLLATE "C"`)
			set = append(set, fmt.Sprintf("%s = f.%[1]s", quote(name)))
			nulls = append(nulls, "r."+quote(name)+" IS NULL")
		}
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE _fill (%s, _line integer PRIMARY KEY) ON COMMIT DROP", strings.Join(create, ", "))); err != nil {
		return err
	}
	b := &rawBatch{spec: l.cfg.Spec, key: -1}
	var out []byte
	_, _, err = copyBatch(ctx, conn, fmt.Sprintf("COPY _fill (%s, _line) FROM STDIN", strings.Join(names, ", ")), "", func() (chunk, error) {
		out = out[:0]
		for len(out) < chunkSize {
			rec, err := records.Next()
			if err != nil {
				return chunk{rows: out}, err
			}
			if b.judge(rec) != (rejection{}) {
				continue
			}
			for _, i := range at {
				out = append(appendField(out, rec.Fields[i]), '\t')
			}
			out = append(strconv.AppendInt(out, rec.Line, 10), '\n')
		}
		return chunk{rows: out}, ctx.Err()
	})
	if err != nil {
		return err
	}
	records.Close()
	var filled int64
	for _, table := range []string{l.t.rows, l.t.replaced} {
		tag, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE %s r SET %s FROM _fill f WHERE f._line = r._line AND r._batch IN (SELECT id FROM %s WHERE digest = $1) AND (%s)`,
			table, strings.Join(set, ", "), l.t.batches, strings.Join(nulls, " OR ")), l.table.Digest)
		if err != nil {
			return err
		}
		filled += tag.RowsAffected()
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("UPDATE %s SET lacks = ARRAY(SELECT n FROM unnest(lacks) n WHERE n <> ALL ($2)), filled = filled + 1 WHERE digest = $1", l.t.batches), l.table.Digest, columns); err != nil {
		return err
	}
	if err := l.table.Unchanged(); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	l.logger.Info("filled in columns that the spec did not have when this file was loaded", "columns", columns, "rows", filled)
	return nil
}

// meaning is what a column of clean was made of: its header in the source and, in
// words, all that decides its values.
type meaning struct{ name, header, means string }

func meanings(spec *dataset.Spec) []meaning {
	var all []meaning
	for i := range spec.Columns {
		c := &spec.Columns[i]
		means := string(c.Type)
		add := func(what, value string) {
			if value != "" {
				means += ", " + what + " " + value
			}
		}
		var markers []string
		for _, m := range slices.Sorted(slices.Values(c.Markers())) {
			markers = append(markers, strconv.Quote(m))
		}
		add("missing", strings.Join(slices.Compact(markers), " "))
		for _, bound := range []struct {
			what string
			x    *float64
		}{{"min", c.Min}, {"max", c.Max}} {
			if bound.x != nil {
				add(bound.what, strconv.FormatFloat(*bound.x, 'g', -1, 64))
			}
		}
		add("format", c.Format)
		add("unit", c.Unit)
		add("earliest", c.Earliest)
		add("latest", c.Latest)
		if c.Required {
			means += ", required"
		}
		if c.Type == dataset.Integer || c.Type == dataset.Number {
			add("decimal", spec.Source.Decimal)
			add("thousands", spec.Source.Thousands)
		}
		if c.Name == spec.Key {
			means += ", the key"
		}
		if spec.ByTime() && c.Name == spec.Split.By {
			means += ", splits the rows"
		}
		if only := c.Only(); only != nil {
			var words []string
			for _, v := range only {
				words = append(words, strconv.Quote(v))
			}
			add("only", strings.Join(words, " "))
		}
		all = append(all, meaning{ColumnName(c.Name), c.Header(), means})
	}
	return all
}

// changes says in words how one meaning of the columns differs from another; and
// which columns have another name now, by the new one.
func changes(was, is []meaning) (said []string, renamed map[string]string) {
	renamed = map[string]string{}
	find := func(all []meaning, fits func(meaning) bool) (meaning, bool) {
		if i := slices.IndexFunc(all, fits); i >= 0 {
			return all[i], true
		}
		return meaning{}, false
	}
	gone := slices.DeleteFunc(slices.Clone(was), func(m meaning) bool {
		_, stays := find(is, func(n meaning) bool { return n.name == m.name })
		return stays
	})
	for _, n := range is {
		if n.name == "" { // not of a column
			if !slices.Contains(was, n) {
				said = append(said, n.means)
			}
			continue
		}
		m, ok := find(was, func(m meaning) bool { return m.name == n.name })
		if !ok {
			if m, ok = find(gone, func(m meaning) bool { return m.header == n.header }); !ok {
				said = append(said, fmt.Sprintf("column %s is new", n.name))
				continue
			}
			renamed[n.name] = m.name
			gone = slices.DeleteFunc(gone, func(g meaning) bool { return g == m })
			said = append(said, fmt.Sprintf("column %s was called %s", n.name, m.name))
		}
		if m.means != n.means {
			said = append(said, fmt.Sprintf("column %s was %s; is %s", n.name, m.means, n.means))
		}
	}
	for _, m := range gone {
		if m.name == "" {
			continue
		}
		said = append(said, fmt.Sprintf("column %s is left out", m.name))
	}
	return said, renamed
}
