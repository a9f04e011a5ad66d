package setup

import (
	"context"
	"errors"
	"fmt"

	"mlops/internal/registry"
)

// adopt signs the version in production if no version was ever signed: an
// earlier release has promoted it, and the upgrade must not leave the servers
// without a model.
func adopt(ctx context.Context, c Config) error {
	reg, err := c.Registry()
	if err != nil {
		return err
	}
	var v registry.Version
	signed := false
	err = waitFor(ctx, c.Log, c.Patience, "MLflow", func(ctx context.Context) (err error) {
		v, err = reg.Production(ctx)
		if err == nil {
			signed, err = reg.AnySigned(ctx)
		}
		if errors.Is(err, registry.ErrNoVersion) {
			v, err = registry.Version{}, nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for an unsigned version in production: %w", err)
	}
	if v.Number == 0 || signed {
		return nil
	}
	_, subject, err := reg.Open(ctx, v)
	if errors.Is(err, registry.ErrUnusable) {
		c.Log.Error("the version in production can't be served, and is not signed", "version", v.Number, "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := reg.Sign(ctx, v, c.Signer.Sign(subject)); err != nil {
		return err
	}
	c.Log.Info("signed the version that an earlier release promoted", "model", v.Name, "version", v.Number)
	return nil
}
