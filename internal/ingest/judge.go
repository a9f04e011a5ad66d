package ingest

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// judge moves the staged rows of a batch to the table, or to the rejected ones,
// or passes them over because they are known, or puts them in the place of an
// earlier row, and returns how many went each way. Its names start with an
// underscore, as no column of a spec does.
func (l *loader) judge(ctx context.Context, tx pgx.Tx, keep int64) (rows, known, replaced, rejected int64, err error) {
	// The batch is small and the table may be large: its index is to be used.
	// Without statistics the planner might read the whole table, once a batch. A
	// custom plan looks the alike lines up in a hash table.
	if _, err := tx.Exec(ctx, lookUpKeys+"; SET LOCAL plan_cache_mode = force_custom_plan"); err != nil {
		return 0, 0, 0, 0, fmt.Errorf("comparing with known rows: %w", err)
	}
	alike, err := l.alike(ctx, tx)
	if err != nil {
		return 0, 0, 0, 0, fmt.Errorf("comparing with known rows: %w", err)
	}
	if err := tx.QueryRow(ctx, l.judgeByKey(), l.table.Digest, alike, keep).Scan(&rows, &known, &replaced, &rejected); err != nil {
		return 0, 0, 0, 0, fmt.Errorf("comparing with known rows: %w", err)
	}
	return rows, known, replaced, rejected, nil
}

// alike returns the lines of staged rows that differ from a known row only in how
// their values are spelled: 27.330 for 27.33.
func (l *loader) alike(ctx context.Context, tx pgx.Tx) ([]int32, error) {
	spec := l.cfg.Spec
	lines := []int32{}
	var in copyFields
	compare := func(text []byte) error {
		fields, err := in.read(text)
		if err != nil {
			return err
		}
		n := len(spec.Columns)
		for c := range n {
			// NULL is no value of the table: the row was loaded before the spec had
			// the column. That it now has a value is a change only if changed rows
			// are to be replaced.
			if there := fields[1+n+c]; there == nil && !spec.Replaces() {
				continue
			}
			if !spec.SameCell(c, fields[1+c], fields[1+n+c]) {
				return nil
			}
		}
		line, err := strconv.ParseInt(string(fields[0]), 10, 32)
		lines = append(lines, int32(line))
		return err
	}
	key := quoteColumn(spec.Key)
	staged, known := columnList(spec, "s."), columnList(spec, "r.")
	sql := fmt.Sprintf("COPY (SELECT s._line, %s, %s FROM _staged s JOIN %s r ON r.%s = s.%s WHERE ROW(%s) IS DISTINCT FROM ROW(%s)) TO STDOUT",
		staged, known, l.t.rows, key, key, staged, known)
	if _, err := tx.Conn().PgConn().CopyTo(ctx, &lineWriter{line: compare}, sql); err != nil {
		return nil, err
	}
	return lines, nil
}

// lookUpKeys makes a join with the table look each key up in its index.
const lookUpKeys = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"

// judgeByKey is one statement, so that each of its parts sees the table as it
// was before the batch: there stands the row with the same key, and whether it
// came from this source. $1 is the source's digest, $2 the lines that are alike, $3 how
// many rejected lines are kept one by one.
//
// What happens to a row must not depend on where a batch ends: a key that has
// replaced a row of another source is a repetition when it comes again.
func (l *loader) judgeByKey() string {
	key := quoteColumn(l.cfg.Spec.Key)
	other, replace, replaced := "false", "", "0"
	if l.cfg.Spec.Replaces() {
		other = "_there_line IS NOT NULL AND NOT _same_source AND NOT _same"
		// An update, since a deletion and an insertion in one statement may come
		// in any order, and the key is unique.
		replace = `, kept AS (
	INSERT INTO {replaced} ({columns}{more}, _batch, _line, _replaced_by)
	SELECT {there}{more_there}, r._batch, r._line, j._batch FROM judged j JOIN {rows} r ON r.{key} = j.{key} WHERE j._fate = 'replaces'
	RETURNING 1
), replaced AS (
	UPDATE {rows} r SET ({columns}{more}, _batch, _line) = ROW ({judged}{more_judged}, j._batch, j._line)
	FROM judged j WHERE j._fate = 'replaces' AND r.{key} = j.{key}
	RETURNING 1
)`
		replaced = "(SELECT count(*) FROM kept)"
	}
	more := func(prefix string) string { // columns that the spec leaves out
		var b strings.Builder
		for _, n := range l.leftOut {
			b.WriteString(", " + prefix + quote(n))
		}
		return b.String()
	}
	replace = strings.NewReplacer("{more}", more(""), "{more_there}", more("r."), "{more_judged}", more("j.")).Replace(replace)
	r := strings.NewReplacer(
		"{rows}", l.t.rows, "{batches}", l.t.batches, "{rejected}", l.t.rejected, "{replaced}", l.t.replaced, "{key}", key, "{other}", other,
		"{columns}", columnList(l.cfg.Spec, ""), "{staged}", columnList(l.cfg.Spec, "s."), "{there}", columnList(l.cfg.Spec, "r."), "{judged}", columnList(l.cfg.Spec, "j."),
		"{name}", quoteText(l.cfg.Spec.Key), "{twice}", quoteText(keyTwice), "{changed}", quoteText(keyChanged),
	)
	return r.Replace(`
WITH compared AS MATERIALIZED (
	SELECT s.*, r._batch AS _there_batch, r._line AS _there_line, b.digest = $1 AS _same_source,
		ROW({staged}) IS NOT DISTINCT FROM ROW({there}) OR s._line = ANY ($2::integer[]) AS _same,
		row_number() OVER _same_key AS _nth, first_value(s._line) OVER _same_key AS _first_line
	FROM _staged s
	LEFT JOIN {rows} r ON r.{key} = s.{key}
	LEFT JOIN {batches} b ON b.id = r._batch
	WINDOW _same_key AS (PARTITION BY s.{key} ORDER BY s._line)
), marked AS (
	SELECT *, min(_line) FILTER (WHERE {other}) OVER (PARTITION BY {key}) AS _replacing_line FROM compared
), judged AS MATERIALIZED (
	SELECT *, CASE
			WHEN _there_line IS NULL AND _nth = 1 THEN 'new'
			WHEN _there_line IS NULL OR _same_source OR _line > _replacing_line THEN 'twice'
			WHEN _line = _replacing_line THEN 'replaces'
			WHEN _same THEN 'known'
			ELSE 'changed' END AS _fate,
		CASE WHEN _there_line IS NULL THEN _first_line WHEN _same_source THEN _there_line ELSE _replacing_line END AS _before
	FROM marked
), added AS (
	INSERT INTO {rows} ({columns}, _batch, _line)
	SELECT {columns}, _batch, _line FROM judged WHERE _fate = 'new' ORDER BY _line
	RETURNING 1
)` + replace + `, lost AS MATERIALIZED (
	SELECT *, row_number() OVER (ORDER BY _line) > $3 AS _over FROM judged WHERE _fate IN ('twice', 'changed')
), counted AS (
	SELECT _fate AS _why, min(_line) AS _one, count(*) AS _lines FROM lost WHERE _over GROUP BY 1
), refused AS (
	INSERT INTO {rejected} (_batch, line, "column", kind, value, reason, text, rows)
	SELECT _batch, _line, {name}, CASE _fate WHEN 'twice' THEN {twice} ELSE {changed} END, left({key}, 60), 'key ' || {name} || '=' || left({key}, 100) || CASE _fate
			WHEN 'twice' THEN ' is already on line ' || _before
			ELSE ' is known with other values, from batch ' || _there_batch || ', line ' || _there_line END,
		_text, coalesce(_lines, 1)
	FROM lost LEFT JOIN counted ON _over AND _why = _fate AND _one = _line WHERE NOT _over OR _one IS NOT NULL ORDER BY _line
	RETURNING rows
)
SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM judged WHERE _fate = 'known'), ` + replaced + `, (SELECT coalesce(sum(rows), 0) FROM refused)`)
}
