package xgboost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Config says how Train boosts.
type Config struct {
	Params        [][2]string // XGBoost's parameters, in order; eval_metric is set by Train
	Metric        string      // by which rounds are compared, in XGBoost's name; empty: auc
	Rounds        int         // at most, and at least 1
	EarlyStopping int         // stop after that many rounds without a better validation metric; 0: never

	// Progress, if set, is called with the validation metric of each round (from 0),
	// in order, on the goroutine that called Train.
	Progress func(round int, metric float64)
}

// higher are the metrics of which more is better; of all others less is.
var higher = map[string]bool{"auc": true, "aucpr": true}

// Higher reports whether more is better of one of XGBoost's metrics.
func Higher(metric string) bool { return higher[metric] }

// Result is how the training went.
type Result struct {
	BestRound int       // the round, from 0, with the best validation metric; of equal ones the first
	Best      float64   // the validation metric at BestRound
	Rounds    []float64 // the validation metric of every round that was boosted
}

// Train boosts a model on train and evaluates each round on validation. With
// early stopping it decides as Python's xgboost.train does with
// callbacks.EarlyStopping(rounds=n, metric_name=metric, save_best=True): a round is better
// only if its metric is strictly better than the best before, and the model is cut
// after the best round. Without early stopping all rounds are kept, whatever
// BestRound says. The model's attributes best_iteration and best_score are those
// that Python sets.
//
// When ctx ends, Train stops between two rounds and returns ctx's error.
func (l *Library) Train(ctx context.Context, c Config, train, validation *Matrix) (*Booster, Result, error) {
	b, result, err := l.train(ctx, c, train, validation)
	if err != nil {
		return nil, Result{}, errors.Join(fmt.Errorf("training: %w", err), b.Close())
	}
	return b, result, nil
}

// train may return a booster along with an error; it is then the caller's to
// close.
func (l *Library) train(ctx context.Context, c Config, train, validation *Matrix) (*Booster, Result, error) {
	if c.Rounds < 1 || c.EarlyStopping < 0 {
		return nil, Result{}, fmt.Errorf("%d rounds and early stopping after %d, want at least 1 and 0", c.Rounds, c.EarlyStopping)
	}
	metric := cmp.Or(c.Metric, "auc")
	params := [][2]string{{"eval_metric", metric}}
	for _, p := range c.Params {
		if p[0] != "eval_metric" {
			params = append(params, p)
		} else if p[1] != metric {
			return nil, Result{}, fmt.Errorf("parameter eval_metric is %s, but rounds are compared by %s", p[1], metric)
		}
	}
	b, err := l.newBooster(params, train, validation)
	if err != nil {
		return nil, Result{}, err
	}
	var r Result
	for round := range c.Rounds {
		if err := ctx.Err(); err != nil {
			return b, r, fmt.Errorf("stopped before round %d of %d: %w", round, c.Rounds, err)
		}
		if err := b.update(round, train); err != nil {
			return b, r, err
		}
		metrics, err := b.eval(round, validation)
		if err != nil {
			return b, r, err
		}
		now, ok := metrics[metric]
		if !ok || math.IsNaN(now) {
			return b, r, fmt.Errorf("round %d has no %s on the validation rows: do they hold both classes, or all?", round, metric)
		}
		r.Rounds = append(r.Rounds, now)
		if c.Progress != nil {
			c.Progress(round, now)
		}
		if round == 0 || now != r.Best && now > r.Best == higher[metric] {
			r.BestRound, r.Best = round, now
		}
		if c.EarlyStopping > 0 && round-r.BestRound >= c.EarlyStopping {
			break
		}
	}
	if c.EarlyStopping > 0 {
		best, err := b.slice(0, r.BestRound+1)
		if err != nil {
			return b, r, err
		}
		if err := b.Close(); err != nil {
			return best, r, err
		}
		b = best
	}
	if err := b.setAttr("best_iteration", strconv.Itoa(r.BestRound)); err != nil {
		return b, r, err
	}
	return b, r, b.setAttr("best_score", strconv.FormatFloat(r.Best, 'g', -1, 64))
}
