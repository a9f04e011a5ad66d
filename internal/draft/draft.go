// Package draft writes a data set's YAML for a table that nobody has described
// yet. It reads the whole table once, into sketches whose size does not grow with
// the rows, and infers types, missing markers, spelling of numbers, key, group,
// target, features and candidates. What it inferred stands in comments beside it,
// with the evidence.
package draft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
	"mlops/internal/parquet"
	"mlops/internal/profile"
	"mlops/internal/progress"
	"mlops/internal/source"
)

// Options say what is known of a table.
type Options struct {
	Name     string   // of the data set; empty: from the file's name
	Target   string   // column; empty: guessed
	Positive []string // values of the target that count as 1; empty: guessed
	Task     string   // what the target is to a model, one of dataset.Tasks; empty: guessed
	Leaks    []string // columns that may tell the target by themselves
	SplitBy  string   // column that splits the rows by time, or ByHash; empty: guessed
	File     string   // that the draft is for; empty: NAME.yaml
	Schema   string   // path or address of the JSON Schema that editors check by; empty: not named
}

// Draft is what was inferred of a table.
type Draft struct {
	Name   string
	Spec   *dataset.Spec
	YAML   []byte
	Source string
	Rows   int64

	Preview *ingest.Preview  // what the data steps would do with the table
	Profile *profile.Profile // of the rows that they would take

	Together *inspect.Finding // columns that tell the target only together; nil: none
	halves   *inspect.Finding // the target is the other way round in the second half of the rows; nil: it isn't

	sample *sample // of those rows

	member string // of the archive, where it has several

	file      string
	schema    string
	separator byte
	encoding  string // empty: UTF-8
	noHeader  bool
	skip      int // lines before the header
	columns   []*column
	spell     spelling
	key       *column
	group     *column
	target    *column
	outcome   outcome
	salt      int               // number of the split that is taken, from 1
	inTime    *inTime           // that rows are alike in; nil: none is known
	timed     bool              // the rows are split by it
	passing   []dataset.Feature // of the time by which the rows are split, that are left out
	whyPassing,
	whyTarget,
	whyKey, whyGroup string
	nested   map[string]string // columns that hold lists and the like
	rejected int64
	lost     string
	lostLine int64
	empty    source.Empty
	totals   summing

	firstLine int64 // of the first record
}

// maxColumns is how many columns a spec may list.
const maxColumns = 1000

// oneField says what a table of one column may be, if its fields look like more.
func (d *Draft) oneField() string {
	if len(d.columns) != 1 {
		return ""
	}
	if c := d.columns[0]; c.measured > 0 && c.words >= 3*c.measured {
		return "; fields that are parted by blanks can't be told apart: write the table with commas or tabs"
	}
	for _, r := range d.columns[0].name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" _-.", r) {
			return fmt.Sprintf("; fields that are parted by %q can't be told apart: write the table with commas, semicolons, bars or tabs", r)
		}
	}
	return ""
}

// Error says that no draft can be made of the table as it is.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

// Make reads the table at address and drafts its YAML.
func Make(ctx context.Context, address string, o Options) (*Draft, error) {
	if o.Task != "" && !slices.Contains(dataset.Tasks, o.Task) {
		return nil, &Error{fmt.Sprintf("task %q is not known; it can be: %s", o.Task, strings.Join(dataset.Tasks, ", "))}
	}
	d := &Draft{Name: o.Name, file: o.File, schema: o.Schema, salt: 1}
	if d.Name == "" {
		d.Name = nameOf(address)
	}
	sketches, err := d.open(ctx, address, o.Target, false)
	if err == nil && !d.noHeader && namesAreValues(sketches, o.Target) {
		d.Rows, d.rejected, d.totals = 0, 0, summing{}
		sketches, err = d.open(ctx, address, "", true)
	}
	if err != nil {
		return nil, err
	}
	if len(sketches) > maxColumns {
		return nil, &Error{fmt.Sprintf("the table has %s columns, and a data set can have %s: bring a table with those that matter", progress.Count(int64(len(sketches))), progress.Count(maxColumns))}
	}
	d.columns, d.spell = infer(sketches)
	d.name()
	if err := d.chooseTarget(o); err != nil {
		return nil, err
	}
	for _, name := range o.Leaks {
		i := slices.IndexFunc(d.columns, func(c *column) bool { return c.name == name || c.as == name })
		if i < 0 {
			return nil, d.noColumn(name)
		}
		d.columns[i].allowed = true
	}
	d.chooseKeys()
	d.chooseFeatures()
	d.companions(d.target)
	for _, c := range d.columns { // numbers and texts need only what is known of them by now
		c.release(c == d.target || c.kind == dataset.Date)
	}
	outcome := d.outcome
	if err := d.split(ctx, address); err != nil {
		return nil, err
	}
	if d.groupByRows() {
		d.outcome = outcome // its splits may have enough of classes that were left out
		if err := d.split(ctx, address); err != nil {
			return nil, err
		}
	}
	left, err := d.leaks()
	if err == nil && left {
		err = d.try(ctx, address)
	}
	if err != nil {
		return nil, err
	}
	if err := d.splitInTime(ctx, address, o.SplitBy); err != nil {
		return nil, err
	}
	d.YAML = d.write() // with what was found of the columns together
	d.tell()
	d.sample = nil
	return d, nil
}

// parse writes the YAML and reads it.
func (d *Draft) parse() (err error) {
	if len(d.columns) == 1 {
		return &Error{"the table has no column besides the target" + d.oneField()}
	}
	if !slices.ContainsFunc(d.columns, func(c *column) bool { return c.out == "" }) {
		var why []string
		for _, c := range d.columns {
			if c != d.target {
				why = append(why, fmt.Sprintf("  %s: %s", shorten(c.name, 60), strings.Join(append([]string{cmp.Or(c.unsure, c.out)}, c.notes...), "; ")))
			}
		}
		remedy := ""
		if slices.ContainsFunc(d.columns, func(c *column) bool { return strings.HasPrefix(c.out, "suspected leak") }) {
			remedy = "\nA suspected leak that is known before the outcome is can stay: mlops init --allow-leak COLUMN (several: again)"
		}
		return &Error{"no column is left that a model could learn from:\n" + strings.Join(why, "\n") + remedy}
	}
	d.YAML = d.write()
	if d.Spec, err = dataset.Parse(d.YAML); err != nil {
		return fmt.Errorf("the draft is not a valid spec, which is a mistake of this program: %w\n%s", err, d.YAML)
	}
	return nil
}

const (
	// maxSalts is how many splits of a small table are tried until one has enough rows of
	// each outcome.
	maxSalts = 20
	// maxTried is how many rows are read for that in a larger table with a scarce outcome.
	maxTried = 1_000_000
)

// salts is how many splits are tried.
func (d *Draft) salts() int {
	switch {
	case d.Rows < smallTable:
		return maxSalts
	case d.outcome.scarce:
		return int(min(maxSalts, max(1, maxTried/d.Rows)))
	}
	return 1
}

// split tries the draft, with other splits where one has too few rows of an outcome. If no
// split has enough, classes are left out that have too few in the best one.
func (d *Draft) split(ctx context.Context, address string) error {
	best, fewest := 1, []string(nil)
	for d.salt = 1; d.salt <= d.salts(); d.salt++ {
		if err := d.try(ctx, address); err != nil {
			return err
		}
		if inspect.Check(d.Preview.Few(d.Spec)) == nil {
			return nil
		}
		if few := d.fewIn(); d.salt == 1 || len(few) < len(fewest) {
			best, fewest = d.salt, few
		}
	}
	d.salt = best // check and training say what it lacks
	d.outcome.leaveOut(d.target, fewest)
	return d.try(ctx, address)
}

// fewIn are the classes of which a split has too few rows.
func (d *Draft) fewIn() (classes []string) {
	if d.outcome.task != dataset.Multiclass {
		return nil
	}
	for k, class := range d.Spec.Target.Classes {
		for _, split := range []string{dataset.Train, dataset.Validation, dataset.Test} {
			if rows := d.Preview.Parts[split].Classes; rows == nil || rows[k] < inspect.Fewest {
				classes = append(classes, class)
				break
			}
		}
	}
	return classes
}

// try writes the YAML, and reads the table once more by it.
func (d *Draft) try(ctx context.Context, address string) (err error) {
	if err := d.parse(); err != nil {
		return err
	}
	rows := profile.New(d.Spec, 2)
	d.sample = newSample(d.Spec)
	cfg := ingest.Config{Spec: d.Spec, Source: address, Logger: slog.New(slog.DiscardHandler), Open: source.Options{Parquet: parquet.Open}}
	q := newQueue(func(fields [][]byte) {
		rows.Add(fields)
		d.sample.add(fields)
	})
	d.Preview, err = ingest.Try(ctx, cfg, q.put)
	q.close()
	if err != nil {
		return err
	}
	d.Profile = rows.Profile()
	return nil
}

// open reads the table, and finds out how it is written.
func (d *Draft) open(ctx context.Context, address, named string, noHeader bool) ([]*sketch, error) {
	table, err := source.Open(ctx, address, source.Options{Guess: true, NoHeader: noHeader, Named: named, Parquet: parquet.Open})
	if err != nil {
		return nil, err
	}
	defer table.Close()
	d.nested = table.Nested()
	d.Source, d.member, d.separator, d.encoding, d.noHeader, d.skip = table.Source, table.Member, table.Separator(), table.Encoding(), table.NoHeader(), table.Skipped()
	return d.read(ctx, table)
}

// namesAreValues reports whether the first line is rather a record: what stands there
// comes again below it, in nearly every column.
func namesAreValues(sketches []*sketch, target string) bool {
	again := 0
	for _, s := range sketches {
		if s.name == target && target != "" {
			return false
		}
		if s.name != "" && s.of(s.name).n > 0 {
			again++
		}
	}
	return len(sketches) > 1 && again*10 >= len(sketches)*8
}

// read takes every record in.
func (d *Draft) read(ctx context.Context, table *source.Table) ([]*sketch, error) {
	records, err := table.Records(source.Position{})
	if err != nil {
		return nil, err
	}
	defer records.Close()
	sketches := newSketches(table.Names)
	budget := maxHashes
	for {
		rec, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if rec.Reason != "" {
			if d.rejected++; d.rejected == 1 {
				d.lost, d.lostLine = rec.Reason, rec.Line
				if mend := source.Mend(rec.Reason, rec.Text, table.Separator()); mend != "" {
					d.lost += " (" + mend + ")"
				}
			}
			continue
		}
		if d.Rows == 0 {
			d.firstLine = rec.Line
		}
		if d.Rows++; d.Rows%10_000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i, f := range rec.Fields {
			sketches[i].add(f, rec.Line, &budget)
		}
		d.totals.add(rec)
	}
	d.empty = records.TakeEmpty()
	if d.Rows == 0 {
		why := ""
		if d.lost != "" {
			why = fmt.Sprintf(": line %d has %s", d.lostLine, shorten(d.lost, 200))
		}
		return nil, &Error{fmt.Sprintf("%s has no row that can be read%s", d.Source, why)}
	}
	return sketches, nil
}

// unnamed is what pandas calls a column without a name.
var unnamed = regexp.MustCompile(`^Unnamed: \d+(\.\d+)*$`)

// name gives each column its name in the spec, and finds those that can't have
// one.
func (d *Draft) name() {
	taken := map[string]bool{}
	for i, c := range d.columns {
		twin := d.twin(i)
		switch {
		case twin != nil:
			c.drop = fmt.Sprintf("it has the name and the values of an earlier column (%s)", twin.name)
		case c.name == "":
			c.drop = "it has no name; often a row number"
		case unnamed.MatchString(c.name) && c.kind == dataset.Integer && c.unique:
			c.drop = "it has no name of its own and another number in each row, as pandas writes a row's number"
		case d.nested[c.name] != "":
			c.drop = "it holds " + d.nested[c.name] + ", and a cell of a table holds one value"
		}
		if c.as = dataset.PlainName(c.name); c.drop != "" {
			continue
		}
		for n := 2; taken[c.as]; n++ {
			c.as = dataset.PlainName(fmt.Sprintf("%.50s_%d", dataset.PlainName(c.name), n))
		}
		taken[c.as] = true
	}
}

// twin is an earlier column with the same header and, as far as can be told, the same
// values; nil if there is none.
func (d *Draft) twin(i int) *column {
	c := d.columns[i]
	header, several := source.Repeated(c.name)
	if !several {
		return nil
	}
	for _, other := range d.columns[:i] {
		of, _ := source.Repeated(other.name)
		if of == header && c.values == other.values && c.blank == other.blank && maps.EqualFunc(c.counts, other.counts, func(a, b *count) bool { return *a == *b }) && slices.Equal(c.approx.registers, other.approx.registers) {
			return other
		}
	}
	return nil
}

// some lists a column's most frequent values.
func (c *column) some(most int) []string {
	all := make([]string, 0, len(c.counts))
	for v := range c.counts {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b string) int {
		if n := c.counts[b].n - c.counts[a].n; n != 0 {
			return int(n)
		}
		return strings.Compare(a, b)
	})
	return all[:min(most, len(all))]
}

// mostNames is how many of a table's columns an error lists.
const mostNames = 12

// noColumn says that no column has the name that the user gave, and which may be meant.
func (d *Draft) noColumn(name string) error {
	var names, same []string
	for _, c := range d.columns {
		names = append(names, c.name)
		if slices.Equal(tokens(c.name), tokens(name)) {
			same = append(same, c.name)
		}
	}
	if len(same) == 1 {
		return &Error{fmt.Sprintf("no column is called %q; did you mean %q?", name, same[0])}
	}
	if at := d.columns[0].of(name); at.n == 1 && len(d.columns) > 2 {
		return &Error{fmt.Sprintf("no column is called %q, but line %s begins with it: each record seems to be a column of the table; exchange its lines and columns", name, progress.Count(at.line))}
	}
	meant := ""
	if near := dataset.Nearest(name, names); near != "" && len(name) > 4 {
		meant = fmt.Sprintf("; did you mean %q?", near)
	}
	more := ""
	if n := len(names) - mostNames; n > 0 {
		names, more = names[:mostNames], fmt.Sprintf(" and %s more", progress.Count(int64(n)))
	}
	return &Error{fmt.Sprintf("no column is called %q%s; there are: %s%s%s", name, meant, strings.Join(names, ", "), more, d.oneField())}
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf makes a data set's name of its file's.
func nameOf(address string) string {
	base := path.Base(strings.SplitN(strings.ReplaceAll(address, `\`, "/"), "?", 2)[0])
	for {
		ext := strings.ToLower(path.Ext(base))
		if !slices.Contains([]string{".csv", ".tsv", ".txt", ".tab", ".data", ".dat", ".zip", ".gz", ".zst", ".parquet", ".psv"}, ext) {
			break
		}
		base = base[:len(base)-len(ext)]
	}
	name := strings.Trim(unfit.ReplaceAllString(strings.ToLower(base), "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' || strings.HasPrefix(name, "pg_") {
		name = "t_" + name
	}
	name = strings.Trim(name[:min(len(name), 40)], "_")
	for _, s := range []string{"_rejected", "_batches", "_split"} {
		name = strings.TrimSuffix(name, s)
	}
	return name
}
