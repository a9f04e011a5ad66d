//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mlops/internal/progress"
	"mlops/internal/registry"
)

// testRollback puts a version that was in production back and the first one again,
// each time by make rollback. A pipeline's gate in between undoes nothing.
func testRollback(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	client := stepsClient(t, r)
	before := served(t, inference)
	name := before.Model.Name
	first := before.Model.Number
	versions, err := client.SearchVersions(t.Context(), "name='"+name+"'", nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	other := 0
	for _, v := range versions {
		if fmt.Sprint(v.Number) != first {
			other = v.Number
		}
	}
	// It was in production: the release has promoted only one.
	sign(t, r, client, name, other)
	if err := client.SetVersionTag(t.Context(), name, other, registry.TagOutcome, string(registry.Replaced)); err != nil {
		t.Fatal(err)
	}
	inProduction := func(want string) {
		t.Helper()
		eventually(t, 2*time.Second, func() error {
			if view := served(t, inference); view.Model.Number != want {
				return fmt.Errorf("version %s is served, want %s", view.Model.Number, want)
			}
			return nil
		})
	}
	said := m.must(t, []string{"ON=cluster", "WHY=complaints", fmt.Sprint("TO=", other)}, "make", "rollback")
	if want := fmt.Sprintf("version %d of %s is in production", other, name); !strings.Contains(said, want) {
		t.Errorf("make rollback said %q, want %q in it", tail(said), want)
	}
	inProduction(fmt.Sprint(other))
	workflow, err := r.Submit(t.Context(), "promote-after-rollback-", "promote-best-model", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Follow(t.Context(), workflow, func(progress.Event) {}); err != nil {
		t.Fatal(err)
	}
	if view := served(t, inference); view.Model.Number == first {
		t.Errorf("the gate put version %s back, which was rolled back", first)
	}
	m.must(t, []string{"ON=cluster", "WHY=all is well", "TO=" + first}, "make", "rollback")
	inProduction(first)
	if out, err := m.run(t, []string{"ON=cluster", "WHY=again", "TO=" + first}, "make", "rollback"); err == nil || !strings.Contains(out, "is in production already") {
		t.Errorf("rolled back to what is in production: %v\n%s", err, tail(out))
	}
	m.must(t, []string{"ON=cluster", "WHY=a second look", fmt.Sprint("VERSION=", other)}, "make", "challenge")
	if v, err := client.GetAlias(t.Context(), name, registry.Challenger); err != nil || v.Number != other {
		t.Errorf("version %d is compared, %v; want %d", v.Number, err, other)
	}
	m.must(t, []string{"ON=cluster", "OFF=1"}, "make", "challenge")
	m.must(t, []string{"ON=cluster", "WHY=an audit"}, "make", "pin")
	m.must(t, []string{"ON=cluster", "OFF=1"}, "make", "pin")
	history := m.must(t, []string{"ON=cluster"}, "make", "history")
	t.Log(history)
	rest := history // the newest first
	for _, words := range []string{"unpinned", "was pinned: an audit", "pinned", "an audit", "rolled back", "all is well", "rolled back", "complaints", "promoted"} {
		_, after, found := strings.Cut(rest, words)
		if !found {
			t.Errorf("the history lacks %q where it belongs:\n%s", words, history)
			break
		}
		rest = after
	}
}
