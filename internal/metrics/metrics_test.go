package metrics

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// The reference lists every metric of both servers, and nothing else.
func TestReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	inference := NewInference()
	zero := func() int64 { return 0 }
	inference.WatchQueue("small", zero, zero)
	inference.WatchRejections("queue", zero)
	inference.WatchBodies(zero)
	inference.WatchRefused(zero)
	inference.WatchEarlier(zero, zero, zero, func() float64 { return 0 }, zero)
	inference.Asked.WithLabelValues("answered")
	inference.WatchConnections(zero, zero, zero)
	inference.Requests.WithLabelValues("h", "200")
	inference.Problems.WithLabelValues("h", "t")
	inference.Duration.WithLabelValues("h")
	inference.Predicted("1")
	inference.Warnings.WithLabelValues("c", "missing")
	inference.Excluded.WithLabelValues("r")
	inference.Scores("1")
	inference.ModelInfo.WithLabelValues("n", "1", "r")
	challenger := inference.NewChallenger(zero)
	challenger.Info.WithLabelValues("n", "1", "r")
	challenger.Records.WithLabelValues("compared")
	challenger.Agreements.WithLabelValues("true")
	page := NewPage()
	page.WatchConnections(zero, zero, zero)
	page.WatchSchedules(func() []Schedule {
		return []Schedule{{"w", "", func(t time.Time) time.Time { return t.Add(time.Hour) }}}
	})
	certificates := t.TempDir()
	if err := os.Mkdir(filepath.Join(certificates, "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certificates, "c", "tls.crt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	page.WatchCertificates(certificates, slog.New(slog.DiscardHandler))
	page.Requests.WithLabelValues("h", "200")
	page.Duration.WithLabelValues("h")
	for _, keys := range []*Keys{inference.Keys, page.Keys} {
		keys.Requests.WithLabelValues("k")
		keys.Refused.WithLabelValues("rate", "k")
	}
	load := NewLoadTest(func() *LoadTestStatus { return &LoadTestStatus{Targets: []LoadTestTarget{{Name: "t"}}} })
	for heading, s := range map[string]set{"## Inference server": inference.set, "## Web page": page.set, "## Load tester": load.set} {
		want := table(t, s)
		_, after, found := strings.Cut(string(text), heading+"\n")
		if !found {
			t.Errorf("the reference has no heading %q", heading)
			continue
		}
		section, _, _ := strings.Cut(after, "\n## ")
		var got []string
		for line := range strings.Lines(section) {
			if strings.HasPrefix(line, "| `") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("rows below %q (-want +got); paste these:\n%s\n%s", heading, strings.Join(want, "\n"), diff)
		}
	}
}

// table is a set's metrics as rows of the reference, by name.
func table(t *testing.T, s set) []string {
	t.Helper()
	families, err := s.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "mlops_") {
			continue
		}
		kind := strings.ToLower(f.GetType().String())
		if (kind == "counter") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, kind)
		}
		labels := []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", name, kind, cmp.Or(strings.Join(labels, ", "), "-"), f.GetHelp()))
	}
	slices.Sort(rows)
	return rows
}
