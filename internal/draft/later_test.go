package draft_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// A draft that splits by time leaves out features of that time which tell later rows worse,
// and says how to use them; it keeps them where the last rows are like the next.
func TestFeaturesOfTheTime(t *testing.T) {
	t.Parallel()
	wind := func(i int) int { return draw(i, 2, 90) }
	walk := make([]float64, 2000)
	for i := 1; i < len(walk); i++ {
		walk[i] = walk[i-1] + float64(draw(i, 7, 200)-100)/50
	}
	at := func(i int) time.Time { return time.Date(2023, 2, 1, 4*i, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		why     string
		cell    func(i int) string
		target  func(i int) float64
		by      string
		out, in []string // lines of the YAML, without the indentation
	}{
		{"each month has a level of its own", func(i int) string { return at(i).Format("2006-01-02T15:04") }, func(i int) float64 {
			return 0.2*float64(wind(i)) + 20*math.Sin(float64(at(i).Hour())/4) + float64(draw(int(at(i).Month()), 3, 12))
		}, "at", []string{"- {days_from: at, to: 2000-01-01}"}, []string{"- {date: at, part: hour}", "- {date: at, part: weekday}"}},
		{"a walk stays near where it was", func(i int) string { return at(i).Format("2006-01-02T15:04") }, func(i int) float64 { return walk[i] }, "at",
			[]string{"- {date: at, part: month}"}, []string{"- {days_from: at, to: 2000-01-01}", "- {date: at, part: hour}"}},
		{"by a hash", func(i int) string { return at(i).Format("2006-01-02T15:04") }, func(i int) float64 {
			return 0.2*float64(wind(i)) + float64(draw(int(at(i).Month()), 3, 12))
		}, draft.ByHash, nil, []string{"- {date: at, part: month}", "- {days_from: at, to: 2000-01-01}"}},
		{"each year is unlike the one before", func(i int) string { return fmt.Sprint(1980 + i/50) }, func(i int) float64 {
			return 0.2*float64(wind(i)) + float64(12*(i/50%2))
		}, "at", []string{"- {number: at}"}, []string{"- {number: wind}"}},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "at,wind,load\n"+rows(2000, func(i int) string {
			return fmt.Sprintf("%s,%d,%.3f", c.cell(i), wind(i), c.target(i))
		})), draft.Options{Target: "load", Task: dataset.Regression, SplitBy: c.by})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		text := string(d.YAML)
		const said = "left out of the features: "
		if got := slices.ContainsFunc(d.Profile.Warnings, func(w string) bool { return strings.Contains(w, said) }); got != (c.out != nil) {
			t.Errorf("%s: the warnings have %q: %v\n%s", c.why, said, got, d.Summary())
		}
		for _, l := range c.out {
			if !strings.Contains(text, "\n  # "+l+"\n") {
				t.Errorf("%s: no comment with %s\n%s", c.why, l, text)
			}
		}
		for _, l := range c.in {
			if !strings.Contains(text, "\n  "+l) {
				t.Errorf("%s: no feature %s\n%s", c.why, l, text)
			}
		}
		if _, err := dataset.Parse([]byte(strings.ReplaceAll(text, "\n  # - {", "\n  - {"))); err != nil {
			t.Errorf("%s: with all features: %v", c.why, err)
		}
	}
}
