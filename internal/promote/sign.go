package promote

import (
	"context"
	"errors"
	"fmt"

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
