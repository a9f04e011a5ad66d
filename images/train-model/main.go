// Train-model lists a data set's candidates, unless the gate would refuse them
// (train-model candidates), or trains one and registers it as a model version
// (train-model train --candidate=NAME).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
	"mlops/internal/mlflow"
	"mlops/internal/program"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/step"
	"mlops/internal/train"
	"mlops/internal/xgboost"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	spec, err := step.Spec()
	if err != nil {
		return err
	}
	if len(os.Args) < 2 {
		return program.Inputf("missing command: candidates, or train --candidate=NAME")
	}
	switch command, args := os.Args[1], os.Args[2:]; command {
	case "candidates":
		return candidates(ctx, log, spec, args)
	case "train":
		return candidate(ctx, log, spec, args)
	default:
		return program.Inputf("unknown command %q: want candidates or train", command)
	}
}

func candidates(ctx context.Context, log *slog.Logger, spec *dataset.Spec, args []string) error {
	if err := program.Flags(args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	client, err := step.MLflow(mlflow.Options{UserAgent: "mlops-train-model"})
	if err != nil {
		return err
	}
	// What the gate would refuse need not be trained first.
	if err := promote.Check(ctx, registry.New(client, spec.Model), spec); errors.Is(err, promote.ErrRefused) {
		return program.Input(err)
	} else if err != nil {
		return err
	}
	// Nor what can't be trusted afterwards.
	clean := step.OpenClean(spec, "inspect "+spec.Model, log)
	defer clean.Close()
	data, err := train.Prepare(ctx, spec, clean.Rows)
	if errors.Is(err, train.ErrNoRows) {
		return program.Input(err)
	} else if err != nil {
		return step.Ingest(err)
	}
	arrivals, err := clean.Arrivals(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	found, err := data.Inspect(spec, arrivals)
	if err != nil {
		return err
	}
	displaced, err := clean.Displaced(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	found = append(found, train.Order(spec, displaced)...)
	for _, f := range found {
		if f.Level == inspect.Warning { // the error says the others
			log.Warn(f.Text, "kind", f.Kind)
		}
	}
	log.Info("rows inspected", "findings", len(found))
	text, err := json.Marshal(append([]inspect.Finding{}, found...))
	if err != nil {
		return fmt.Errorf("listing the findings: %w", err)
	}
	// Also where they stop the step.
	if err := step.Output("findings", string(text)); err != nil {
		return err
	}
	if err := inspect.Check(found); err != nil {
		return program.Input(err)
	}
	if text, err = json.Marshal(spec.Names()); err != nil {
		return fmt.Errorf("listing the candidates: %w", err)
	}
	return step.Output("candidates", string(text))
}

func candidate(ctx context.Context, log *slog.Logger, spec *dataset.Spec, args []string) error {
	var name string
	var threads int
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.StringVar(&name, "candidate", "", "name of the candidate")
		f.IntVar(&threads, "threads", runtime.GOMAXPROCS(0), "XGBoost's threads")
	})
	if err != nil {
		return err
	}
	if spec.Candidate(name) == nil {
		return program.Inputf("the spec of %s has no candidate %q", spec.Name, name)
	}
	path, err := program.Env("MLOPS_XGBOOST")
	if err != nil {
		return err
	}
	lib, err := xgboost.Load(path)
	if err != nil {
		return program.Input(err)
	}
	client, err := step.MLflow(mlflow.Options{UserAgent: "mlops-train-model"})
	if err != nil {
		return err
	}
	// One training of a candidate at a time: the lock is released with the process.
	clean := step.OpenClean(spec, "train "+spec.Model+"/"+name, log)
	defer clean.Close()
	digest, err := clean.Digest(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	arrivals, err := clean.Arrivals(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	ledger, err := clean.Ledger(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	version, err := train.Run(ctx, train.Config{
		Spec:       spec,
		Candidate:  name,
		DataDigest: digest,
		Rows:       clean.Rows,
		Arrivals:   arrivals,
		Ledger:     ledger,
		Library:    lib,
		History:    clean.History(),
		MLflow:     client,
		Threads:    threads,
		Commit:     program.EnvOr("MLOPS_COMMIT", ""),
		Log:        log,
	})
	var worthless *inspect.Error
	if errors.As(err, &worthless) {
		return program.Input(err)
	}
	if err != nil {
		return err
	}
	return step.Output("version", fmt.Sprint(version))
}
