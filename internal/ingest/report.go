package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/progress"
	"mlops/internal/source"
)

// Report is what a data step did with the rows that it read. Every step fills it
// in, logs it, and leaves it as its output parameter "report", in this JSON.
// Read is the sum of Taken, Known, Replaced and Rejected.
type Report struct {
	Step        string           `json:"step"`
	Source      string           `json:"source,omitempty"` // without credentials
	Digest      string           `json:"digest,omitempty"` // of the table, SHA-256 in hex
	Batches     int              `json:"batches"`
	Read        int64            `json:"read"`                  // records of a source, rows of raw, or rows of clean without a split
	Taken       int64            `json:"taken"`                 // went on to where the step writes
	Known       int64            `json:"known"`                 // were there before with the same values
	Replaced    int64            `json:"replaced"`              // took the place of an earlier row with the same key
	Replacement *Replacement     `json:"replacement,omitempty"` // one of them
	Absent      *Absent          `json:"absent,omitempty"`      // rows of other sources that this one does not have; they stay
	Rejected    int64            `json:"rejected"`
	Empty       int64            `json:"empty,omitempty"`      // lines without a value, which are no records and not among Read
	EmptyLine   int64            `json:"empty_line,omitempty"` // the first of them
	Reasons     map[string]int64 `json:"reasons,omitempty"`    // the rejected rows by the step's Reasons, of those that any row was rejected for
	Losses      []Loss           `json:"losses,omitempty"`     // the rejected rows by what is wrong and column, the most rows first
	Rebuilt     int64            `json:"rebuilt,omitempty"`    // rows that clean had before, and that were cleaned again because of Changed
	Changed     []string         `json:"changed,omitempty"`    // in the spec, where clean was rebuilt
	Lines       int64            `json:"lines,omitempty"`      // of the source, where the load stopped before its end
	UsedUp      bool             `json:"used_up,omitempty"`    // nothing is left in the source
	Splits      map[string]int64 `json:"splits,omitempty"`     // rows of clean by split
	Notes       []string         `json:"notes,omitempty"`      // what to know of the splits, a sentence each
}

// Loss is rows that were rejected for the same reason, with one of them.
type Loss struct {
	Column string `json:"column,omitempty"` // empty where the whole line is wrong
	Reason string `json:"reason"`
	Rows   int64  `json:"rows"`
	Line   int64  `json:"line"`  // of the example; its row where ByRow is set
	Value  string `json:"value"` // of the example, cut
	Remedy string `json:"remedy,omitempty"`
	ByRow  bool   `json:"by_row,omitempty"` // the source numbers rows, as a Parquet file does
}

// maxLosses is how many reasons a report lists; the rest is in the rejected table.
const maxLosses = 20

// ParseReport reads the JSON of a report.
func ParseReport(text string) (Report, error) {
	var r Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("reading a step's report: %w", err)
	}
	return r, nil
}

// String is the report for people: one line, and one more for each reason.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s read, %s taken", r.Step, progress.Count(r.Read), progress.Count(r.Taken))
	for _, n := range []struct {
		rows int64
		what string
	}{{r.Known, "known before"}, {r.Replaced, "replaced"}, {r.Rejected, "rejected"}} {
		if n.rows > 0 {
			fmt.Fprintf(&b, ", %s %s", progress.Count(n.rows), n.what)
		}
	}
	if r.Empty > 0 {
		b.WriteString("\n  " + emptyLines(r.Empty, r.EmptyLine))
	}
	if len(r.Changed) > 0 {
		b.WriteString("\n  " + progress.Counted(r.Rebuilt, "row") + " cleaned again, because the spec changed: " + strings.Join(r.Changed, "; "))
	}
	if r.Replacement != nil {
		b.WriteString("\n  " + progress.Counted(r.Replaced, "row") + " replaced; for example " + r.Replacement.String())
	}
	if r.Absent != nil {
		b.WriteString("\n  " + r.Absent.String())
	}
	for _, l := range r.Losses {
		b.WriteString("\n  " + l.String())
	}
	for _, n := range r.Notes {
		b.WriteString("\n  " + n)
	}
	if r.Step == "load-raw-data" && r.Rejected > maxKept {
		fmt.Fprintf(&b, "\n  of one source the first %s rejected lines are kept one by one, and the others counted by reason", progress.Count(maxKept))
	}
	return b.String()
}

// addEmpty counts lines without a value in.
func (r *Report) addEmpty(e source.Empty) {
	if r.Empty == 0 {
		r.EmptyLine = e.First
	}
	r.Empty += e.Lines
}

// emptyLines says that a table has lines that are no records.
func emptyLines(n, first int64) string {
	if n == 1 {
		return fmt.Sprintf("line %d is empty, and no record", first)
	}
	return fmt.Sprintf("%s lines are empty, and no records; the first is line %d", progress.Count(n), first)
}

// String is the loss for people, in one line.
func (l Loss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rejected: ", progress.Counted(l.Rows, "row"))
	if l.Column != "" {
		fmt.Fprintf(&b, "column %s is ", l.Column)
	}
	at := "line"
	if l.ByRow {
		at = "row"
	}
	fmt.Fprintf(&b, "%s; for example %s %d: %s", l.Reason, at, l.Line, strconv.Quote(l.Value))
	if l.Remedy != "" {
		b.WriteString(" (" + l.Remedy + ")")
	}
	return b.String()
}

// LossError says that a step rejected more rows than the spec allows. What the
// run had brought was taken back.
type LossError struct {
	Report Report
	AtMost dataset.Percent
	Of     string // what the share is of: "lines", "raw rows"
}

func (e *LossError) Error() string {
	var b strings.Builder
	r := &e.Report
	of := "of "
	if r.Lines > 0 {
		of = "of the first "
	}
	fmt.Fprintf(&b, "%s rejected %s %s%s %s (%.1f%%), and rejects.at_most allows %s; none of them was kept",
		r.Step, progress.Count(r.Rejected), of, progress.Count(r.Read), e.Of, 100*float64(r.Rejected)/float64(r.Read), e.AtMost)
	if r.Lines > 0 {
		fmt.Fprintf(&b, "; it stopped there, of %s lines", progress.Count(r.Lines))
	}
	for _, l := range r.Losses {
		b.WriteString("\n  " + l.String())
	}
	if len(r.Changed) > 0 {
		b.WriteString("\n  the spec changed: " + strings.Join(r.Changed, "; ") + "; what was clean before is there as it was")
	}
	b.WriteString("\n  correct the table or the spec and run it again; to continue without these rows, raise rejects.at_most")
	return b.String()
}

// StillRejected is the SQL condition of a row r of a rejected table that counts
// today: a row that could not be cleaned, and whose key a later batch brought
// again, is no loss any more. Tables of an earlier release lack the column, and
// only a data step adds it.
const StillRejected = "to_jsonb(r) ->> 'replaced_by' IS NULL"

// RejectedRows is the SQL expression of how many rows the rows r of a rejected table
// stand for: beyond maxKept one stands for several.
const RejectedRows = "coalesce(sum(coalesce((to_jsonb(r) ->> 'rows')::bigint, 1)), 0)::bigint"

// lossesOf lists why rows of some batches were rejected, the most rows first; of all
// batches where batches is nil. There are no more losses than kinds of mistakes in
// each column.
func lossesOf(ctx context.Context, conn *pgx.Conn, rejected string, batches []int32) ([]Loss, error) {
	where := "WHERE " + StillRejected
	var args []any
	if batches != nil {
		where, args = "WHERE _batch = ANY ($1)", []any{batches}
	}
	// The example is the one on the first line; an array's minimum keeps one
	// value in memory, however many rows there are.
	found, err := conn.Query(ctx, fmt.Sprintf(`SELECT "column", kind, %s,
			min(ARRAY[lpad(line::text, 10, '0'), value] COLLATE "C")
		FROM %s r %s GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2`, RejectedRows, rejected, where), args...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", rejected, err)
	}
	losses, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (Loss, error) {
		var l Loss
		var example []string
		if err := r.Scan(&l.Column, &l.Reason, &l.Rows, &example); err != nil {
			return l, err
		}
		l.Value = example[1]
		l.Line, err = strconv.ParseInt(example[0], 10, 64)
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", rejected, err)
	}
	return losses, nil
}

// Losses lists why rows of a data set were rejected, from a connection to the
// database raw or clean. There are none where it has no table yet.
func Losses(ctx context.Context, conn *pgx.Conn, name string) ([]Loss, error) {
	rejected := quote(name + "_rejected")
	ok, err := exists(ctx, conn, rejected)
	if err != nil || !ok {
		return nil, err
	}
	var current bool // the table of an earlier release has no kinds
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'kind')`, rejected).Scan(&current); err != nil || !current {
		return nil, err
	}
	all, err := lossesOf(ctx, conn, rejected, nil)
	return largest(all), err
}

// Ledger is what the data steps did with the rows of a data set in all of their runs,
// from connections to the databases raw and clean.
func Ledger(ctx context.Context, raw, clean *pgx.Conn, spec *dataset.Spec) ([]Report, error) {
	n, err := Count(ctx, raw, clean, spec)
	if err != nil {
		return nil, err
	}
	loaded := Report{Step: "load-raw-data", Taken: n.Raw, Known: n.Known, Replaced: n.Replaced, Rejected: n.RawRejected}
	cleaned := Report{Step: "process-data", Taken: n.Clean, Rejected: n.Rejected}
	shared := Report{Step: "load-val-test-data", Read: n.Clean, Taken: n.Clean - n.Splits[""], Splits: n.Splits}
	if loaded.Losses, err = Losses(ctx, raw, spec.Name); err != nil {
		return nil, err
	}
	if cleaned.Losses, err = Losses(ctx, clean, spec.Name); err != nil {
		return nil, err
	}
	if shared.Taken > 0 {
		if shared.Notes, err = splitNotes(ctx, clean, spec, n.Splits); err != nil {
			return nil, err
		}
	}
	for _, r := range []*Report{&loaded, &cleaned} {
		r.Read = r.Taken + r.Known + r.Replaced + r.Rejected
		addRemedies(spec, r.Losses)
	}
	return []Report{loaded, cleaned, shared}, nil
}
