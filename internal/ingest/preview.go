package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/bits"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
	"mlops/internal/progress"
	"mlops/internal/source"
)

// Preview is what the data steps would do with a table, found out without a
// database: each record goes through the same rules as in LoadRaw and Process.
type Preview struct {
	Source  string
	Load    Report // lines that can't be a row
	Clean   Report // rows that can't be cleaned
	AtMost  dataset.Percent
	Classes []Class // values of the target, the most frequent first; at most maxClasses and those that the spec names

	Positive  int64 // rows that training could use, by label of a binary task
	Negative  int64
	Unlabeled int64           // rows without a target
	Excluded  int64           // rows that the cohort leaves out
	Parts     map[string]Part // rows that training could use, by split
	Groups    int64           // different groups, 0 where the spec names none; at least that many beyond maxKeys

	Spanning int64  // groups in several splits by time, of those that were remembered
	spans    string // one of them

	// Together is what training would have once the table is loaded: the rows loaded before
	// and the new ones of the table. Compare sets it; nil if there are no earlier rows.
	Together *Preview

	Repeated *Repeated // rows of a table without a key that are equal to earlier ones; nil: none, or by chance

	KeysSeen int64 // how many keys were compared with one another; fewer than rows in a table beyond maxKeys
	target   string
}

// Part is how many rows of a split training could use.
type Part struct {
	Rows, Positive int
	Classes        []int   // of several classes, by their number
	Low, High      float32 // of a regression's target
}

// Class is a value of the target with its rows.
type Class struct {
	Value    string
	Rows     int64
	Positive bool
}

// maxKeys bounds how many keys, and how many groups, are remembered.
const maxKeys = 4 << 20

// Try reads the whole table and reports what LoadRaw and Process would reject. It
// calls row, if it is not nil, for each row that they would take, with one cleaned
// value per column, nil where it is missing; row must not keep them.
func Try(ctx context.Context, cfg Config, row func(fields [][]byte)) (*Preview, error) {
	table, err := open(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	records, err := table.Records(source.Position{})
	if err != nil {
		return nil, err
	}
	defer records.Close()
	t := newTrial(cfg.Spec, row)
	t.out.Source = table.Source
	for {
		rec, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if t.out.Load.Read++; t.out.Load.Read%10_000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		t.record(rec)
	}
	t.out.Load.addEmpty(records.TakeEmpty())
	return t.end(table), nil
}

// trial is one run of Try.
type trial struct {
	spec          *dataset.Spec
	row           func(fields [][]byte)
	batch         rawBatch
	target, group int
	classes       map[string]int64
	lines         map[uint64]int64 // of keys, by their hash
	contents      *rowSet          // nil: rows have a key, or copies are allowed
	groups        map[uint64]uint8 // of groups, by their hash: a bit for each split by time
	load, clean   losses
	fields        [][]byte
	out           Preview
}

func newTrial(spec *dataset.Spec, row func(fields [][]byte)) *trial {
	t := &trial{
		spec: spec, row: row, classes: map[string]int64{}, lines: map[uint64]int64{}, groups: map[uint64]uint8{},
		batch:  rawBatch{spec: spec, key: spec.Column(spec.Key)},
		target: spec.Column(spec.Target.Column), group: spec.Column(spec.Group),
		load: losses{}, clean: losses{}, fields: make([][]byte, len(spec.Columns)),
		out: Preview{AtMost: spec.AtMost(), Parts: map[string]Part{}},
	}
	if t.batch.key < 0 && !spec.AllowCopies {
		t.contents = newRowSet(len(spec.Columns))
	}
	return t
}

var seed = maphash.MakeSeed()

func (t *trial) record(rec *source.Record) {
	if bad := t.batch.judge(rec); bad != (rejection{}) {
		t.load.add(bad.column, bad.kind, bad.value, rec.Line)
		return
	}
	if t.batch.key >= 0 && t.out.KeysSeen < maxKeys {
		h := maphash.Bytes(seed, t.batch.keyText)
		if _, twice := t.lines[h]; twice {
			t.load.add(t.batch.keyName(), keyTwice, example(t.batch.keyText), rec.Line)
			return
		}
		t.lines[h] = rec.Line
		t.out.KeysSeen++
	}
	t.out.Load.Taken++
	if t.contents != nil {
		t.contents.add(rec.Fields, rec.Line)
	}
	whole := true
	for i, field := range rec.Fields {
		v, err := cleanValue(t.spec, i, field)
		t.fields[i] = v
		if err != nil {
			// Clean rejects a row for its first bad value; here all of them are told.
			t.clean.add(t.spec.Columns[i].Name, kindOfValue(err), example(field), rec.Line)
			whole = false
		}
	}
	if !whole {
		t.out.Clean.Rejected++
		return
	}
	t.cleaned(t.fields)
}

// cleaned counts a row that was cleaned.
func (t *trial) cleaned(fields [][]byte) {
	t.out.Clean.Taken++
	if t.row != nil {
		t.row(fields)
	}
	if t.target < 0 {
		return // the spec has mistakes
	}
	if v := fields[t.target]; v != nil {
		if _, ok := t.classes[string(v)]; ok || len(t.classes) < 10_000 {
			t.classes[string(v)]++
		}
	}
	if t.spec.Excluded(fields) {
		t.out.Excluded++
		return
	}
	if t.group >= 0 && fields[t.group] != nil {
		t.countGroup(fields[t.group])
	}
	label, known := t.spec.Label(fields)
	if !known {
		t.out.Unlabeled++
		return
	}
	if t.spec.Task == dataset.Binary {
		if label == 1 {
			t.out.Positive++
		} else {
			t.out.Negative++
		}
	}
	if splits(t.spec) {
		split := partOf(t.spec, salt(t.spec), fields)
		part := t.out.Parts[split]
		part.add(t.spec, label)
		t.out.Parts[split] = part
	}
}

// splits reports whether a spec says how rows are split, which one with mistakes may not.
func splits(spec *dataset.Spec) bool {
	return spec.ByTime() || len(spec.Split.Salts) > 0 && spec.Split.Train > 0
}

// countGroup counts the group of a row, and where it is in several splits by time.
func (t *trial) countGroup(group []byte) {
	h := maphash.Bytes(seed, group)
	was, known := t.groups[h]
	if !known && len(t.groups) >= maxKeys {
		return
	}
	is := was
	if t.spec.ByTime() {
		is |= 1 << slices.Index(splitNames, t.spec.SplitOf(t.fields[t.spec.Column(t.spec.Split.By)]))
	}
	t.groups[h] = is
	if bits.OnesCount8(was) <= 1 && bits.OnesCount8(is) > 1 {
		if t.out.Spanning++; t.out.Spanning == 1 {
			t.out.spans = example(group)
		}
	}
}

// splitNames are the splits in their order.
var splitNames = []string{dataset.Train, dataset.Validation, dataset.Test}

// Notes says what to know of rows that come again, and of a split by time.
func (p *Preview) Notes(spec *dataset.Spec) (notes []string) {
	if p.Repeated != nil {
		notes = append(notes, p.Repeated.String())
	}
	if !spec.ByTime() {
		return notes
	}
	p = p.trained()
	rows := map[string]int64{}
	for split, part := range p.Parts {
		rows[split] = int64(part.Rows)
	}
	notes = append(notes, timeNotes(spec, rows)...)
	if p.Spanning > 0 {
		notes = append(notes, spanningNote(spec, p.Spanning, p.Groups, p.spans))
	}
	return notes
}

// add counts a row in.
func (p *Part) add(spec *dataset.Spec, label float32) {
	switch spec.Task {
	case dataset.Multiclass:
		if p.Classes == nil {
			p.Classes = make([]int, len(spec.Target.Classes))
		}
		p.Classes[int(label)]++
	case dataset.Regression:
		if p.Rows == 0 {
			p.Low, p.High = label, label
		}
		p.Low, p.High = min(p.Low, label), max(p.High, label)
	default:
		p.Positive += int(label)
	}
	p.Rows++
}

func (t *trial) end(table *source.Table) *Preview {
	p := t.counted()
	p.Load.Step, p.Clean.Step = "load-raw-data", "process-data"
	p.Load.Source, p.Load.Digest, p.Load.UsedUp = table.Source, table.Digest, true
	p.Load.Rejected = p.Load.Read - p.Load.Taken
	p.Clean.Read = p.Load.Taken
	p.Load.Losses, p.Clean.Losses = t.load.list(t.spec), t.clean.list(t.spec)
	byRow(table, p.Load.Losses)
	byRow(table, p.Clean.Losses)
	if t.contents != nil {
		if p.Repeated = t.contents.repeated(); p.Repeated != nil {
			p.Repeated.ByRow = table.ByRow()
		}
	}
	return p
}

// counted has the groups and the target's values, too.
func (t *trial) counted() *Preview {
	p := &t.out
	p.target, p.Groups = t.spec.Target.Column, int64(len(t.groups))
	for v, n := range t.classes {
		p.Classes = append(p.Classes, Class{v, n, slices.Contains(t.spec.Target.Positive, v)})
	}
	slices.SortFunc(p.Classes, func(a, b Class) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Value, b.Value)) })
	if most := maxClasses + 1; len(p.Classes) > most && t.spec.Task != dataset.Multiclass {
		named := slices.DeleteFunc(slices.Clone(p.Classes[most:]), func(c Class) bool { return !c.Positive })
		p.Classes = append(p.Classes[:most:most], named...)
	}
	return p
}

// Values are the least and the greatest target of a regression, and how many rows have one
// that training could use.
func (p *Preview) Values() (low, high float32, rows int) {
	for _, part := range p.Parts {
		if rows == 0 || part.Low < low {
			low = part.Low
		}
		if rows == 0 || part.High > high {
			high = part.High
		}
		rows += part.Rows
	}
	return low, high, rows
}

// Stops lists what would stop the pipeline.
func (p *Preview) Stops(spec *dataset.Spec) []string {
	var all []string
	for _, step := range []struct {
		report Report
		of     string
	}{{p.Load, "lines"}, {p.Clean, "rows"}} {
		if r := step.report; r.Rejected > p.AtMost.Of(r.Read) {
			all = append(all, fmt.Sprintf("%s would reject %s of %s %s (%.1f%%), and rejects.at_most allows %s", r.Step, progress.Count(r.Rejected), progress.Count(r.Read), step.of, 100*float64(r.Rejected)/float64(r.Read), p.AtMost))
		}
	}
	all = append(all, p.trained().unfit(spec)...)
	return all
}

// trained are the rows that training would have.
func (p *Preview) trained() *Preview {
	if p.Together != nil {
		return p.Together
	}
	return p
}

// unfit lists why rows can't be trained on.
func (p *Preview) unfit(spec *dataset.Spec) (all []string) {
	classes := make([]class, len(p.Classes))
	for i, c := range p.Classes {
		classes[i] = class{c.Value, c.Rows}
	}
	if p.Clean.Taken == 0 {
		return append(all, "no row would be left")
	}
	if spec.Target.Column == "" {
		return all // the spec has mistakes
	}
	if reason := targetProblem(spec, classes); reason != "" {
		all = append(all, reason)
	} else if len(classes) == 0 {
		all = append(all, fmt.Sprintf("no row has a value of the target %s", p.target))
	} else {
		for _, f := range p.Few(spec) {
			if f.Level == inspect.Stop {
				all = append(all, f.Text)
			}
		}
	}
	return all
}

// Few judges the rows that each split would have, with those loaded before, as training does before it begins.
func (p *Preview) Few(spec *dataset.Spec) []inspect.Finding {
	if !splits(spec) {
		return nil
	}
	var found []inspect.Finding
	parts := p.trained().Parts
	for _, split := range splitNames {
		part := parts[split]
		switch spec.Task {
		case dataset.Multiclass:
			if part.Classes == nil {
				part.Classes = make([]int, len(spec.Target.Classes))
			}
			found = append(found, inspect.FewOfClasses(spec, split, part.Rows, part.Classes)...)
		case dataset.Regression:
			found = append(found, inspect.FewValues(spec, split, part.Rows, part.Low, part.High)...)
		default:
			found = append(found, inspect.Few(spec, split, part.Rows, part.Positive)...)
		}
	}
	return found
}

// losses collects rejected records by column and reason.
type losses map[[2]string]*Loss

func (l losses) add(column, kind, value string, line int64) {
	k := [2]string{column, kind}
	if e := l[k]; e != nil {
		e.Rows++
		return
	}
	if len(l) < 1000 {
		l[k] = &Loss{Column: column, Reason: kind, Rows: 1, Line: line, Value: value}
	}
}

func (l losses) list(spec *dataset.Spec) []Loss {
	var all []Loss
	for _, e := range l {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Reason, b.Reason))
	})
	all = largest(all)
	addRemedies(spec, all)
	return all
}
