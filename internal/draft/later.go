package draft

import (
	"fmt"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
)

const (
	// leastLess is by which share small trees' loss has to be smaller without features of the
	// time for a draft to leave them out.
	leastLess = 0.01
	// mostlyLater is the share of the validation rows that are later by a column than all
	// training rows, at least, where it runs with the time by which rows are split.
	mostlyLater = 0.5
)

// withoutTime leaves out features of the time by which the rows are split without which small
// trees that learned the training rows tell the validation rows better. What was so in a
// training row's month or year need not be so in the next, but it may, as a price stays near
// the last one: only the rows say which.
func (d *Draft) withoutTime() error {
	s := d.sample
	at := s.spec.Column(s.spec.Split.By)
	var learn, measure []int
	for i := range s.rows {
		switch s.spec.SplitOf(s.rows[i].value(at)) {
		case dataset.Train:
			learn = append(learn, i)
		case dataset.Validation:
			measure = append(measure, i)
		}
	}
	var trend, season []int
	later := map[string]bool{}
	for i := range s.spec.Columns {
		if c := &s.spec.Columns[i]; c.Name != s.spec.Target.Column && (i == at || s.isTime(i)) {
			later[c.Name] = isLater(s.column(i).Values, learn, measure)
		}
	}
	for i := range s.spec.Features {
		switch f := &s.spec.Features[i]; {
		case !slices.ContainsFunc(f.Columns(), func(name string) bool { return later[name] }):
		case f.Number != "" || f.DaysFrom != "" && len(f.Columns()) == 1 || f.Part == "year":
			trend = append(trend, i)
		case f.Part == "month" || f.Part == "day":
			season = append(season, i)
		}
	}
	var sets [][]int
	for _, set := range [][]int{trend, season, slices.Concat(trend, season)} {
		if len(set) > 0 && len(set) < len(s.spec.Features) {
			sets = append(sets, set)
		}
	}
	if len(sets) == 0 {
		return nil
	}
	x, y, _, features, err := encoded(s)
	if err != nil {
		return err
	}
	best, less := inspect.Without(s.spec, features, x, y, learn, measure, sets)
	if best < 0 || less < leastLess {
		return nil
	}
	for _, i := range sets[best] {
		d.passing = append(d.passing, s.spec.Features[i])
	}
	d.whyPassing = fmt.Sprintf("small trees that learned the training rows have %.0f %% less loss on the validation rows without them", 100*less)
	for _, c := range d.columns {
		if c.drop != "" || c.out != "" || !later[c.as] {
			continue
		}
		if used, _ := d.timely(c); len(used) == 0 {
			c.out = d.whyPassing
		}
	}
	return d.parse()
}

// isLater reports whether most of some rows have larger values than all others.
func isLater(values []float32, others, rows []int) bool {
	var most float32
	for i, row := range others {
		if v := values[row]; i == 0 || v > most || most != most {
			most = v
		}
	}
	n := 0
	for _, row := range rows {
		if values[row] > most {
			n++
		}
	}
	return float64(n) >= mostlyLater*float64(len(rows)) && n > 0
}

// timely are the lines of the YAML about the features of a column of dates or numbers, and
// those about the ones that are left out as of the time.
func (d *Draft) timely(c *column) (used, left []string) {
	add := func(line, comment string, is func(*dataset.Feature) bool) {
		if slices.ContainsFunc(d.passing, func(f dataset.Feature) bool { return is(&f) }) {
			left = append(left, line)
			return
		}
		used = append(used, line+comment)
	}
	switch c.kind {
	case dataset.Integer, dataset.Number:
		add(fmt.Sprintf("- {number: %s}", quote(c.as)), "", func(f *dataset.Feature) bool { return f.Number == c.as })
	case dataset.Date:
		for _, part := range d.parts(c) {
			add(fmt.Sprintf("- {date: %s, part: %s}", quote(c.as), part), " # guessed: it differs from row to row", func(f *dataset.Feature) bool { return f.Date == c.as && f.Part == part })
		}
		add(fmt.Sprintf("- {days_from: %s, to: 2000-01-01}", quote(c.as)), "", func(f *dataset.Feature) bool { return f.DaysFrom == c.as })
	}
	return used, left
}

// passed says which features of the time are left out, and why; "" if none are.
func (d *Draft) passed() string {
	if len(d.passing) == 0 {
		return ""
	}
	var names []string
	for _, f := range d.passing {
		switch {
		case f.Part != "":
			names = append(names, fmt.Sprintf("the %s of %s", f.Part, f.Date))
		case f.DaysFrom != "":
			names = append(names, "the days until "+f.DaysFrom)
		default:
			names = append(names, f.Number)
		}
	}
	return fmt.Sprintf("left out of the features: %s; %s, so what they say does not seem to last; the YAML has them as comments", strings.Join(names, ", "), d.whyPassing)
}
