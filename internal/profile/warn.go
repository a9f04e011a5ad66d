package profile

import (
	"fmt"
	"math"

	"mlops/internal/progress"
)

func (c *Column) warn(p *Profile) {
	say := func(format string, args ...any) {
		c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
	}
	n := c.Missing + c.Present
	switch {
	case c.Present == 0:
		say("empty: no row has a value")
	case c.Distinct == 1 && c.Missing == 0:
		say("constant: every row has the same value")
	case n > 0 && c.Missing*2 > n:
		say("%.0f%% missing", 100*float64(c.Missing)/float64(n))
	}
	if c.Role == "target" || c.Role == "key" || c.Role == "group" {
		return
	}
	if !math.IsNaN(c.Alone) && c.gives > p.leak() {
		say("predicts the target by itself (%s %.3f): is it known before the outcome is?", p.Measure(), c.Alone)
	}
	if p.Binary() && c.Missing > 0 && c.MissingRate == c.MissingRate && p.Labeled > 0 && c.Missing >= 50 {
		base := float64(p.Positive) / float64(p.Labeled)
		if d := c.MissingRate - base; math.Abs(d) > 4*math.Sqrt(base*(1-base)/float64(c.Missing)) && math.Abs(d) > 0.1 {
			say("where it is missing, %.0f%% of the rows are positive, %.0f%% of all: being missing tells something", 100*c.MissingRate, 100*base)
		}
	}
	if !c.Numeric && c.Role == "feature" && c.Distinct*2 > c.Present && c.Present > 100 {
		say("text with hardly any value twice")
	}
}

func (p *Profile) warn() {
	say := func(format string, args ...any) {
		p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
	}
	rows := p.Rows - p.Excluded
	if n := rows - p.Labeled; n > 0 {
		say("%s without a target, not trained on", progress.Counted(n, "row"))
	}
	negative := p.Labeled - p.Positive
	switch few := min(p.Positive, negative); {
	case p.Labeled == 0:
		say("no row has a target")
	case !p.Binary(): // counts of classes stand at the target's column
	case few == 0:
		say("all rows have the same target")
	case few < 100:
		say("only %s of the rarer outcome: scores will vary much from split to split", progress.Counted(few, "row"))
	}
	for _, c := range p.Columns {
		for _, w := range c.Warnings {
			say("%s: %s", c.Name, w)
		}
	}
}
