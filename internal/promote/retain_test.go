package promote_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/history"
	"mlops/internal/mlflow"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

func TestRetentionDecides(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	old := now.Add(-100 * 24 * time.Hour)
	version := func(n int, change func(*registry.Version)) registry.Version {
		v := registry.Version{Name: "m", Number: n, RunID: string(rune('a' + n)), Training: "t" + string(rune('a'+n)), Outcome: registry.Lost, Created: old}
		if change != nil {
			change(&v)
		}
		return v
	}
	all := []registry.Version{
		version(1, func(v *registry.Version) { v.Outcome = registry.Replaced }),
		version(2, nil), // in production by the history alone
		version(3, nil), // goes
		version(4, func(v *registry.Version) { v.Training = "" }),
		version(5, nil), // has an alias
		version(6, func(v *registry.Version) { v.Outcome = registry.RolledBack }),
		version(7, func(v *registry.Version) { v.RunID = "shared" }),
		version(8, func(v *registry.Version) { v.Outcome = "" }), // goes: nobody decided on it, and a newer training came
		version(9, func(v *registry.Version) { v.Created = now.Add(-time.Hour) }),
		version(10, nil), // the newest of the others
		version(11, func(v *registry.Version) { v.Best, v.RunID = true, "shared" }),
		version(12, func(v *registry.Version) { v.Training = "newest" }),
	}
	got := map[int]string{}
	for _, f := range (promote.Retention{Newest: 1, Age: 30 * 24 * time.Hour}).Decide(all, map[int][]string{5: {"mine", "challenger"}, 11: {"production"}}, map[int]bool{2: true}, now) {
		got[f.Version.Number] = f.Kept
	}
	want := map[int]string{
		1: "was in production", 2: "was in production", 3: "", 4: "was not trained by a pipeline", 5: "has the alias challenger, mine",
		6: "was in production", 7: "has the run of version 11, which stays", 8: "", 9: "is younger than 30 days", 10: "is among the newest 1 others",
		11: "has the alias production", 12: "is of the newest training",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of five versions one may go; what a run that was killed had begun is ended by the next.
func TestRetain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := historyLog(t)
	poor, good, again := w.spec(weak...), w.spec(), w.spec("rounds: 300", "rounds: 301")
	reg := registry.New(w.client, good.Model)
	w.train(poor, "shallow")
	w.gate(poor, log)
	a, b := w.train(good, "shallow"), w.train(good, "medium")
	spare := a + b - w.gate(good, log).Version
	w.train(again, "shallow")
	w.gate(again, log)
	run, err := w.client.GetVersion(t.Context(), good.Model, spare)
	if err != nil {
		t.Fatal(err)
	}
	// The gate may have chosen it as the challenger, which is an alias.
	if err := reg.Unchallenge(t.Context()); err != nil {
		t.Fatal(err)
	}
	retain := func(remove bool) promote.Retained {
		t.Helper()
		got, err := promote.Retain(t.Context(), promote.RetainConfig{Registry: reg, History: log, Remove: remove, By: "ann", Now: time.Now(), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	events := func() (n int) {
		t.Helper()
		list, err := log.List(t.Context(), good.Model, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Kind == history.Removed {
				n++
				if e.By != "ann" || !strings.Contains(e.Why, "1 version (") || !strings.Contains(e.Why, "kB of artifacts") {
					t.Errorf("event %+v", e)
				}
			}
		}
		return n
	}
	dry := retain(false)
	if len(dry.Removed) != 1 || dry.Removed[0].Number != spare || dry.Bytes < 10_000 || dry.Done || events() != 0 {
		t.Fatalf("would remove %+v, want version %d; %d events", dry, spare, events())
	}
	if _, err := w.client.GetVersion(t.Context(), good.Model, spare); err != nil {
		t.Fatalf("a dry run removed version %d: %v", spare, err)
	}

	// Killed once the version and its artifacts were gone, before anybody knew.
	if _, err := reg.Remove(t.Context(), registry.Version{Name: good.Model, Number: spare, RunID: run.RunID}); err != nil {
		t.Fatal(err)
	}
	done := retain(true)
	if diff := cmp.Diff(dry.Removed, done.Removed); diff != "" || done.Bytes != dry.Bytes || !done.Done || events() != 1 {
		t.Errorf("removed (-want +got):\n%s; %d events", diff, events())
	}
	if _, err := w.client.GetVersion(t.Context(), good.Model, spare); !errors.Is(err, mlflow.ErrNotFound) {
		t.Errorf("version %d is still there: %v", spare, err)
	}
	if n, err := reg.Size(t.Context(), registry.Version{Number: spare, RunID: run.RunID}); err != nil || n != 0 {
		t.Errorf("%d bytes are left of version %d, %v", n, spare, err)
	}
	left, err := w.client.GetRun(t.Context(), run.RunID)
	if err != nil || left.Tags["retention"] != "removed" || left.Metrics["test_auc"] == 0 {
		t.Errorf("run %+v, %v; want its metrics, and what became of it", left.Tags, err)
	}
	if more := retain(true); len(more.Removed) != 0 || events() != 1 {
		t.Errorf("once more: %+v, %d events", more, events())
	}
	w.consistent(good, w.gate(again, log).Version)
}
