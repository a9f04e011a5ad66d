package promote_test

import (
	"errors"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// refuse runs the gate, which has to refuse, and checks that it leaves why on the
// versions and their runs, and production alone.
func (w *world) refuse(s *dataset.Spec, versions []int, production int, words ...string) {
	w.t.Helper()
	reg := registry.New(w.client, s.Model)
	d, err := promote.Run(w.t.Context(), promote.Config{Spec: s, DataDigest: digest, Rows: w.rows(s), Registry: reg, Log: quiet()})
	if !errors.Is(err, promote.ErrRefused) || d.Promoted || d.Version != production {
		w.t.Fatalf("%+v, %v; want version %d to stay and ErrRefused", d, err, production)
	}
	contains(w.t, "error", err.Error(), words...)
	for _, number := range versions {
		if got := w.tag(s, number, registry.TagOutcome); got != string(registry.Refused) {
			w.t.Errorf("outcome of version %d: %q, want %q", number, got, registry.Refused)
		}
		v, err := w.client.GetVersion(w.t.Context(), s.Model, number)
		if err != nil {
			w.t.Fatal(err)
		}
		run, err := w.client.GetRun(w.t.Context(), v.RunID)
		if err != nil || run.Tags[registry.TagOutcome] != string(registry.Refused) || run.Tags[registry.TagPromotion] != v.Tags[registry.TagPromotion] {
			w.t.Errorf("run of version %d: tags %v, %v; want the version's outcome and reason", number, run.Tags, err)
		}
	}
	if production == 0 {
		if v, err := reg.Production(w.t.Context()); !errors.Is(err, registry.ErrNoVersion) {
			w.t.Errorf("version %d is in production, %v", v.Number, err)
		}
		return
	}
	w.consistent(s, production)
}

func TestRefusesAnotherTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	reg := registry.New(w.client, s.Model)
	if err := promote.Check(t.Context(), reg, s); err != nil {
		t.Errorf("nothing in production: %v", err)
	}
	w.trainAll(s)
	first := w.promote(s)
	if got := w.tag(s, first.Version, registry.TagOutcome); got != string(registry.Promoted) {
		t.Errorf("outcome of the first: %q, want %q", got, registry.Promoted)
	}
	if err := promote.Check(t.Context(), reg, s); err != nil {
		t.Errorf("the same spec: %v", err)
	}

	other := w.spec("positive: [male]", "positive: [female]", "{positive: male, negative: female}", "{positive: female, negative: male}")
	words := []string{`positive values "male" in production, "female" in the spec`, "another name under model:"}
	err := promote.Check(t.Context(), reg, other)
	if !errors.Is(err, promote.ErrRefused) {
		t.Fatalf("another target: %v, want ErrRefused", err)
	}
	contains(t, "before training", err.Error(), words...)
	w.refuse(other, []int{w.train(other, "shallow")}, first.Version, words...)
}

func TestRefusesAGuess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The year of a count says nothing of a penguin's sex.
	guess := w.spec("  - {category: species}\n", "", "  - {category: island}\n", "", "  - {number: bill_length_mm}\n", "",
		"  - {number: bill_depth_mm}\n", "", "  - {number: flipper_length_mm}\n", "", "{number: body_mass_g}", "{number: year}")
	w.refuse(guess, w.trainAll(guess), 0, "none of the 3 candidates", "better than chance", "95 % interval", "a guess has 0.5")

	good := w.spec()
	w.trainAll(good)
	if d := w.promote(good); !d.Promoted {
		t.Errorf("a good one after a guess: %+v, want it promoted", d)
	}
}
