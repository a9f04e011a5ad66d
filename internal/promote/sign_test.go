package promote_test

import (
	"bytes"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/model"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/setup"
	"mlops/internal/signature"
)

func key(t *testing.T) (*signature.Signer, signature.Trusted) {
	t.Helper()
	private, public, err := signature.Generate()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.ReadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := signature.ReadTrusted(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, trusted
}

func (w *world) promoteSigned(s *dataset.Spec, signer *signature.Signer, trusted signature.Trusted) promote.Decision {
	w.t.Helper()
	r, err := promote.Run(w.t.Context(), promote.Config{
		Spec: s, DataDigest: digest, Rows: w.rows(s), Registry: registry.New(w.client, s.Model), Log: quiet(),
		Signer: signer, Trusted: trusted,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// signed returns what is wrong with the signature of the version in production.
func (w *world) signed(s *dataset.Spec, trusted signature.Trusted) error {
	w.t.Helper()
	reg := registry.New(w.client, s.Model)
	v, err := reg.Production(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	_, subject, err := reg.Open(w.t.Context(), v)
	if err != nil {
		w.t.Fatal(err)
	}
	return trusted.Verify(subject, v.Signature)
}

func TestPromotionSigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	w.trainAll(s)
	old, oldTrusted := key(t)

	// What an earlier release put into production has no signature: it is taken once.
	first := w.promote(s)
	if r := w.promoteSigned(s, old, oldTrusted); r.Promoted || r.Version != first.Version {
		t.Errorf("signing changed what is in production: %+v", r)
	}
	if err := w.signed(s, oldTrusted); err != nil {
		t.Errorf("the version in production: %v", err)
	}

	// Rotation: while both keys are trusted, promotion signs again with the new one.
	next, nextTrusted := key(t)
	w.promoteSigned(s, next, append(nextTrusted, oldTrusted...))
	if err := w.signed(s, nextTrusted); err != nil {
		t.Errorf("after the rotation: %v", err)
	}

	// A file changed in the store: the version is no champion any more, and not blessed.
	v, err := w.client.GetVersion(t.Context(), s.Model, first.Version)
	if err != nil {
		t.Fatal(err)
	}
	root, err := w.client.ResolveArtifacts(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), model.Files[0])
	if err := w.client.DownloadArtifact(t.Context(), path.Join(root, model.Files[0]), file, 1<<20); err != nil {
		t.Fatal(err)
	}
	description, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.UploadArtifact(t.Context(), path.Join(root, model.Files[0]), bytes.NewReader(append(description, '\n'))); err != nil {
		t.Fatal(err)
	}
	r := w.promoteSigned(s, next, nextTrusted)
	if !r.Promoted || r.Version == first.Version {
		t.Errorf("a version whose file was changed: %+v, want another promoted", r)
	}
	contains(t, "reason", r.Reason, "can't be scored", "not those that were signed")
	if err := w.signed(s, nextTrusted); err != nil {
		t.Errorf("the version that was promoted instead: %v", err)
	}

	_, err = promote.Rollback(t.Context(), promote.RollbackConfig{Registry: registry.New(w.client, s.Model), Trusted: nextTrusted, To: first.Version, Why: "x", Log: quiet()})
	if !errors.Is(err, promote.ErrRefused) {
		t.Fatalf("rolled back to it: %v, want ErrRefused", err)
	}
	contains(t, "error", err.Error(), "can't be served any more", "not those that were signed")

	// Nor is one that somebody put there past the gate.
	if err := w.client.SetAlias(t.Context(), s.Model, registry.Production, first.Version); err != nil {
		t.Fatal(err)
	}
	if err := w.client.DeleteVersionTag(t.Context(), s.Model, first.Version, registry.TagSignature); err != nil {
		t.Fatal(err)
	}
	if r := w.promoteSigned(s, next, nextTrusted); r.Version == first.Version {
		t.Errorf("version %s was put into production past the gate, and stays: %+v", strconv.Itoa(first.Version), r)
	}
}

// An upgrade signs what an earlier release has put into production, and only then.
func TestUpgradeSignsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	versions := w.trainAll(s)
	first := w.promote(s)
	signer, trusted := key(t)
	reg := registry.New(w.client, s.Model)
	upgrade := func() {
		t.Helper()
		if err := setup.Run(t.Context(), setup.Config{Signer: signer, Registry: func() (*registry.Registry, error) { return reg, nil }, Log: quiet()}); err != nil {
			t.Fatal(err)
		}
	}
	upgrade()
	if err := w.signed(s, trusted); err != nil {
		t.Errorf("after the upgrade: %v", err)
	}
	// Whoever puts another version there past the gate doesn't get it signed.
	for _, number := range versions {
		if number != first.Version {
			if err := w.client.SetAlias(t.Context(), s.Model, registry.Production, number); err != nil {
				t.Fatal(err)
			}
		}
	}
	upgrade()
	if err := w.signed(s, trusted); !errors.Is(err, signature.ErrUnsigned) {
		t.Errorf("a version put there past the gate: %v, want it unsigned", err)
	}
}
