package page

import (
	"context"
	"math"
	"time"

	"mlops/internal/promapi"
	"mlops/internal/recent"
)

// prometheusSource asks a Prometheus: only expressions of the dashboards, never one that a
// visitor sends.
type prometheusSource struct{ *promapi.Client }

func (p prometheusSource) lines(ctx context.Context, expr string, times []time.Time) ([]recent.Line, error) {
	first, last := times[0], times[len(times)-1]
	step := times[1].Sub(first)
	series, err := p.Range(ctx, expr, first, last, step)
	if err != nil {
		return nil, err
	}
	var lines []recent.Line
	for _, s := range series {
		l := recent.Line{Labels: s.Labels, Values: make([]float64, len(times))}
		for k := range l.Values {
			l.Values[k] = math.NaN()
		}
		for _, v := range s.Samples {
			if k := int(math.Round(v.At.Sub(first).Seconds() / step.Seconds())); k >= 0 && k < len(times) {
				l.Values[k] = v.Value
			}
		}
		lines = append(lines, l)
	}
	return lines, nil
}
