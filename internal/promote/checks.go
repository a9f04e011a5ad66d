package promote

import (
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/progress"
	"mlops/internal/registry"
)

// surely is by how many standard errors predictions have to be off for it to be no
// chance.
const surely = 3

// eligible reports whether a contender may be put into production.
func (c *Comparison) eligible(e *Contender) bool {
	return e.Candidate && e.Unusable == nil && !c.wasRolledBack(e) && c.sibling(e) == 0 && c.unfit(e) == ""
}

// lack is what a contender that is unfit is not.
func (c *Comparison) lack(e *Contender) string {
	switch {
	case !e.Skill.Any():
		return "better than chance"
	case worseThanConstant(e):
		return "better than a constant"
	}
	return "calibrated"
}

// lackOfAll is what all candidates that could be scored lack.
func (c *Comparison) lackOfAll() string {
	all := ""
	for i := range c.Contenders {
		e := &c.Contenders[i]
		if !e.Candidate || e.Unusable != nil {
			continue
		}
		if l := c.lack(e); all == "" || all == l {
			all = l
			continue
		}
		return "fit for production"
	}
	return all
}

// unfit says why a contender must not be in production, however it compares: "" if it
// may.
func (c *Comparison) unfit(e *Contender) string {
	const remedy = "check that the target and the features are what they should be, or give it more rows"
	switch {
	case !e.Skill.Any():
		return c.chanceOf(e) + c.untold(e) + "; " + remedy
	case worseThanConstant(e):
		return fmt.Sprintf("%s; %s", c.constantOf(e), remedy)
	case c.off(e):
		return fmt.Sprintf("%s; give it fewer and simpler trees, or more rows; promote: {calibration: ...} sets another bound, 100%% none", c.offOf(e))
	}
	return ""
}

// worseThanConstant reports whether always saying how frequent the outcome is among
// these very rows is surely better.
func worseThanConstant(e *Contender) bool {
	return e.Loose == "" && e.Constant != nil && e.Constant.High <= 0
}

func (c *Comparison) constantOf(e *Contender) string {
	return fmt.Sprintf("on %s its log loss is below that of always saying how frequent the outcome is by %.4g, 95 %% interval %.4g to %.4g", c.rows(), e.Constant.Mean, e.Constant.Low, e.Constant.High)
}

// off reports whether a contender's predictions are surely off by more than the spec's
// bound.
func (c *Comparison) off(e *Contender) bool {
	return e.Loose == "" && e.Reliability.Share > c.Spec.Gate().Calibration && e.Reliability.Sure > surely
}

func (c *Comparison) offOf(e *Contender) string {
	what := "its predictions say"
	if c.Spec.Task != dataset.Regression {
		what = "its probabilities say"
	}
	bound := ""
	if b := c.Spec.Gate().Calibration; !math.IsInf(b, 1) {
		bound = fmt.Sprintf(", %.3g %% is the bound", 100*b)
	}
	return fmt.Sprintf("on %d validation rows %s too much by %.4g on average over tenths of the rows, %.3g %% of the target's standard deviation%s",
		c.Rows, what, e.Reliability.Off, 100*e.Reliability.Share, bound)
}

// rows says how many validation rows there are, and what makes them alike.
func (c *Comparison) rows() string {
	text := fmt.Sprintf("%d validation rows", c.Rows)
	if c.Groups > 0 {
		text += fmt.Sprintf(" of %d groups", c.Groups)
	}
	if c.Times > 0 {
		text += fmt.Sprintf(" at %d times", c.Times)
	}
	return text
}

func (c *Comparison) chanceOf(e *Contender) string {
	s := e.Skill
	if c.Spec.Task == dataset.Multiclass || c.Spec.Task == dataset.Regression {
		return fmt.Sprintf("on %s it has a mean %s by %.4g, 95 %% interval %.4g to %.4g; a guess has %g", c.rows(), s.What, s.Value, s.Low, s.High, s.Guess)
	}
	return fmt.Sprintf("its %s is %.4f on %s, 95 %% interval %.4f to %.4f; a guess has %g", s.What, s.Value, c.rows(), s.Low, s.High, s.Guess)
}

// untold says how many rows would tell a contender from chance that is better than it, but
// not surely: an interval gets narrower with the root of the rows.
func (c *Comparison) untold(e *Contender) string {
	s := e.Skill
	if !(s.Value > s.Guess) {
		return ""
	}
	times := (s.Value - s.Low) / (s.Value - s.Guess)
	rows := times * times * float64(c.Rows)
	if !(rows < 1e9) {
		return ""
	}
	step := math.Pow(10, max(0, math.Floor(math.Log10(rows))-1)) // two digits are enough
	return fmt.Sprintf(", so it can't be told from chance on so few rows: if it is as good on others, about %s validation rows would tell", progress.Count(int64(math.Round(rows/step)*step)))
}

// challenger returns the best candidate that lacks nothing to take the champion's
// place, nil where there is none.
func (c *Comparison) challenger(champion *Contender) *Contender {
	var all []*Contender
	for i := range c.Contenders {
		if e := &c.Contenders[i]; e != champion && c.eligible(e) {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b *Contender) int {
		switch {
		case c.Spec.Better(a.Metric, b.Metric):
			return -1
		case c.Spec.Better(b.Metric, a.Metric):
			return 1
		}
		return 0
	})
	for _, e := range all {
		if c.short(e, champion) == "" {
			return e
		}
	}
	return nil
}

// short says what a candidate lacks to take the champion's place, in front of the
// champion's name; "" if nothing.
func (c *Comparison) short(e, champion *Contender) string {
	gate := c.Spec.Gate()
	switch {
	case !c.Spec.Better(e.Metric, champion.Metric):
		return "is no better than"
	case e.Against == nil || e.Against.Better < gate.Confidence:
		return "is not surely better than"
	case c.worst(e) != nil:
		return "is surely worse in a slice than"
	}
	return ""
}

// against is how a candidate compares with the champion, to be put behind a sentence.
func (c *Comparison) against(e, champion *Contender) string {
	if e.Against == nil {
		return ""
	}
	text := "; " + c.betterOf(e)
	if len(e.Against.Slices) > 0 {
		text += "; " + c.slicesOf(e, champion)
	}
	return text
}

func (c *Comparison) betterOf(e *Contender) string {
	a, gate := e.Against, c.Spec.Gate()
	by := ""
	if gate.Margin > 0 {
		by = fmt.Sprintf(" by more than %.4g", gate.Margin)
	}
	of := fmt.Sprintf("%d groups", a.Groups)
	if a.Times > 0 {
		of += fmt.Sprintf(", or of %d times, %d in a row at once, whichever is less", a.Times, a.Block)
	}
	return fmt.Sprintf("the gain is %+.4g, 95 %% interval %+.4g to %+.4g, and it is better%s in %.1f %% of %d draws of %s, %.4g %% are asked for",
		a.Gain, a.Low, a.High, by, math.Floor(1000*a.Better)/10, a.Draws, of, 100*gate.Confidence)
}

// wasRolledBack reports whether somebody put another version in the place of this
// one. The champion was not: its rollback was cut short.
func (c *Comparison) wasRolledBack(e *Contender) bool {
	return e.Version.Outcome == registry.RolledBack && e.Version.Number != c.Champion.Number
}

// sibling is the number of a candidate of the same training that was rolled back, 0 if
// there is none: what was found wanting in one is in the others too. The champion has
// none, nor has any if the champion can't be served and something has to be.
func (c *Comparison) sibling(e *Contender) int {
	if !e.Candidate || e.Version.Number == c.Champion.Number {
		return 0
	}
	for i := range c.Contenders {
		if other := &c.Contenders[i]; other.Version.Number == c.Champion.Number && other.Unusable != nil {
			return 0
		}
	}
	for i := range c.Contenders {
		if other := &c.Contenders[i]; other != e && other.Candidate && c.wasRolledBack(other) {
			return other.Version.Number
		}
	}
	return 0
}

// leftOut says which columns the champion uses that the spec has no feature of, and how
// to replace it all the same. A leak makes a champion that nothing honest is better than.
func (c *Comparison) leftOut(next *Contender) string {
	if c.ChampionSpec == nil {
		return ""
	}
	used := map[string]bool{}
	for _, f := range c.Spec.Features {
		for _, name := range f.Columns() {
			used[name] = true
		}
	}
	var gone []string
	for _, f := range c.ChampionSpec.Features {
		for _, name := range f.Columns() {
			if !used[name] && !slices.Contains(gone, name) {
				gone = append(gone, name)
			}
		}
	}
	if len(gone) == 0 {
		return ""
	}
	return fmt.Sprintf("; version %d uses %s, which the spec has no feature of any more: if it must not be used, such as a leak, put version %d in its place: make adopt VERSION=%[3]d ANYWAY=1 WHY=...",
		c.Champion.Number, progress.Columns(gone), next.Version.Number)
}
