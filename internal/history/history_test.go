package history_test

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"mlops/internal/history"
	"mlops/internal/postgres"
)

func open(t *testing.T) *history.Log {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	session := postgres.NewSession(postgres.Config{ConnString: url}, "postgres", "", slog.New(slog.DiscardHandler))
	t.Cleanup(session.Close)
	return history.New(session)
}

func kinds(t *testing.T, l *history.Log, model string) (kinds []history.Kind) {
	t.Helper()
	events, err := l.List(t.Context(), model, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func model() string { return fmt.Sprintf("model-%d", time.Now().UnixNano()) }

func TestAnnouncedIsNotYetHistory(t *testing.T) {
	l, m := open(t), model()
	e := history.Event{Model: m, Kind: history.Promoted, By: "test", From: 1, To: 2, Why: "better"}
	if err := l.Announce(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got := kinds(t, l, m); len(got) != 0 {
		t.Errorf("announced only: %v", got)
	}
	// It did not happen: version 1 is still in production.
	if got, err := l.Settle(t.Context(), m, 1); err != nil || got != nil {
		t.Errorf("settled %+v, %v, want nothing", got, err)
	}
	if got, err := l.Settle(t.Context(), m, 2); err != nil || got != nil {
		t.Errorf("settled %+v, %v, what was dropped before", got, err)
	}
	if err := l.Announce(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := l.Announce(t.Context(), e); err != nil { // a second try
		t.Fatal(err)
	}
	got, err := l.Settle(t.Context(), m, 2)
	if err != nil || got == nil || got.From != 1 || got.To != 2 || got.Why != "better" || got.By != "test" || got.At.IsZero() {
		t.Errorf("settled %+v, %v", got, err)
	}
	if got := kinds(t, l, m); len(got) != 1 || got[0] != history.Promoted {
		t.Errorf("history %v, want one promotion", got)
	}
}

func TestTheSameIsSaidOnce(t *testing.T) {
	l, m := open(t), model()
	auc := 0.7
	e := history.Event{Model: m, Kind: history.Kept, By: "test", From: 1, To: 1, Why: "still the best", Figures: &history.Figures{Metric: "auc", Rows: 9, From: &auc}}
	for _, why := range []string{"still the best", "still the best", "a better one is pinned", "still the best"} {
		e.Why = why
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	events, err := l.List(t.Context(), m, 2)
	if err != nil || len(events) != 2 || events[1].Why != "a better one is pinned" {
		t.Fatalf("the last two: %+v, %v", events, err)
	}
	if f := events[0].Figures; f == nil || f.Metric != "auc" || f.Rows != 9 || f.From == nil || *f.From != auc || f.To != nil {
		t.Errorf("figures %+v", f)
	}
	if got := kinds(t, l, m); len(got) != 3 {
		t.Errorf("history %v, want 3 events", got)
	}
}

// Many that find no table make it once.
func TestMadeOnce(t *testing.T) {
	var group sync.WaitGroup
	for range 8 {
		l, m := open(t), model()
		group.Go(func() {
			if err := l.Add(t.Context(), history.Event{Model: m, Kind: history.Kept, By: "test", Why: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
