package train

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/history"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
	"mlops/internal/mlflow"
	"mlops/internal/registry"
	"mlops/internal/xgboost"
)

// Config is what Run needs.
type Config struct {
	Spec       *dataset.Spec
	Candidate  string
	DataDigest string // of the cleaned and split rows
	Rows       dataset.Rows
	Arrivals   []ingest.Arrival // when each row of Rows came; may be nil
	Ledger     []ingest.Report  // what became of the rows in the data steps; may be nil
	Library    *xgboost.Library
	MLflow     *mlflow.Client
	History    *history.Log // keeps the digests of the version's files; nil: nobody does
	Threads    int
	Commit     string // of git, of the sources that this program was built from, with "-dirty" if they were changed since; empty: not known
	NoPlots    bool   // leaves out the pictures of the curves: of a small table, they take most of the time
	Log        *slog.Logger
}

// Run trains one candidate and registers it, unless there already is a version of
// the same data, spec and candidate. It returns the version's number.
//
// It may be killed at any moment and run again: an unfinished run is marked as
// killed, and a version is registered only once all of it is logged. The caller's
// lock keeps two of them from running at once.
func Run(ctx context.Context, c Config) (int, error) {
	candidate := c.Spec.Candidate(c.Candidate)
	if candidate == nil {
		return 0, fmt.Errorf("the spec of %s has no candidate %q", c.Spec.Name, c.Candidate)
	}
	r := &recorder{
		client:   c.MLflow,
		registry: registry.New(c.MLflow, c.Spec.Model),
		spec:     c.Spec,
		made:     registry.Candidate{Dataset: c.Spec.Name, Name: candidate.Name, Training: registry.Training(c.Spec, c.DataDigest), Synthetic: c.Spec.Synthetic},
		config:   c,
	}
	v, found, err := r.registry.Find(ctx, r.made.Training, r.made.Name)
	if err != nil {
		return 0, err
	}
	if found {
		c.Log.Info("already trained on this data with this spec", "candidate", candidate.Name, "version", v.Number, "run_id", v.RunID)
		return v.Number, nil
	}
	if err := r.registry.Ensure(ctx, c.Spec.Description); err != nil {
		return 0, err
	}
	if whole, err := r.leftovers(ctx); err != nil {
		return 0, err
	} else if whole != nil {
		c.Log.Info("registering the finished run of an earlier attempt", "run_id", whole.ID)
		return r.register(ctx, whole.ID)
	}

	start := time.Now()
	data, err := Prepare(ctx, c.Spec, c.Rows)
	if err != nil {
		return 0, err
	}
	c.Log.Info("rows encoded", "train", len(data.Parts[dataset.Train].Y), "validation", len(data.Parts[dataset.Validation].Y), "test", len(data.Parts[dataset.Test].Y),
		"excluded", data.Excluded, "unlabeled", data.Unlabeled, "features", data.Encoder.Width(), "took", time.Since(start).Round(time.Millisecond).String())
	findings, err := data.Inspect(c.Spec, c.Arrivals)
	if err == nil {
		err = inspect.Check(findings)
	}
	if err != nil {
		return 0, err
	}

	start = time.Now()
	var last time.Time
	if err := data.checkObjective(c.Spec, candidate); err != nil {
		return 0, err
	}
	var searched *Found
	if c.Spec.Search != nil && candidate.Name == dataset.SearchName {
		searched, err = Search(ctx, c.Library, c.Spec, data, c.Threads, c.Log)
		if err != nil {
			return 0, fmt.Errorf("candidate %s: %w", candidate.Name, err)
		}
		candidate = searched.candidate
	}
	rounds := data.RoundMetric(c.Spec, weighs(candidate))
	fitted, err := Fit(ctx, c.Library, c.Spec, candidate, data, Options{
		Threads: c.Threads,
		Progress: func(round int, metric float64) {
			if time.Since(last) > time.Second {
				last = time.Now()
				c.Log.Info("progress", "done", round+1, "total", candidate.Rounds, "unit", "rounds", "validation_"+rounds, metric)
			}
		},
	})
	if err != nil {
		return 0, fmt.Errorf("candidate %s: %w", candidate.Name, err)
	}
	fitted.Search = searched
	took := time.Since(start) - fitted.Measuring
	c.Log.Info("progress", "done", fitted.Trees, "total", fitted.Trees, "unit", "rounds")
	c.Log.Info("trained", "candidate", candidate.Name, "trees", fitted.Trees, "threshold", fitted.Threshold, "metrics", fitted.Metrics, "took", took.Round(time.Millisecond).String())
	c.Log.Info("measured", "slices", len(fitted.Report.Slices), "took", fitted.Measuring.Round(time.Millisecond).String())
	if few := warnings(fitted.Report); few != "" {
		c.Log.Warn("slices with few validation rows: their figures say little", "slices", few)
	}
	run, err := r.record(ctx, candidate, data, fitted, findings, took)
	if err != nil {
		return 0, err
	}
	return r.register(ctx, run)
}
