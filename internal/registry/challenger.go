package registry

import (
	"context"
	"errors"
	"fmt"

	"mlops/internal/mlflow"
	"mlops/internal/signature"
)

// Challenger returns the version that is compared with the one in production, or
// ErrNoChallenger.
func (r *Registry) Challenger(ctx context.Context) (Version, error) {
	v, err := r.client.GetAlias(ctx, r.model, Challenger)
	if errors.Is(err, mlflow.ErrNotFound) {
		return Version{}, ErrNoChallenger
	}
	if err != nil {
		return Version{}, fmt.Errorf("looking up the challenger of %s: %w", r.model, err)
	}
	return version(v), nil
}

// Chosen returns why somebody chose the challenger; empty: nobody did, and the gate
// may choose another.
func (r *Registry) Chosen(ctx context.Context) (string, error) {
	tags, err := r.client.ModelTags(ctx, r.model)
	if err != nil {
		return "", fmt.Errorf("looking up who chose the challenger of %s: %w", r.model, err)
	}
	return tags[TagChosen], nil
}

// Challenge makes a version the challenger. chosen says why somebody chose it; empty:
// the gate did. Nothing changes where all of it is so already.
func (r *Registry) Challenge(ctx context.Context, v Version, chosen string) error {
	before, err := r.Chosen(ctx)
	if err != nil {
		return err
	}
	switch {
	case chosen != "" && chosen != before:
		err = r.client.SetModelTag(ctx, r.model, TagChosen, chosen)
	case chosen == "" && before != "":
		err = r.client.DeleteModelTag(ctx, r.model, TagChosen)
	}
	if err != nil {
		return fmt.Errorf("noting why version %d of %s is the challenger: %w", v.Number, r.model, err)
	}
	if now, err := r.Challenger(ctx); err == nil && now.Number == v.Number {
		return nil
	}
	if err := r.client.SetAlias(ctx, r.model, Challenger, v.Number); err != nil {
		return fmt.Errorf("making version %d of %s the challenger: %w", v.Number, r.model, err)
	}
	return nil
}

// Unchallenge ends the comparison with a challenger. It is no error where there is none.
func (r *Registry) Unchallenge(ctx context.Context) error {
	if _, err := r.Challenger(ctx); err != nil && !errors.Is(err, ErrNoChallenger) {
		return err
	} else if err == nil {
		if err := r.client.DeleteAlias(ctx, r.model, Challenger); err != nil {
			return fmt.Errorf("removing the alias %s of %s: %w", Challenger, r.model, err)
		}
	}
	if err := r.client.DeleteModelTag(ctx, r.model, TagChosen); err != nil && !errors.Is(err, mlflow.ErrNotFound) {
		return fmt.Errorf("forgetting why the challenger of %s was chosen: %w", r.model, err)
	}
	return nil
}

// SignChallenger notes a signature that lets a version be compared, and not served.
func (r *Registry) SignChallenger(ctx context.Context, v Version, signature string) error {
	return r.tag(ctx, v, TagCompared, signature)
}

// Comparable returns an error unless a trusted key has signed these files of the
// version for being compared or, which is more, for production.
func (v Version) Comparable(trusted signature.Trusted, files signature.Subject) error {
	if trusted.Verify(files, v.Signature) == nil {
		return nil
	}
	files.Challenger = true
	return trusted.Verify(files, v.Compared)
}
