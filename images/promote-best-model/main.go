// Promote-best-model compares the candidates of the newest training with the
// version in production and puts the best into production if it is better.
//
// `promote-best-model rollback -why TEXT` puts an earlier version back, and
// `promote-best-model pin -why TEXT` stops automatic promotion until `pin -off`.
// `promote-best-model challenge` chooses the version that is compared with the one in
// production, `promote-best-model adopt` puts one that a notebook logged into production,
// and `promote-best-model retain` removes versions that need not stay.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"mlops/internal/mlflow"
	"mlops/internal/program"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/signature"
	"mlops/internal/step"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	if len(os.Args) < 2 {
		return gate(ctx, log)
	}
	switch name, args := os.Args[1], os.Args[2:]; name {
	case "rollback":
		return rollback(ctx, log, args)
	case "pin":
		return pin(ctx, log, args)
	case "challenge":
		return challenge(ctx, log, args)
	case "adopt":
		return adopt(ctx, log, args)
	case "retain":
		return retain(ctx, log, args)
	default:
		return program.Inputf("unknown command %q: rollback, pin, challenge, adopt or retain, or none for the gate", name)
	}
}

func gate(ctx context.Context, log *slog.Logger) error {
	spec, err := step.Spec()
	if err != nil {
		return err
	}
	client, err := step.MLflow(mlflow.Options{UserAgent: "mlops-promote-best-model"})
	if err != nil {
		return err
	}
	// One promotion of a model at a time: the lock is released with the process.
	clean := step.OpenClean(spec, "promote "+spec.Model, log)
	defer clean.Close()
	digest, err := clean.Digest(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	signer, trusted, err := keys()
	if err != nil {
		return err
	}
	events, session := step.History(log)
	defer session.Close()
	decision, err := promote.Run(ctx, promote.Config{
		History:    events,
		By:         step.By(),
		Signer:     signer,
		Trusted:    trusted,
		Spec:       spec,
		DataDigest: digest,
		Rows:       clean.Rows,
		Registry:   registry.New(client, spec.Model),
		Log:        log,
	})
	if errors.Is(err, promote.ErrRefused) {
		return program.Input(err)
	}
	if err != nil {
		return err
	}
	if err := step.Output("decision", decision.Reason); err != nil {
		return err
	}
	return step.Output("promoted", fmt.Sprint(decision.Version))
}

// keys returns the key that signs what is in production, and those whose signatures
// count.
func keys() (signer *signature.Signer, trusted signature.Trusted, err error) {
	if text := program.EnvOr("MLOPS_SIGNING_KEY", ""); text != "" {
		if signer, err = signature.ReadSigner([]byte(text)); err != nil {
			return nil, nil, program.Inputf("MLOPS_SIGNING_KEY: %w", err)
		}
	}
	if text := program.EnvOr("MLOPS_SIGNERS", ""); text != "" {
		if trusted, err = signature.ReadTrusted([]byte(text)); err != nil {
			return nil, nil, program.Inputf("MLOPS_SIGNERS: %w", err)
		}
	}
	return signer, trusted, nil
}
