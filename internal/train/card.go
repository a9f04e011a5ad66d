package train

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mlops/internal/card"
	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/inspect"
	"mlops/internal/progress"
	"mlops/internal/tree"
)

// Artifacts of a run about how good its model is.
const (
	FileEvaluation = "evaluation.json" // an evaluate.Report
	FileSlices     = "slices.json"     // its slices as a table of MLflow's
)

// newCard describes the model of a run.
func newCard(spec *dataset.Spec, d *Data, f *Fitted, found []inspect.Finding, made time.Time, digest string) card.Card {
	r := f.Report
	c := card.Card{Title: spec.Title + ": " + spec.Model + ", " + f.Candidate.Name}
	add := func(b card.Block) { c.Blocks = append(c.Blocks, b) }

	what := card.Block{Heading: "Model"}
	if spec.Description != "" {
		what.Texts = append(what.Texts, spec.Description)
	}
	what.Items = []string{
		fmt.Sprintf("XGBoost, %d rounds of trees, objective %s, task %s", f.Trees, spec.Objective(f.Candidate), spec.Task),
		"trained " + made.UTC().Format("2006-01-02 15:04 UTC"),
		"parameters: " + parameters(f.Candidate),
	}
	if s := f.Search; s != nil {
		what.Items = append(what.Items, s.String())
	}
	add(what)

	data := card.Block{Heading: "Data", Items: []string{"data set " + spec.Name + ", digest of its rows " + digest}}
	if spec.Source.Cite != "" {
		data.Items = append(data.Items, "source: "+spec.Source.Cite)
	}
	if spec.Synthetic {
		data.Items = append(data.Items, "the rows are made up: this model says nothing about the world")
	}
	data.Items = append(data.Items, fmt.Sprintf("rows: %d to train on, %d to validate on, %d to test on, split %s",
		len(d.Parts[dataset.Train].Y), len(d.Parts[dataset.Validation].Y), len(d.Parts[dataset.Test].Y), spec.SplitRule()))
	data.Items = append(data.Items, fmt.Sprintf("left out: %d rows outside the cohort, %d without a target", d.Excluded, d.Unlabeled))
	for _, e := range spec.Cohort {
		data.Items = append(data.Items, fmt.Sprintf("not for records with %s %s: %s", e.Column, strings.Join(e.Values, ", "), e.Because))
	}
	if w := spec.Weights; w.Column != "" || w.Balanced {
		text := "rows count unlike in training:"
		if w.Column != "" {
			text += " by column " + w.Column + ";"
		}
		if w.Balanced {
			text += " so that the classes count the same, which shifts probabilities;"
		}
		data.Items = append(data.Items, text+" figures count each row once")
	}
	names := make([]string, len(d.Encoder.Features))
	for i := range d.Encoder.Features {
		names[i] = d.Encoder.Features[i].Name
	}
	data.Items = append(data.Items, fmt.Sprintf("%d features: %s", len(names), strings.Join(names, ", ")))
	add(data)

	figures := card.Block{Heading: "Figures", Head: []string{"figure", "train", "validation", "test"}, Texts: []string{
		"With 95 % intervals: percentiles of a bootstrap that draws " + units(spec) + ". Parameters, rounds and threshold were chosen on the validation rows; the test rows were looked at once, here." + inTime(spec, r),
	}}
	for _, s := range r.Splits {
		if s.Rows < s.Of {
			figures.Texts = append(figures.Texts, fmt.Sprintf("Of the %s rows, %d of %d were measured.", s.Split, s.Rows, s.Of))
		}
	}
	for _, name := range figureNames(spec.Task) {
		row := []string{name}
		for _, s := range r.Splits {
			row = append(row, shown(s.Figures, name))
		}
		figures.Rows = append(figures.Rows, row)
	}
	add(figures)

	if test := r.Splits[len(r.Splits)-1]; len(test.Confusion) > 0 && len(r.Classes) <= maxClassesShown {
		b := card.Block{Heading: "Confusion, test rows", Head: []string{"true, then predicted"}}
		b.Head = append(b.Head, r.Classes...)
		for i, counts := range test.Confusion {
			row := []string{r.Classes[i]}
			for _, n := range counts {
				row = append(row, strconv.Itoa(n))
			}
			b.Rows = append(b.Rows, row)
		}
		add(b)
	}
	add(slicesBlock(spec, r))
	if i := r.Importance; i != nil {
		k, p := i.Contributions, i.Permutation
		add(weights("What moves its predictions", fmt.Sprintf(
			"How far a column moves the %s of a record, up or down, on average over %d validation rows: the mean absolute Shapley value. A column may move predictions much without making them better.", margin(k.Scale), k.Rows),
			"moves it by", k.Columns))
		add(weights("What it goes by", fmt.Sprintf(
			"How much worse %s of %d validation rows gets when they exchange the values of a column. Columns that say the same as another seem worth little.", p.Metric, p.Rows),
			"worse by", p.Columns))
	}

	drift, limits := card.Block{Heading: "Drift between batches"}, card.Block{Heading: "Limits"}
	for _, x := range found {
		if x.Kind == inspect.Drift {
			drift.Items = append(drift.Items, x.Text)
		} else {
			limits.Items = append(limits.Items, x.Text)
		}
	}
	if len(drift.Items) > 0 {
		add(drift)
	}
	for _, s := range r.Slices {
		if s.Warning != "" && s.Split == dataset.Test {
			limits.Items = append(limits.Items, fmt.Sprintf("%s %s: %s of the test split; its figures say little", s.Column, s.Level, s.Warning))
		}
	}
	if spec.ByTime() {
		limits.Items = append(limits.Items, fmt.Sprintf("Its test rows are the latest by %s, and its training rows the earliest: the figures are those of a forecast for one stretch of time, and intervals say nothing of how the next one differs.", spec.Split.By))
	}
	limits.Items = append(limits.Items,
		"It tells what goes along with the target in these rows, not what causes it.",
		"Figures hold for records like these; what is unlike them is answered with warnings.")
	add(limits)

	decision := card.Block{Heading: "Decision"}
	switch {
	case spec.Task == dataset.Binary:
		decision.Items = append(decision.Items, fmt.Sprintf("a record is %q from a probability of %.4g on, chosen on the validation rows by %s", spec.Target.Labels.Positive, f.Threshold, rule(spec.Threshold)))
	case f.Interval != nil:
		decision.Items = append(decision.Items, fmt.Sprintf("a prediction comes with an interval of %.4g to either side, which should hold %g %% of the values and held %.1f %% of the test rows'", f.Interval.HalfWidth, 100*f.Interval.Coverage, 100*f.Interval.Test))
	}
	decision.Items = append(decision.Items, "whether it goes into production is decided by the gate after this card was written: see the tags outcome and promotion of the run")
	add(decision)
	return c
}

const (
	maxClassesShown = 12
	maxColumnsShown = 20
)

// weights are the columns that count most.
func weights(heading, text, value string, columns []evaluate.Weight) card.Block {
	b := card.Block{Heading: heading, Texts: []string{text}, Head: []string{"column", value}}
	for _, w := range columns[:min(len(columns), maxColumnsShown)] {
		b.Rows = append(b.Rows, []string{w.Name, progress.Figure(w.Value)})
	}
	return b
}

// margin says in words what contributions add up to.
func margin(scale string) string {
	switch tree.Scale(scale) {
	case tree.LogOdds:
		return "log-odds"
	case tree.Score:
		return "scores of the classes"
	case tree.Log:
		return "logarithm of the predicted value"
	case tree.Root:
		return "square root of the predicted value"
	}
	return "predicted value"
}

func slicesBlock(spec *dataset.Spec, r *evaluate.Report) card.Block {
	b := card.Block{Heading: "Slices, test rows"}
	if len(r.Slices) == 0 {
		b.Texts = []string{"The spec names none (slices)."}
		return b
	}
	b.Head = append([]string{"column", "value", "rows"}, spec.Metrics...)
	if spec.Task == dataset.Binary {
		b.Head = append(b.Head, "base_rate")
	}
	b.Head = append(b.Head, "note")
	for _, s := range r.Slices {
		if s.Split != dataset.Test {
			continue
		}
		row := []string{s.Column, s.Level, strconv.Itoa(s.Rows)}
		for _, name := range b.Head[3 : len(b.Head)-1] {
			row = append(row, shown(s.Figures, name))
		}
		b.Rows = append(b.Rows, append(row, s.Warning))
	}
	return b
}

// figureNames are those of a task in the order of its Figures.
func figureNames(task string) []string {
	switch task {
	case dataset.Multiclass:
		return evaluate.ClassFigures
	case dataset.Regression:
		return evaluate.ValueFigures
	}
	return evaluate.BinaryFigures
}

// shown is a figure with its interval.
func shown(figures map[string]evaluate.Estimate, name string) string {
	e, ok := figures[name]
	if !ok {
		return "–"
	}
	text := progress.Figure(e.Value)
	if len(e.Interval) == 2 {
		text += " (" + progress.Figure(e.Interval[0]) + " to " + progress.Figure(e.Interval[1]) + ")"
	}
	return text
}

// units are what is drawn and parted.
func units(spec *dataset.Spec) string {
	if spec.Group == "" {
		return "rows"
	}
	return "groups of rows with one " + spec.Group
}

// inTime says how intervals allow for rows that are alike where they are near in time; ""
// of rows that are not split by time.
func inTime(spec *dataset.Spec, r *evaluate.Report) string {
	if !spec.ByTime() {
		return ""
	}
	test := r.Splits[len(r.Splits)-1]
	if test.Block == 0 {
		return " Rows next to each other in time may be alike, and the test rows are of too few different values of " + spec.Split.By + " to allow for that: the intervals may be too narrow."
	}
	return fmt.Sprintf(" Rows next to each other in time may be alike: of validation and test rows, blocks of consecutive values of %s were drawn too, of the test rows %d of %d at a time, and the wider interval holds.", spec.Split.By, test.Block, test.Times)
}

func parameters(c *dataset.Candidate) string {
	var all []string
	for name, value := range c.Params {
		all = append(all, fmt.Sprintf("%s %v", name, value))
	}
	slices.Sort(all)
	return fmt.Sprintf("at most %d rounds, early stopping after %d; %s", c.Rounds, c.EarlyStopping, strings.Join(all, ", "))
}

// rule is a threshold's rule in words.
func rule(t dataset.Threshold) string {
	switch {
	case t.Recall != nil:
		return fmt.Sprintf("a recall of at least %g", *t.Recall)
	case t.Precision != nil:
		return fmt.Sprintf("a precision of at least %g", *t.Precision)
	case t.Cost != nil:
		return fmt.Sprintf("the least cost, %g per false positive and %g per false negative", t.Cost.FalsePositive, t.Cost.FalseNegative)
	case t.Fixed != nil:
		return "the spec (fixed)"
	}
	return "the largest " + t.Maximize
}
