package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/xgboost"
)

const (
	keepOneOf  = 3    // trials go on to the next round of the search
	leastTried = 1000 // training rows that a trial sees at least
)

// Found is what a search found, and how.
type Found struct {
	Metric  string  `json:"metric"` // XGBoost's, of the validation rows
	Trials  []Trial `json:"trials"`
	Best    int     `json:"best"`              // index of the trial that was chosen
	Stopped string  `json:"stopped,omitempty"` // why not all was tried that the spec asks for

	candidate *dataset.Candidate
}

// Trial is one set of parameters.
type Trial struct {
	Params map[string]any `json:"params"`
	Scores []float64      `json:"scores"` // on more rows each time; fewer where others were better
}

func (f *Found) String() string {
	text := fmt.Sprintf("found by a search of %d trials by %s on the validation rows", len(f.Trials), f.Metric)
	if f.Stopped != "" {
		text += "; " + f.Stopped
	}
	return text
}

// Search tries sets of parameters that it draws from the spec's space, by successive
// halving: all of them on a ninth of the training groups, the best third on a third, the
// best of those on all. Only validation rows compare them. The same rows and seed
// find the same candidate, unless its time runs out.
func Search(ctx context.Context, lib *xgboost.Library, spec *dataset.Spec, d *Data, threads int, log *slog.Logger) (*Found, error) {
	k := spec.Search
	_, weighted := k.Space[classWeight]
	found := &Found{Metric: d.RoundMetric(spec, weighted)}
	for _, params := range draw(k) {
		found.Trials = append(found.Trials, Trial{Params: params})
	}
	validation, err := Matrix(lib, d.Encoder, d.Parts[dataset.Validation])
	if err != nil {
		return nil, fmt.Errorf("matrix of split %s: %w", dataset.Validation, err)
	}
	defer validation.Close()
	end := time.Now().Add(time.Duration(k.Minutes * float64(time.Minute)))
	left := make([]int, len(found.Trials))
	for i := range left {
		left[i] = i
	}
	better := func(a, b float64) bool { return a != b && a > b == xgboost.Higher(found.Metric) }
	tried := 0
	for _, divisor := range rungs(len(d.Parts[dataset.Train].Y), len(left)) {
		part, weights := d.fraction(spec, divisor)
		m, err := Matrix(lib, d.Encoder, part)
		if err != nil {
			return nil, fmt.Errorf("matrix of a part of split %s: %w", dataset.Train, err)
		}
		if weights != nil {
			err = m.SetWeights(weights)
		}
		var scored []int
		for _, i := range left {
			if err != nil || found.Stopped != "" {
				break
			}
			var score float64
			score, err = try(ctx, lib, spec, d, found.Trials[i].Params, found.Metric, threads, m, validation, end, tried == 0)
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				found.Stopped = fmt.Sprintf("it was stopped after %g minutes and %d fits, so that another run may find another candidate", k.Minutes, tried)
				err = nil
				break
			}
			if err == nil {
				tried++
				found.Trials[i].Scores = append(found.Trials[i].Scores, score)
				scored = append(scored, i)
				log.Info("progress", "done", tried, "total", 0, "unit", "trials", "rows", len(part.Y), "validation_"+found.Metric, score)
			}
		}
		m.Close()
		if err != nil {
			return nil, err
		}
		if len(scored) == 0 {
			break
		}
		last := func(i int) float64 { return found.Trials[i].Scores[len(found.Trials[i].Scores)-1] }
		slices.SortStableFunc(scored, func(a, b int) int {
			switch {
			case better(last(a), last(b)):
				return -1
			case better(last(b), last(a)):
				return 1
			}
			return 0
		})
		left = scored[:max(1, (len(scored)+keepOneOf-1)/keepOneOf)]
		found.Best = left[0]
	}
	if found.Stopped != "" {
		log.Warn("search stopped early: " + found.Stopped)
	}
	found.candidate = &dataset.Candidate{Name: dataset.SearchName, Rounds: k.Rounds, EarlyStopping: k.EarlyStopping, Params: found.Trials[found.Best].Params}
	log.Info("searched", "trials", len(found.Trials), "fits", tried, "params", parameters(found.candidate))
	return found, nil
}

// try returns the best validation metric that the parameters reach. All but the first
// trial end with the search's time.
func try(ctx context.Context, lib *xgboost.Library, spec *dataset.Spec, d *Data, params map[string]any, metric string, threads int, train, validation *xgboost.Matrix, end time.Time, first bool) (float64, error) {
	if !first {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	c := d.resolved(spec, &dataset.Candidate{Name: dataset.SearchName, Params: params})
	b, result, err := lib.Train(ctx, xgboost.Config{
		Params: Parameters(spec, c, threads), Metric: metric, Rounds: spec.Search.Rounds, EarlyStopping: spec.Search.EarlyStopping,
	}, train, validation)
	if err != nil {
		return 0, err
	}
	return result.Best, b.Close()
}

// rungs are the parts of the training groups on which trials are compared, one after
// another: one in so many.
func rungs(rows, trials int) []int {
	var out []int
	for _, divisor := range []int{keepOneOf * keepOneOf, keepOneOf, 1} {
		if divisor == 1 || rows/divisor >= leastTried && trials > 1 {
			out = append(out, divisor)
		}
	}
	return out
}

// fraction is the training rows of one group in so many, with their weights.
func (d *Data) fraction(spec *dataset.Spec, divisor int) (*Part, []float32) {
	p, weights, width := d.Parts[dataset.Train], d.weights(spec), d.Encoder.Width()
	if divisor == 1 {
		return p, weights
	}
	out := &Part{}
	var some []float32
	for i, y := range p.Y {
		if int(p.groups.Of[i])%divisor != 0 {
			continue
		}
		out.X, out.Y = append(out.X, p.X[i*width:(i+1)*width]...), append(out.Y, y)
		if weights != nil {
			some = append(some, weights[i])
		}
	}
	return out, some
}

// draw draws the parameters of all trials.
func draw(k *dataset.Search) []map[string]any {
	rng := rand.New(rand.NewPCG(uint64(k.Seed), 0))
	names := slices.Sorted(maps.Keys(k.Space))
	out := make([]map[string]any, k.Trials)
	for i := range out {
		out[i] = map[string]any{}
		for _, name := range names {
			out[i][name] = value(rng, name, k.Space[name])
		}
	}
	return out
}

func value(rng *rand.Rand, name string, s dataset.Scope) any {
	if len(s.OneOf) > 0 {
		return s.OneOf[rng.IntN(len(s.OneOf))]
	}
	from, to := *s.From, *s.To
	whole := dataset.Whole(name)
	if whole {
		from, to = from-0.499, to+0.499 // so that the ends are as likely as the others
		if s.Log {
			from = max(from, 0.501)
		}
	}
	x := from + rng.Float64()*(to-from)
	if s.Log {
		x = from * math.Exp((x-from)/(to-from)*math.Log(to/from))
	}
	if whole {
		return int(min(max(math.Round(x), *s.From), *s.To))
	}
	x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64) // four digits are enough, and can be read
	return min(max(x, *s.From), *s.To)
}
