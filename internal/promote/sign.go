package promote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mlops/internal/registry"
	"mlops/internal/signature"
)

// genuine returns an error that wraps registry.ErrUnusable for a version whose files
// are not those that were signed, and for one in production that nobody signed: it is
// no champion, and the gate must not bless it. Before there was any signature, the one
// in production is taken as it is.
func genuine(ctx context.Context, c Config, v registry.Version, subject signature.Subject, production bool) error {
	trusted := c.Trusted
	if c.Signer != nil {
		trusted = append(c.Signer.Trusted(), trusted...)
	}
	if len(trusted) == 0 {
		return nil
	}
	err := trusted.Verify(subject, v.Signature)
	if errors.Is(err, signature.ErrUnsigned) {
		if !production {
			return nil
		}
		signed, listErr := c.Registry.AnySigned(ctx)
		if listErr != nil {
			return listErr
		}
		if !signed {
			c.Log.Warn("the version in production was promoted before versions were signed, and is taken as it is", "version", v.Number)
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("version %d of %s: %w: %w", v.Number, c.Spec.Model, err, registry.ErrUnusable)
	}
	return nil
}

// asTrained returns an error that wraps registry.ErrUnusable for a candidate whose files
// are not those that training wrote. Versions from before training noted its files, and
// those of a database without such notes, are taken as they are.
func asTrained(ctx context.Context, c Config, v registry.Version, subject signature.Subject) error {
	if c.History == nil {
		return nil
	}
	files, since, err := c.History.Trained(ctx, v.Name, v.RunID)
	if err != nil {
		return err
	}
	if files == nil {
		if since.IsZero() || v.Created.Before(since) {
			return nil
		}
		return fmt.Errorf("version %d of %s: no training step made it: run %s is not among those noted in Postgres: %w", v.Number, v.Name, v.RunID, registry.ErrUnusable)
	}
	names := slices.Sorted(maps.Keys(files))
	for name := range subject.Files {
		if _, ok := files[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if subject.Files[name] != files[name] {
			return fmt.Errorf("version %d of %s: %s is not what training wrote: somebody changed it in MLflow: %w", v.Number, v.Name, name, registry.ErrUnusable)
		}
	}
	return nil
}

// sign signs the files that were scored, unless the present key has signed them
// already. It comes before the alias moves, so that a server that follows the alias
// finds the signature.
func sign(ctx context.Context, c Config, v registry.Version, subject signature.Subject) error {
	if c.Signer == nil || c.Signer.Trusted().Verify(subject, v.Signature) == nil {
		return nil
	}
	if err := c.Registry.Sign(ctx, v, c.Signer.Sign(subject)); err != nil {
		return err
	}
	c.Log.Info("signed", "model", c.Spec.Model, "version", v.Number)
	return nil
}
