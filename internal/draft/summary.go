package draft

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// String says what the target is to a model, and by which rule.
func (o *outcome) String() string {
	switch o.task {
	case dataset.Multiclass:
		return fmt.Sprintf("%d classes (%s)", len(o.classes), o.whyTask)
	case dataset.Regression:
		return fmt.Sprintf("a value (%s)", o.whyTask)
	}
	return strings.Join(o.positive, ", ") + " counts as 1 (" + o.whyOne + ")"
}

// Summary is the draft for people: a line per column, and what was guessed.
func (d *Draft) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %d columns\n\n", d.Source, progress.Counted(d.Rows, "row"), len(d.columns))
	width := 6
	for _, c := range d.columns {
		width = max(width, min(32, len([]rune(c.name))))
	}
	fmt.Fprintf(&b, "  %-*s  %-8s  %8s  %9s  %5s  %s\n", width, "column", "type", "missing", "distinct", d.Profile.Measure(), "guessed")
	alone := map[string]float64{}
	for _, c := range d.Profile.Columns {
		alone[c.Name] = c.Alone
	}
	for _, c := range d.columns {
		auc := ""
		if x, ok := alone[c.as]; ok && c.drop == "" && !math.IsNaN(x) {
			auc = fmt.Sprintf("%.2f", x)
		}
		about := ""
		if !c.exact {
			about = "~"
		}
		said := c.guess
		switch {
		case c == d.target:
			said = "TARGET: " + d.outcome.String()
		case c == d.key:
			said = "KEY: " + d.whyKey
		case c == d.group:
			said = "GROUP: " + d.whyGroup
		case c.out != "":
			said = "left out: " + c.out
		}
		fmt.Fprintf(&b, "  %-*s  %-8s  %7.1f%%  %9s  %5s  %s\n", width, shorten(c.name, 32), c.kind, 100*float64(c.rows-c.present)/float64(max(1, c.rows)), about+progress.Count(c.values), auc, shorten(said, 100))
	}
	b.WriteString("\n  " + map[string]string{
		dataset.Binary:     "AUC: of the column alone, on the rows that training could use; 0.50 says nothing",
		dataset.Multiclass: "AUC: of the column alone, each class against the rest, the mean over the classes; 0.50 says nothing",
		dataset.Regression: "R²: share of the target's variance that the column alone explains; 0 says nothing",
	}[d.outcome.task] + "\n")
	for _, c := range d.columns {
		if c.drop != "" {
			continue
		}
		for i, m := range c.missing {
			if i == 5 && len(c.missing) > 6 {
				fmt.Fprintf(&b, "\n  missing in %s: and %d more texts", shorten(c.name, 40), len(c.missing)-i)
				break
			}
			fmt.Fprintf(&b, "\n  missing in %s: %q (%s, first on line %s)", shorten(c.name, 40), shorten(m.value, 40), progress.Counted(m.n, "cell"), progress.Count(m.line))
		}
	}
	b.WriteString("\n")
	if s := d.spell; s != (spelling{}) {
		marks := ""
		if s.decimal != "" {
			marks += fmt.Sprintf("decimal %q, ", s.decimal)
		}
		if s.thousands != "" {
			marks += fmt.Sprintf("thousands %q, ", s.thousands)
		}
		fmt.Fprintf(&b, "  numbers: %s (%s)\n", strings.TrimSuffix(marks, ", "), s.guess)
	}
	for i, w := range d.Profile.Warnings {
		if i == 25 {
			fmt.Fprintf(&b, "  ! and %d more, in the profile\n", len(d.Profile.Warnings)-i)
			break
		}
		fmt.Fprintf(&b, "  ! %s\n", shorten(w, 400))
	}
	for _, s := range d.Preview.Stops(d.Spec) {
		fmt.Fprintf(&b, "  STOP a run by this draft would stop: %s\n", s)
	}
	return b.String()
}

// tell puts what the user should look at first before the profile's warnings, and says
// which columns are left out: the page and the terminal show both.
func (d *Draft) tell() {
	var notes []string
	say := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if d.halves != nil {
		say("%s", d.halves.Text)
	}
	if d.Together != nil {
		say("suspected leak: %s", d.Together.Text)
	}
	switch {
	case d.timed && d.inTime.alike > 0:
		say("split by time: %s, so that a split by a hash would say how well a gap between known rows is filled; the rows from %s on test how well the future is predicted (mlops init --split-by hash drafts a hash)",
			d.inTime.reason, d.inTime.test)
	case d.inTime != nil && !d.timed:
		say("%s; the draft splits by a hash, since by time a split would have too few rows to learn from or to measure", d.inTime.warning())
	}
	if text := d.passed(); text != "" {
		say("%s", text)
	}
	for _, n := range d.Preview.Notes(d.Spec) {
		say("%s", n)
	}
	if !d.timed && d.inTime == nil {
		if text := d.sample.twoColumns(); text != "" {
			say("%s", text)
		}
	}
	if text := d.sample.atOnce(); text != "" {
		say("%s", text)
	}
	if text := d.sample.copies(); text != "" {
		say("%s", text)
	}
	for _, text := range slices.Concat(d.sample.units(), d.sample.same()) {
		say("%s", text)
	}
	for _, text := range d.sample.outcomes() {
		say("%s", text)
	}
	if text := d.sample.extremes(); text != "" {
		say("%s", text)
	}
	if d.rejected > 0 {
		say("%s could not be read, for example line %s: %s", progress.Counted(d.rejected, "record"), progress.Count(d.lostLine), shorten(d.lost, 200))
	}
	if n := d.empty; n.Lines > 0 {
		say("%s without a value, which are no records, the first on line %s", progress.Counted(n.Lines, "line"), progress.Count(n.First))
	}
	if len(d.outcome.rare) > 0 && d.outcome.whyRare == "" {
		var rows int64
		for _, v := range d.outcome.rare {
			rows += v.rows
		}
		say("%s left out, whose %s has fewer than %d rows, or too few in a split: %s", progress.Counted(rows, "row"), d.target.name, d.outcome.least, listed(d.outcome.rare))
	}
	if text := d.totals.String(d.Rows); text != "" {
		say("%s", text)
	}
	if text := d.secondHeader(); text != "" {
		say("%s", text)
	}
	for _, c := range d.columns {
		name := shorten(c.name, 40)
		if c.unsure != "" {
			say("%s: %s", name, c.unsure)
		}
		if c.lossOf > 0 {
			say("%s: %s can't be read, and their rows will be rejected, for example line %s: %q", name, progress.Counted(c.lossOf, "cell"), progress.Count(c.lossAt), c.lossEx)
		}
		for _, n := range c.notes {
			say("%s: %s", name, n)
		}
	}
	d.Profile.Warnings = append(notes, d.Profile.Warnings...)
	for i := range d.Profile.Columns {
		of := &d.Profile.Columns[i]
		for _, c := range d.columns {
			if c.drop == "" && c.as == of.Name && of.Role == "" {
				of.Out = c.out
			}
		}
	}
}
