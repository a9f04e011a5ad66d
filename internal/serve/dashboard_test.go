package serve

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"mlops/dashboards/board"
)

// Every metric that a dashboard asks for is one that this server has, with the
// labels it asks by.
func TestDashboardsAskForWhatIsThere(t *testing.T) {
	s, _ := serving(t, 1)
	predict(t, s, "{}")
	there := ask(s, http.MethodGet, "/metrics", "").Body.String()
	metrics := regexp.MustCompile(`\b(?:mlops|process|go)_[a-z_]+`)
	labels := regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
	for _, e := range board.Expressions(time.Minute) {
		if strings.Contains(e.Query, "argo_workflows_") {
			continue // from Argo's controller; package chart looks at the workflows
		}
		names := metrics.FindAllString(e.Query, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing", e)
		}
		for _, name := range names {
			series := regexp.MustCompile(`(?m)^` + name + `(?:\{.*\})? .+$`).FindString(there)
			if series == "" {
				t.Errorf("%s: the server has no %s", e, name)
			}
			for _, list := range labels.FindAllStringSubmatch(e.Query, -1) {
				for label := range strings.SplitSeq(list[1], ", ") {
					if !strings.Contains(series, label+`="`) {
						t.Errorf("%s: %s has no label %s", e, series, label)
					}
				}
			}
		}
	}
}
