package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mlops/internal/recent"
)

// prometheusAPI asks a Prometheus over its HTTP API: only expressions of the dashboards,
// never one that a visitor sends.
type prometheusAPI struct {
	base   string
	client *http.Client
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 8 << 20

func (p *prometheusAPI) lines(ctx context.Context, expr string, times []time.Time) ([]recent.Line, error) {
	first, last := times[0], times[len(times)-1]
	step := times[1].Sub(first)
	form := url.Values{"query": {expr}, "start": {stamp(first)}, "end": {stamp(last)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/api/v1/query_range", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := p.client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("no answer in time from Prometheus at %s", p.base)
		}
		return nil, fmt.Errorf("no response from Prometheus: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading Prometheus' answer: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("an answer from Prometheus of more than %d bytes", maxAnswer)
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric recent.Labels
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("unreadable answer from Prometheus (%s): %w", res.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("expression refused by Prometheus: %s", answer.Error)
	}
	var lines []recent.Line
	for _, r := range answer.Data.Result {
		l := recent.Line{Labels: r.Metric, Values: make([]float64, len(times))}
		for k := range l.Values {
			l.Values[k] = math.NaN()
		}
		for _, v := range r.Values {
			at, ok := v[0].(float64)
			text, isText := v[1].(string)
			y, err := strconv.ParseFloat(text, 64)
			if !ok || !isText || err != nil {
				return nil, fmt.Errorf("unreadable sample from Prometheus: %v", v)
			}
			if k := int(math.Round((at - float64(first.UnixMilli())/1e3) / step.Seconds())); k >= 0 && k < len(times) {
				l.Values[k] = y
			}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64) }
