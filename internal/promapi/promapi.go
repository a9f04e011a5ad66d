// Package promapi asks a Prometheus over its HTTP API.
package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client asks the Prometheus at an address.
type Client struct {
	base string
	http *http.Client
}

// New returns a client of the Prometheus at base.
func New(base string, client *http.Client) *Client {
	return &Client{strings.TrimRight(base, "/"), client}
}

// Sample is a series' value at a moment.
type Sample struct {
	Labels map[string]string
	At     time.Time
	Value  float64
}

// Series has a value at each step at which Prometheus knows one.
type Series struct {
	Labels  map[string]string
	Samples []Sample // without Labels
}

// maxResponse bounds a response, in bytes.
const maxResponse = 16 << 20

// Instant evaluates an expression now. Its result must be a vector.
func (c *Client) Instant(ctx context.Context, expr string) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  point
		}
	}
	// Before the type of the result is known, its points can't be read.
	var kind struct{ ResultType string }
	var text json.RawMessage
	if err := c.ask(ctx, "/api/v1/query", url.Values{"query": {expr}}, &text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, fmt.Errorf("unreadable response of Prometheus: %w", err)
	}
	if kind.ResultType != "vector" {
		return nil, fmt.Errorf("the result is a %s, not a vector", kind.ResultType)
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, fmt.Errorf("unreadable response of Prometheus: %w", err)
	}
	var samples []Sample
	for _, r := range data.Result {
		samples = append(samples, Sample{r.Metric, r.Value.at, r.Value.value})
	}
	return samples, nil
}

// Range evaluates an expression at each step from a moment to another one.
func (c *Client) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Values []point
		}
	}
	form := url.Values{"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}}
	if err := c.ask(ctx, "/api/v1/query_range", form, &data); err != nil {
		return nil, err
	}
	var all []Series
	for _, r := range data.Result {
		s := Series{Labels: r.Metric}
		for _, p := range r.Values {
			s.Samples = append(s.Samples, Sample{At: p.at, Value: p.value})
		}
		all = append(all, s)
	}
	return all, nil
}

// Get reads the data of another part of the API, such as /api/v1/rules.
func (c *Client) Get(ctx context.Context, path string, data any) error {
	return c.ask(ctx, path, nil, data)
}

// ask sends a form, or gets a path without one, and reads the response's data.
func (c *Client) ask(ctx context.Context, path string, form url.Values, data any) error {
	method := http.MethodPost
	if form == nil {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no response in time from Prometheus at %s", c.base)
		}
		return fmt.Errorf("no response from Prometheus: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	if err != nil {
		return fmt.Errorf("reading Prometheus' response: %w", err)
	}
	if len(text) > maxResponse {
		return fmt.Errorf("a response from Prometheus of more than %d bytes", maxResponse)
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("unreadable response from Prometheus (%s): %w", res.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("refused by Prometheus: %s", answer.Error)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		return fmt.Errorf("unreadable response from Prometheus: %w", err)
	}
	return nil
}

// point is a moment in seconds and a value as text: [1700000000.5, "2.5"].
type point struct {
	at    time.Time
	value float64
}

func (p *point) UnmarshalJSON(text []byte) error {
	var seconds float64
	var value string
	pair := []any{&seconds, &value}
	if err := json.Unmarshal(text, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("the sample %s is not a moment and a value", text)
	}
	y, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("the sample %s is not a moment and a value", text)
	}
	p.at, p.value = time.UnixMilli(int64(seconds*1000+0.5)), y
	return nil
}

func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64) }
