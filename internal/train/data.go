// Package train turns one candidate into a model version: it encodes the rows,
// boosts, chooses the threshold, measures, logs a run in MLflow and, last of all,
// registers the version.
package train

import (
	"context"
	"errors"
	"fmt"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
	"mlops/internal/inspect"
	"mlops/internal/model"
	"mlops/internal/profile"
)

// Part is the encoded rows of one split.
type Part struct {
	X []float32 // one vector of the encoder's width per row, concatenated
	Y []float32 // what Spec.Label says of each row

	groups evaluate.Numbered // of the rows
	weight []float32         // of each row; nil if each counts 1
	times  []float64         // of each row of a split by time; nil of training rows
	levels [][]int32         // by column of Spec.Slices: of each row, see Data.levels; nil of training rows
}

// Data is what a candidate is trained and measured on.
type Data struct {
	Encoder *feature.Encoder
	Parts   map[string]*Part // by split

	Excluded  int // rows that the cohort leaves out
	Unlabeled int // rows without a target

	Profile *profile.Profile // of the rows of all splits

	Earlier *feature.Snapshot // of all rows, for features that look back; nil if none does, or there are too many rows

	samples  []sample
	computed []inspect.Computed // columns that were computed from the target
	targets  map[string]int     // rows of all splits by value of the target, of at most maxTargets values
	places   []int64            // of each training row, among all rows of the data set
	folds    []uint8            // of each training row; see inspect.Part

	levels []evaluate.Levels // by column of Spec.Slices
	probes [][][]byte        // every few validation rows, to be shuffled
	every  int               // of which one is a probe
}

// maxTargets bounds the values of the target that are counted.
const maxTargets = 1000

// ErrNoRows says that a split has no rows with a target that the cohort leaves in.
var ErrNoRows = errors.New("no rows in split")

// Prepare reads the rows twice: once to fit the encoder on the training rows and
// to count, once to encode.
func Prepare(ctx context.Context, spec *dataset.Spec, rows dataset.Rows) (*Data, error) {
	d := &Data{Parts: map[string]*Part{dataset.Train: {}, dataset.Validation: {}, dataset.Test: {}}, targets: map[string]int{}}
	target, group := spec.Column(spec.Target.Column), spec.Column(spec.Group)
	fitter, made := feature.NewFitter(spec), newMaker(spec)
	counts := map[string]int{}
	least := int64(rareLevel)
	if spec.RealSamples() {
		least = 2
	}
	seen, ofTarget := profile.New(spec, least), inspect.NewOfTarget(spec)
	err := rows(ctx, func(split string, fields [][]byte) error {
		seen.Add(fields)
		if spec.Excluded(fields) {
			d.Excluded++
			return fitter.Pass(fields)
		}
		label, known := spec.Label(fields)
		if !known {
			d.Unlabeled++
			return fitter.Pass(fields)
		}
		ofTarget.Add(fields, label)
		counts[split]++
		if value := fields[target]; len(d.targets) < maxTargets || d.targets[string(value)] > 0 {
			d.targets[string(value)]++
		}
		if split != dataset.Train {
			return fitter.Pass(fields)
		}
		if err := fitter.Add(fields); err != nil {
			return err
		}
		if !spec.RealSamples() {
			made.add(fields)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fitting the encoder: %w", err)
	}
	d.Profile, d.computed = seen.Profile(), ofTarget.Found()
	if d.Encoder, err = fitter.Encoder(); err != nil {
		return nil, fmt.Errorf("fitting the encoder: %w", err)
	}
	width := d.Encoder.Width()
	for split, p := range d.Parts {
		n := counts[split]
		if n == 0 {
			return nil, fmt.Errorf("%w %s with a target and in the cohort: bring more rows, or %s", ErrNoRows, split, spec.EnlargeSplit(split))
		}
		p.X = make([]float32, 0, n*width)
		p.Y = make([]float32, 0, n)
	}
	every := max(1, counts[dataset.Test]/wantSamples)
	d.every = max(1, (counts[dataset.Validation]+maxProbes-1)/maxProbes)
	d.levels = make([]evaluate.Levels, len(spec.Slices))
	d.places, d.folds = make([]int64, 0, counts[dataset.Train]), make([]uint8, 0, counts[dataset.Train])
	place, stream := int64(-1), d.Encoder.Stream()
	last := recent{spec: spec}
	var earlier *feature.SnapshotBuilder
	if spec.LooksBack() {
		earlier = d.Encoder.NewSnapshotBuilder(model.MaxEarlier)
		stream.Visit = earlier.Add
	}
	err = rows(ctx, func(split string, fields [][]byte) error {
		place++
		var before [][][]byte
		// By a hash a group is in one split, by time its earlier rows are in others.
		if spec.RealSamples() && spec.LooksBack() && (split == dataset.Test || spec.ByTime()) {
			before = last.add(fields)
		}
		label, known := spec.Label(fields)
		if !known || spec.Excluded(fields) {
			return stream.Encode(nil, fields)
		}
		p := d.Parts[split]
		if p == nil {
			return fmt.Errorf("row in split %q", split)
		}
		at := len(p.X)
		if at+width > cap(p.X) {
			return fmt.Errorf("more rows in split %s than a moment ago", split)
		}
		p.X = p.X[:at+width]
		if err := stream.Encode(p.X[at:], fields); err != nil {
			return err
		}
		if spec.RealSamples() && split == dataset.Test && len(p.Y)%every == 0 && len(d.samples) < wantSamples {
			d.samples = append(d.samples, newSample(spec, d.Encoder, fields, before))
		}
		if split == dataset.Train {
			d.folds = append(d.folds, inspect.FoldOf(fields, group, len(d.folds)))
			d.places = append(d.places, place)
		}
		d.describe(spec, split, p, fields)
		p.Y = append(p.Y, label)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the rows: %w", err)
	}
	if earlier != nil {
		if d.Earlier, err = earlier.Snapshot(); err != nil {
			return nil, fmt.Errorf("keeping the earlier rows: %w", err)
		}
	}
	if !spec.RealSamples() {
		d.samples = made.make(wantSamples, d.Encoder)
	}
	for split, p := range d.Parts {
		if len(p.Y) != counts[split] {
			return nil, fmt.Errorf("%d rows in split %s, a moment ago %d", len(p.Y), split, counts[split])
		}
	}
	return d, nil
}

// checkObjective refuses a candidate whose objective can't take a value of the target.
func (d *Data) checkObjective(spec *dataset.Spec, candidate *dataset.Candidate) error {
	objective := spec.Objective(candidate)
	least, itself, bounded := dataset.LeastTarget(objective)
	if !bounded {
		return nil
	}
	below, example := 0, float32(0)
	for _, p := range d.Parts {
		for _, y := range p.Y {
			if float64(y) < least || float64(y) == least && !itself {
				below, example = below+1, y
			}
		}
	}
	if below == 0 {
		return nil
	}
	return &inspect.Error{Findings: []inspect.Finding{{Level: inspect.Stop, Kind: "target", Value: float64(below), Text: fmt.Sprintf(
		"candidate %s has objective %s, which takes no %s of %g; rows with such a target: %d; choose another objective, or leave these rows out by the column's min",
		candidate.Name, objective, spec.Target.Column, example, below)}}}
}

// positives is how many rows of the part have the label 1.
func (p *Part) positives() int {
	n := 0
	for _, y := range p.Y {
		if y == 1 {
			n++
		}
	}
	return n
}
