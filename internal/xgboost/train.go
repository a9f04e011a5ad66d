package xgboost

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Config says how Train boosts.
type Config struct {
	Params        [][2]string // XGBoost's parameters, in order; the only eval_metric is auc, which Train sets
	Rounds        int         // at most, and at least 1
	EarlyStopping int         // stop after that many rounds without a better validation AUC; 0: never

	// Progress, if set, is called with the validation AUC of each round (from 0),
	// in order, on the goroutine that called Train.
	Progress func(round int, auc float64)
}

// Result is how the training went.
type Result struct {
	BestRound int       // the round, from 0, with the best validation AUC; of equal ones the first
	BestAUC   float64   // the validation AUC at BestRound
	AUC       []float64 // the validation AUC of every round that was boosted
}

// Train boosts a model on train and evaluates each round on validation. With
// early stopping it decides as Python's xgboost.train does with
// callbacks.EarlyStopping(rounds=n, metric_name="auc", save_best=True): a round is better
// only if its AUC is strictly greater than the best before, and the model is cut
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
	params := [][2]string{{"eval_metric", "auc"}}
	for _, p := range c.Params {
		if p[0] != "eval_metric" {
			params = append(params, p)
		} else if p[1] != "auc" {
			return nil, Result{}, fmt.Errorf("parameter eval_metric is %s, but rounds are compared by auc", p[1])
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
		auc, ok := metrics["auc"]
		if !ok || math.IsNaN(auc) {
			return b, r, fmt.Errorf("round %d has no AUC on the validation rows: do they hold both classes?", round)
		}
		r.AUC = append(r.AUC, auc)
		if c.Progress != nil {
			c.Progress(round, auc)
		}
		if round == 0 || auc > r.BestAUC {
			r.BestRound, r.BestAUC = round, auc
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
	return b, r, b.setAttr("best_score", strconv.FormatFloat(r.BestAUC, 'g', -1, 64))
}
