package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"mlops/internal/api"
)

// reasonsShown is how many features the panel gives as reasons.
const reasonsShown = 6

// reasonView is what one feature does to the prediction.
type reasonView struct {
	Label, Value string
	Amount       string // "×1.36" or "+0.31"
	Up           bool   // it raises the prediction
	Start, Width string // of its bar, in percent of the drawing
}

// reasons are the largest contributions, drawn from the middle: raising ones to the
// right, lowering ones to the left.
func reasons(c *api.Contributions) (list []reasonView, scale string) {
	if c == nil {
		return nil, ""
	}
	largest := 0.0
	for _, f := range c.Features {
		largest = max(largest, math.Abs(f.Contribution))
	}
	for _, f := range c.Features {
		if f.Contribution == 0 {
			continue
		}
		width := 50 * math.Abs(f.Contribution) / largest
		start := 50.0
		if f.Contribution < 0 {
			start -= width
		}
		list = append(list, reasonView{
			Label: f.Label, Value: valueText(f.Value, f.Name), Amount: amount(c.Scale, f.Contribution), Up: f.Contribution > 0,
			Start: fmt.Sprintf("%.2f%%", start), Width: fmt.Sprintf("%.2f%%", width),
		})
	}
	return list, scaleText(c.Scale)
}

// scaleText says what the amounts of reasons are.
func scaleText(scale string) string {
	switch scale {
	case "log-odds":
		return "What each value multiplies the odds by, against the average record"
	case "log":
		return "What each value multiplies the prediction by, against the average record"
	case "score":
		return "What each value adds to the class’s score, against the average record"
	}
	return "What each value adds to the prediction, against the average record"
}

// amount is a contribution for people.
func amount(scale string, c float64) string {
	if scale == "log-odds" || scale == "log" {
		return "×" + strconv.FormatFloat(math.Exp(c), 'f', 2, 64)
	}
	text := strconv.FormatFloat(math.Abs(c), 'g', 3, 64)
	if c < 0 {
		return "−" + text
	}
	return "+" + text
}

// valueText is a feature's value for people.
func valueText(value json.RawMessage, name string) string {
	var text string
	switch {
	case len(value) == 0 || string(value) == "null":
		return cmp.Or(name, "unknown")
	case json.Unmarshal(value, &text) == nil && name != "":
		return called(text, name)
	case json.Unmarshal(value, &text) == nil:
		return readable(text)
	}
	return string(value)
}

// experience is what the test rows say about a binary model's label: how frequent the
// positive outcome is among all rows, among those at or above the threshold, and
// among those below.
type experience struct{ All, Above, Below float64 }

// experienceOf derives it from accuracy, precision and recall, which are shares of the
// same four counts; nil if a metric is missing or they don't fit together.
func experienceOf(m *api.Model) *experience {
	accuracy, okA := m.Metrics["test_accuracy"]
	precision, okP := m.Metrics["test_precision"]
	recall, okR := m.Metrics["test_recall"]
	if !okA || !okP || !okR || precision <= 0 || recall <= 0 {
		return nil
	}
	// Of all rows, positive a share p: recall*p are found, recall*p/precision flagged.
	all := (1 - accuracy) / (recall*(1-precision)/precision + 1 - recall)
	flagged := recall * all / precision
	below := (1 - recall) * all / (1 - flagged)
	if !(all > 0 && all < 1 && flagged < 1 && below >= 0 && below <= 1) {
		return nil
	}
	return &experience{all, precision, below}
}

// against compares a probability with the average.
func (e *experience) against(p float64) string {
	times := p / e.All
	switch {
	case times >= 0.95 && times < 1.05:
		return "about the average of " + percent(e.All)
	case times >= 10:
		return fmt.Sprintf("%.0f times the average of %s", times, percent(e.All))
	}
	return fmt.Sprintf("%.1f times the average of %s", times, percent(e.All))
}

// position places an output among those of the test rows, given as quantiles; empty if
// they aren't known.
func position(quantiles []float32, x float64) string {
	if len(quantiles) < 2 {
		return ""
	}
	below := 0 // parts of the test rows whose outputs are all smaller
	for below < len(quantiles) && float64(quantiles[below]) < x {
		below++
	}
	switch percent := 100 * below / len(quantiles); {
	case below == 0:
		return "No higher than for any test record."
	case below == len(quantiles):
		return "Higher than for every test record."
	default:
		return fmt.Sprintf("Higher than for %d of 100 test records.", max(percent, 1))
	}
}
