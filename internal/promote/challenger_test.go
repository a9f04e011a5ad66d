package promote_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mlops/internal/history"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// TestChallenger: the gate gives the alias to the best candidate that it did not promote,
// with a signature that is not good for production; somebody's choice stands until it
// is in production.
func TestChallenger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, log := t.Context(), historyLog(t)
	signer, trusted := key(t)
	s := w.spec()
	reg := registry.New(w.client, s.Model)
	challenge := func(version int) (history.Event, error) {
		return promote.Challenge(ctx, promote.ChallengeConfig{
			Registry: reg, History: log, Signer: signer, Trusted: trusted, Version: version, Why: "a test", By: "ann", Log: quiet(),
		})
	}
	gate := func() promote.Decision {
		t.Helper()
		d, err := promote.Run(ctx, promote.Config{
			Spec: s, DataDigest: digest, Rows: w.rows(s), Registry: reg, Log: quiet(), Signer: signer, Trusted: trusted, History: log, By: "a workflow",
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	is := func(want int) registry.Version {
		t.Helper()
		v, err := reg.Challenger(ctx)
		if err != nil && !errors.Is(err, registry.ErrNoChallenger) || v.Number != want {
			t.Fatalf("challenger is version %d (%v), want %d", v.Number, err, want)
		}
		return v
	}
	refused := func(version int, words ...string) {
		t.Helper()
		_, err := challenge(version)
		if !errors.Is(err, promote.ErrRefused) {
			t.Fatalf("version %d: %v, want it refused", version, err)
		}
		contains(t, "error", err.Error(), words...)
	}
	refused(1, "no version of", "nothing to compare with")

	// Alone, a candidate has no challenger.
	w.train(s, s.Candidates[0].Name)
	first := gate()
	is(0)
	refused(0, "has no challenger")
	refused(first.Version, "is in production")
	refused(99, "has no version 99")

	others := w.trainAll(s)[1:] // the first of them was trained before
	d := gate()
	rest := append([]int{first.Version}, others...)
	var best *history.Rival
	events, err := log.List(ctx, s.Model, 1)
	if err != nil || len(events) != 1 || events[0].Figures == nil || events[0].Figures.Rival == nil {
		t.Fatalf("events %+v: %v, want one with the best of the others", events, err)
	}
	best = events[0].Figures.Rival
	v := is(best.Version)
	if best.Version == d.Version || !strings.Contains(fmt.Sprint(rest), fmt.Sprint(best.Version)) {
		t.Errorf("version %d is the challenger of %d, of %v", best.Version, d.Version, rest)
	}
	if f := events[0].Figures; len(f.ToInterval) != 2 || !(f.ToInterval[0] < *f.To && *f.To < f.ToInterval[1]) || len(best.Interval) != 2 || !(best.Interval[0] < best.Value && best.Value < best.Interval[1]) {
		t.Errorf("figures %+v, rival %+v: want values within their intervals", f, best)
	}
	_, subject, err := reg.Open(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Comparable(trusted, subject); err != nil {
		t.Errorf("the challenger can't be compared: %v", err)
	}
	if trusted.Verify(subject, v.Signature) == nil || trusted.Verify(subject, v.Compared) == nil {
		t.Error("the challenger's signature is good for production")
	}

	// Somebody chooses another one: the gate leaves it.
	var chosen int
	for _, n := range rest {
		if n != d.Version && n != best.Version {
			chosen = n
		}
	}
	e, err := challenge(chosen)
	if err != nil || e.Kind != history.Challenged || e.To != d.Version {
		t.Fatalf("%+v: %v", e, err)
	}
	v = is(chosen)
	if _, subject, err = reg.Open(ctx, v); err != nil || v.Comparable(trusted, subject) != nil {
		t.Errorf("what somebody chose can't be compared: %v, %v", err, v.Comparable(trusted, subject))
	}
	gate()
	is(chosen)
	// Once it is in production, the gate chooses again.
	if err := reg.Promote(ctx, v); err != nil {
		t.Fatal(err)
	}
	if err := reg.Pin(ctx, "a test"); err != nil { // whatever is better
		t.Fatal(err)
	}
	d = gate()
	now, err := reg.Challenger(ctx)
	if err != nil || now.Number == d.Version {
		t.Errorf("challenger is version %d (%v), in production is %d", now.Number, err, d.Version)
	}
	if why, err := reg.Chosen(ctx); err != nil || why != "" {
		t.Errorf("chosen because %q (%v), though the gate chose", why, err)
	}
	if e, err := challenge(0); err != nil || e.Kind != history.Unchallenged {
		t.Errorf("%+v: %v", e, err)
	}
	is(0)
	gate()
	is(now.Number)
}
