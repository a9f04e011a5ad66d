package serve

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mlops/dashboards/board"
)

// Every metric that the dashboards of the server ask for is one that it has, with the
// labels they ask by. Those of other programs are in the reference, which a test of package
// metrics writes.
func TestDashboardsAskForWhatIsThere(t *testing.T) {
	s, _ := serving(t, 1)
	zero := func() int64 { return 0 }
	s.metrics.WatchConnections(zero, zero, zero)
	predict(t, s, "{}")
	reference, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	there := ask(s, http.MethodGet, "/metrics", "").Body.String()
	metrics := regexp.MustCompile(`\b(?:mlops|process|go)_[a-z_]+`)
	labels := regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
	asked := 0
	for _, e := range board.Expressions(time.Minute) {
		if strings.Contains(e.Query, "argo_workflows_") {
			continue // from Argo's controller; package chart looks at the workflows
		}
		names := metrics.FindAllString(e.Query, -1)
		if e.Dashboard != "Serving" && e.Dashboard != "Model" {
			for _, name := range names {
				if own := strings.TrimSuffix(name, "_bucket"); strings.HasPrefix(own, "mlops_") && !strings.Contains(string(reference), "`"+own+"`") {
					t.Errorf("%s: no program has %s", e, own)
				}
			}
			continue
		}
		asked++
		if len(names) == 0 {
			t.Errorf("%s asks for nothing", e)
		}
		var all []string
		for _, name := range names {
			series := regexp.MustCompile(`(?m)^` + name + `(?:\{.*\})? .+$`).FindString(there)
			if series == "" {
				t.Errorf("%s: the server has no %s", e, name)
			}
			all = append(all, series)
		}
		for _, list := range labels.FindAllStringSubmatch(e.Query, -1) {
			for label := range strings.SplitSeq(list[1], ", ") {
				lacks := func(series string) bool { return !strings.Contains(series, label+`="`) }
				// Of series that are joined, one brings the label.
				if joined := strings.Contains(e.Query, " on ("); slices.ContainsFunc(all, lacks) && (!joined || !slices.ContainsFunc(all, func(s string) bool { return !lacks(s) })) {
					t.Errorf("%s: %q have no label %s", e, all, label)
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d expressions ask this server", asked)
	}
}
