package promote

import (
	"errors"
	"fmt"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/registry"
)

// Comparison is all that Decide goes by.
type Comparison struct {
	Spec *dataset.Spec // of the newest training
	Rows int           // of the validation split, on which all contenders were scored

	// Groups and Times are what these rows were drawn by, to say how sure figures are: 0
	// if each row is a group of its own, and if rows are not split by time or of too few
	// times.
	Groups, Times int

	// Champion is the version in production; its number is 0 where there is none.
	Champion registry.Version
	// Pinned says why the champion stays, whatever is better; empty: it need not.
	Pinned string
	// ChampionSpec is the spec stored with it; nil where it can't be read.
	ChampionSpec *dataset.Spec

	// Contenders are the candidates of the newest training, the oldest first, and
	// the champion where it isn't among them.
	Contenders []Contender
}

// Contender is a version with what it scored on the validation rows.
type Contender struct {
	Version   registry.Version
	Candidate bool  // of the newest training; else it is only the champion
	Unusable  error // why it can't be served, and was not scored

	Metric   float64        // the first of the spec's metrics
	Interval []float64      // its 95 % interval by draws of the rows: low and high; nil: one group says nothing
	Skill    evaluate.Skill // against a guess

	// Constant is how much better its probabilities are than always saying how frequent
	// the outcome is, and Reliability how far its predictions are off. They don't count
	// where Loose says why its predictions need not be right on average.
	Constant    *evaluate.Gain // of a binary task: the log loss that is saved; nil: Skill says it
	Reliability evaluate.Reliability
	Loose       string

	Samples int      // stored predictions that it gave again
	Against *Against // nil of the champion, and where none could be scored
}

// Against is a candidate compared with the champion on draws of the same rows.
type Against struct {
	Gain      float64 // of the first metric; below 0: it is worse
	Low, High float64 // 95 % of the draws are between
	Better    float64 // share of the draws in which it gains more than the margin; of blocks as Draws.Confidence has it
	Draws     int
	Groups    int // that are drawn
	Times     int // of which blocks were drawn too, and the smaller share and the wider interval taken; 0: none
	Block     int // times in a block

	Slices []SliceGain // those that the spec names and that have enough rows
}

// Decision is what becomes of the contenders.
type Decision struct {
	Version  int    // in production afterwards; 0: none
	Promoted bool   // it was not before
	Reason   string // in words
	Notes    []Note // what to leave on the versions and their runs
	Err      error  // no candidate is fit for production; wraps ErrRefused where another try can't help
}

// Note is what to leave on a version.
type Note struct {
	Version registry.Version
	Outcome registry.Outcome
	Reason  string
}

// ErrRefused says that the gate refuses, and that another try can't help.
var ErrRefused = errors.New("refused by the gate")

// refusal is an error that is ErrRefused and says only its own words.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrRefused }

// Decide compares the candidates with each other and with the champion. Only a
// candidate that is fit may be in production: better than chance and than a constant,
// and not off on average. The best of those takes the place of the champion if it is
// surely better by the spec's margin; the next best, if that one is not. Of equal
// candidates the one in production wins, then the oldest. One that somebody rolled
// back is not promoted again, nor another of that training, and none while the champion
// is pinned.
func Decide(c Comparison) Decision {
	if err := conflict(c.Champion, c.ChampionSpec, c.Spec); err != nil {
		d := Decision{Version: c.Champion.Number, Reason: "refused: " + err.Error(), Err: err}
		for _, e := range c.Contenders {
			if e.Candidate {
				d.Notes = append(d.Notes, Note{e.Version, registry.Refused, d.Reason})
			}
		}
		return d
	}
	best, current := c.leaders()
	if best == nil && current != nil {
		if e := c.rolledBack(); e != nil {
			d := Decision{Version: current.Version.Number}
			d.Reason = fmt.Sprintf("in production: %s; %s was rolled back, and nothing of that training is promoted, by %s on %d validation rows", current, e, c.Spec.Metrics[0], c.Rows)
			d.Notes = c.notes(nil, current, d)
			return d
		}
	}
	if best == nil {
		return c.refuse(current)
	}
	d := Decision{Version: best.Version.Number, Promoted: true}
	on := fmt.Sprintf("by %s on %d validation rows", c.Spec.Metrics[0], c.Rows)
	same := fmt.Sprintf("by %s on the same %d validation rows", c.Spec.Metrics[0], c.Rows)
	next := best
	if current != nil && best != current {
		if next = c.challenger(current); next == nil {
			next = best
		}
	}
	switch {
	case best == current:
		d.Promoted = false
		d.Reason = fmt.Sprintf("in production: %s is still the best, %s", best, on)
	case current != nil && c.short(next, current) != "":
		d = Decision{Version: current.Version.Number}
		d.Reason = fmt.Sprintf("not promoted: %s %s %s in production, %s%s%s", next, c.short(next, current), current, same, c.against(next, current), c.leftOut(next))
	case c.Pinned != "" && c.Champion.Number != 0:
		d = Decision{Version: c.Champion.Number}
		d.Reason = fmt.Sprintf("not promoted: version %d in production is pinned (%s); %s is the best, %s", c.Champion.Number, c.Pinned, next, on)
	case current != nil:
		d = Decision{Version: next.Version.Number, Promoted: true}
		d.Reason = fmt.Sprintf("promoted: %s is better than %s, %s%s", next, current, same, c.against(next, current))
	case c.Champion.Number != 0:
		d.Reason = fmt.Sprintf("promoted: %s is the best, %s; version %d, in production until now, can't be scored: %v", best, on, c.Champion.Number, c.unusable())
	default:
		d.Reason = fmt.Sprintf("promoted: %s is the best, %s; nothing was in production", best, on)
	}
	d.Notes = c.notes(next, current, d)
	return d
}

func (e *Contender) String() string {
	if e.Unusable != nil {
		return fmt.Sprintf("version %d (%s)", e.Version.Number, e.Version.Candidate)
	}
	return fmt.Sprintf("version %d (%s) with %.6g", e.Version.Number, e.Version.Candidate, e.Metric)
}

// leaders returns the best candidate that may be in production, and the champion
// where it could be scored.
func (c *Comparison) leaders() (best, current *Contender) {
	for i := range c.Contenders {
		e := &c.Contenders[i]
		if e.Unusable != nil {
			continue
		}
		if e.Version.Number == c.Champion.Number {
			current = e
		}
		if !c.eligible(e) {
			continue
		}
		if best == nil || c.Spec.Better(e.Metric, best.Metric) || e.Metric == best.Metric && e == current {
			best = e
		}
	}
	return best, current
}

// rolledBack returns the best candidate that was rolled back, one that can't be served
// where there is no other.
func (c *Comparison) rolledBack() (best *Contender) {
	for i := range c.Contenders {
		e := &c.Contenders[i]
		if !e.Candidate || !c.wasRolledBack(e) {
			continue
		}
		if best == nil || best.Unusable != nil || e.Unusable == nil && c.Spec.Better(e.Metric, best.Metric) {
			best = e
		}
	}
	return best
}

// refuse is the decision where no candidate may be in production.
func (c *Comparison) refuse(current *Contender) Decision {
	d := Decision{Version: c.Champion.Number, Notes: c.notes(nil, current, Decision{})}
	nearest, candidates := (*Contender)(nil), 0
	for i := range c.Contenders {
		e := &c.Contenders[i]
		if !e.Candidate {
			continue
		}
		candidates++
		if e.Unusable == nil && (nearest == nil || e.Skill.Value > nearest.Skill.Value) {
			nearest = e
		}
	}
	if back := c.rolledBack(); back != nil && back.Unusable == nil && c.Champion.Number != 0 {
		d.Err = fmt.Errorf("version %d in production can't be scored, and %s, the best candidate, was rolled back: mlops rollback -to N (make rollback TO=N) puts another version into production: %w", c.Champion.Number, back, c.unusable())
	} else if nearest == nil {
		d.Err = fmt.Errorf("none of the %d candidates of this training can be served: %w", candidates, c.unusable())
	} else {
		d.Err = refusal(fmt.Sprintf("none of the %d candidates of %s is %s; the nearest is version %d (%s): %s",
			candidates, c.Spec.Model, c.lackOfAll(), nearest.Version.Number, nearest.Version.Candidate, c.unfit(nearest)))
	}
	d.Reason = "refused: " + d.Err.Error()
	return d
}

// unusable says why contenders can't be served.
func (c *Comparison) unusable() error {
	var errs []error
	for _, e := range c.Contenders {
		errs = append(errs, e.Unusable)
	}
	return errors.Join(errs...)
}

// notes say of each contender why it was or was not promoted. What stays in
// production keeps the reason for which it was promoted, where the run that did
// so lived to note it.
func (c *Comparison) notes(best, current *Contender, d Decision) []Note {
	var notes []Note
	metric := c.Spec.Metrics[0]
	for i := range c.Contenders {
		e := &c.Contenders[i]
		note := Note{Version: e.Version}
		switch {
		case e.Unusable != nil && (!e.Candidate || e.Version.WasProduction()):
			continue // what was in production keeps its outcome
		case e.Unusable != nil:
			note.Outcome, note.Reason = registry.Refused, "refused: it can't be served: "+e.Unusable.Error()
		case c.wasRolledBack(e):
			note.Outcome, note.Reason = registry.RolledBack, e.Version.Reason
		case e == current && !d.Promoted && e.Version.Outcome == registry.Promoted:
			note.Outcome, note.Reason = registry.Promoted, e.Version.Reason
		case e == current && !d.Promoted:
			note.Outcome = registry.Promoted
			note.Reason = fmt.Sprintf("promoted: by a run that was interrupted before it noted why; %.6g by %s on %d validation rows", e.Metric, metric, c.Rows)
		case e == current:
			note.Outcome = registry.Replaced
			note.Reason = fmt.Sprintf("replaced by version %d: %.6g against %.6g by %s on the same %d validation rows", best.Version.Number, best.Metric, e.Metric, metric, c.Rows)
		case e == best && d.Promoted:
			note.Outcome, note.Reason = registry.Promoted, d.Reason
		case e == best:
			note.Outcome, note.Reason = registry.Lost, d.Reason
		case c.sibling(e) != 0:
			note.Outcome = registry.Lost
			note.Reason = fmt.Sprintf("not promoted: version %d of the same training was rolled back", c.sibling(e))
		case c.unfit(e) != "":
			note.Outcome = registry.Refused
			note.Reason = fmt.Sprintf("refused: not %s: %s", c.lack(e), c.unfit(e))
		case d.Promoted && current != nil && c.Spec.Better(e.Metric, best.Metric): // and yet not surely
			note.Outcome = registry.Lost
			note.Reason = fmt.Sprintf("not promoted: %s %s %s in production until now, by %s on the same %d validation rows%s", e, c.short(e, current), current, metric, c.Rows, c.against(e, current))
		default:
			note.Outcome = registry.Lost
			note.Reason = fmt.Sprintf("not promoted: %.6g by %s, version %d has %.6g on the same %d validation rows", e.Metric, metric, best.Version.Number, best.Metric, c.Rows)
		}
		notes = append(notes, note)
	}
	return notes
}
