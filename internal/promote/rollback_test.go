package promote_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/history"
	"mlops/internal/postgres"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// historyLog is the history in the test's Postgres.
func historyLog(t *testing.T) *history.Log {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	session := postgres.NewSession(postgres.Config{ConnString: url}, "postgres", "", quiet())
	t.Cleanup(session.Close)
	return history.New(session)
}

// gate runs the gate with a history.
func (w *world) gate(s *dataset.Spec, log *history.Log) promote.Decision {
	w.t.Helper()
	d, err := promote.Run(w.t.Context(), promote.Config{
		Spec: s, DataDigest: digest, Rows: w.rows(s), Registry: registry.New(w.client, s.Model),
		History: log, By: "test", Log: quiet(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.consistent(s, d.Version)
	return d
}

// Three versions are promoted one after the other and rolled back; a pipeline
// doesn't undo it, a new training does.
func TestRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := historyLog(t)
	poor, good := w.spec(weak...), w.spec()
	reg := registry.New(w.client, good.Model)
	gate := func(s *dataset.Spec) promote.Decision { return w.gate(s, log) }
	back := func(to int) (history.Event, error) {
		return promote.Rollback(t.Context(), promote.RollbackConfig{Registry: reg, History: log, To: to, Why: "complaints", By: "ann", Log: quiet()})
	}
	refused := func(to int, words ...string) {
		t.Helper()
		_, err := back(to)
		if !errors.Is(err, promote.ErrRefused) {
			t.Fatalf("rollback to %d: %v, want ErrRefused", to, err)
		}
		contains(t, "error", err.Error(), words...)
	}
	refused(0, "no version of", "nothing to roll back")
	first := w.train(poor, "shallow")
	gate(poor)
	refused(0, "is the first in production", "no other version was ever in production")
	never := w.train(good, "shallow") // the better one of the two is promoted
	second := w.train(good, "medium")
	if d := gate(good); d.Version != second {
		never, second = second, never
	}
	refused(second, "is in production already", fmt.Sprint("earlier in production were ", first))
	refused(never, "was never in production")
	refused(99, "has no version 99")

	e, err := back(0)
	if err != nil || e.From != second || e.To != first {
		t.Fatalf("rolled back %d → %d, %v; want %d → %d", e.From, e.To, err, second, first)
	}
	// The server reads what happened from the run of the version in production.
	v, err := reg.Production(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := reg.Events(t.Context(), v)
	if err != nil || v.Number != first || left.Model != good.Model || left.Total != 3 || len(left.Events) != 3 ||
		left.Events[0].Kind != string(history.RolledBack) || left.Events[0].Why != "complaints" || left.Events[0].By != "ann" ||
		len(left.Events[1].Figures.ToInterval) != 2 || left.Events[2].To != first {
		t.Errorf("version %d has the history %+v, %v", v.Number, left, err)
	}
	if other, err := w.client.GetVersion(t.Context(), good.Model, never); err != nil {
		t.Error(err)
	} else if _, err := reg.Events(t.Context(), registry.Version{Name: good.Model, Number: never, RunID: other.RunID}); !errors.Is(err, registry.ErrNoEvents) {
		t.Errorf("history of a version that was never in production: %v, want ErrNoEvents", err)
	}
	if text, err := reg.Card(t.Context(), v); err != nil || !strings.Contains(string(text), `"heading": "Figures"`) {
		t.Errorf("card %s, %v", text, err)
	}
	w.consistent(good, first)
	if got := w.tag(good, second, registry.TagOutcome); got != string(registry.RolledBack) {
		t.Errorf("outcome of version %d: %q", second, got)
	}
	if v, err := w.client.GetAlias(t.Context(), good.Model, registry.Previous); err == nil {
		t.Errorf("the alias previous names version %d, want none: the first replaced none", v.Number)
	}
	refused(0, "is the first in production", fmt.Sprint("earlier in production were ", second))

	// The pipeline finds what was rolled back and another that is better than the first.
	if d := gate(good); d.Version == second {
		t.Fatalf("the pipeline undid the rollback: %s", d.Reason)
	}
	if _, err := back(second); err != nil {
		t.Fatal(err)
	}
	w.consistent(good, second)
	if got := w.tag(good, second, registry.TagOutcome); got != string(registry.Promoted) {
		t.Errorf("outcome of version %d, put back: %q", second, got)
	}

	// Reasons are bounded, and blank ones are none.
	for why, want := range map[string]string{strings.Repeat("w", 1001): "why has 1,001 characters; the history keeps 1,000", " \n": "say why"} {
		if _, err := promote.Pin(t.Context(), reg, log, quiet(), why, "ann"); !errors.Is(err, promote.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("pinned for %.5q: %v, want %q", why, err, want)
		}
	}

	// Pinned, nothing moves; unpinned, a new training does.
	if _, err := promote.Pin(t.Context(), reg, log, quiet(), "", "ann"); !errors.Is(err, promote.ErrRefused) {
		t.Errorf("unpinned what is not pinned: %v", err)
	}
	if _, err := back(first); err != nil {
		t.Fatal(err)
	}
	if _, err := promote.Pin(t.Context(), reg, log, quiet(), "an audit\n\x1b[2J", "ann\n"); err != nil {
		t.Fatal(err)
	}
	again := w.spec("rounds: 300", "rounds: 301")
	third := w.train(again, "medium")
	if d := gate(again); d.Version != first {
		t.Errorf("promoted version %d while version %d was pinned: %s", d.Version, first, d.Reason)
	}
	if _, err := promote.Pin(t.Context(), reg, log, quiet(), "", "ann"); err != nil {
		t.Fatal(err)
	}
	if d := gate(again); d.Version != third {
		t.Errorf("version %d in production, want %d, of a new training: %s", d.Version, third, d.Reason)
	}

	events, err := log.List(t.Context(), good.Model, 0)
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Kind     history.Kind
		From, To int
		By       string
	}
	var got []line
	for i := len(events) - 1; i >= 0; i-- {
		got = append(got, line{events[i].Kind, events[i].From, events[i].To, events[i].By})
		if events[i].Why == "" {
			t.Errorf("event %+v says no why", events[i])
		}
	}
	want := []line{
		{history.Promoted, 0, first, "test"},
		{history.Promoted, first, second, "test"},
		{history.RolledBack, second, first, "ann"},
		{history.Kept, first, first, "test"}, // nor another of that training
		{history.RolledBack, first, second, "ann"},
		{history.RolledBack, second, first, "ann"},
		{history.Pinned, first, first, "ann"},
		{history.Kept, first, first, "test"},
		{history.Unpinned, first, first, "ann"},
		{history.Promoted, first, third, "test"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if got, want := events[3].Why, `an audit \x1b[2J`; got != want {
		t.Errorf("the pin's reason is %q, want %q", got, want)
	}
	if f := events[0].Figures; f == nil || f.Metric != "auc" || f.Rows < 10 || f.From == nil || f.To == nil || *f.To <= *f.From {
		t.Errorf("figures of the last promotion: %+v", f)
	}
}

// A rollback that is killed after the alias moved is ended by the next try.
func TestRollbackIsEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := historyLog(t)
	poor, good := w.spec(weak...), w.spec()
	first := w.train(poor, "shallow")
	w.promote(poor)
	second := w.train(good, "medium")
	w.promote(good)
	e := history.Event{Model: good.Model, Kind: history.RolledBack, By: "ann", From: second, To: first, Why: "complaints"}
	if err := log.Announce(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := w.client.SetAlias(t.Context(), good.Model, registry.Production, first); err != nil {
		t.Fatal(err)
	}
	again, err := promote.Rollback(t.Context(), promote.RollbackConfig{Registry: registry.New(w.client, good.Model), History: log, Why: "complaints", By: "ann", Log: quiet()})
	if err != nil || again.From != second || again.To != first {
		t.Errorf("the second try: %+v, %v", again, err)
	}
	w.consistent(good, first)
	if got := w.tag(good, first, registry.TagOutcome); got != string(registry.Promoted) {
		t.Errorf("outcome of version %d: %q", first, got)
	}
	events, err := log.List(t.Context(), good.Model, 0)
	if err != nil || len(events) != 1 || events[0].Kind != history.RolledBack {
		t.Errorf("history %+v, %v, want the rollback", events, err)
	}
}

// Whoever moves the alias in MLflow to an earlier version means it too.
func TestMovedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := historyLog(t)
	poor, good := w.spec(weak...), w.spec()
	gate := func(s *dataset.Spec) promote.Decision { return w.gate(s, log) }
	first := w.train(poor, "shallow")
	gate(poor)
	second := w.train(good, "medium")
	gate(good)
	if err := w.client.SetAlias(t.Context(), good.Model, registry.Production, first); err != nil {
		t.Fatal(err)
	}
	if d := gate(good); d.Version != first {
		t.Errorf("the pipeline put version %d back: %s", d.Version, d.Reason)
	}
	w.consistent(good, first)
	if got := w.tag(good, second, registry.TagOutcome); got != string(registry.RolledBack) {
		t.Errorf("outcome of version %d: %q", second, got)
	}
	events, err := log.List(t.Context(), good.Model, 0)
	if err != nil || len(events) != 4 || events[1].Kind != history.Moved || events[1].From != second || events[1].To != first {
		t.Errorf("history %+v, %v, want that the alias was moved", events, err)
	}
}
