package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// answerLimit is the most that is read of one answer of the inference server.
// A model with hundreds of columns and codes stays far below it.
const answerLimit = 8 << 20

// Model is what the inference server says of the model that it serves, the
// body of GET /model. The page knows the data set from nothing else.
type Model struct {
	Model     Version             `json:"model"`
	LoadedAt  time.Time           `json:"loaded_at"`  // when the server took it
	CreatedAt time.Time           `json:"created_at"` // when it was trained
	Threshold float64             `json:"threshold"`  // from this probability on, a record is labelled positive
	Metrics   map[string]*float64 `json:"metrics"`    // "<split>_<metric>"; null where undefined
	Dataset   Dataset             `json:"dataset"`
	Samples   []Sample            `json:"samples"`
	Refused   *Refusal            `json:"refused"` // a newer version that the server does not serve
}

// Version names a registered model's version.
type Version struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	RunID     string `json:"run_id"`
	Candidate string `json:"candidate,omitempty"`
}

// Dataset is the part of the data set's YAML that a form needs.
type Dataset struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Cite        string   `json:"cite"`
	Missing     []string `json:"missing"` // markers of a missing value, besides the empty field
	Target      struct {
		Column string `json:"column"`
		Labels struct {
			Positive string `json:"positive"`
			Negative string `json:"negative"`
		} `json:"labels"`
	} `json:"target"`
	Columns []Column `json:"columns"`
}

// Column is one column of the data set, in the table's order.
type Column struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`   // "category", "integer" or "number"
	Label  string   `json:"label"`  // for people; the name where empty
	Form   string   `json:"form"`   // the group it stands in; empty: not asked for
	Values []string `json:"values"` // usual values of a category; others are allowed
	Codes  []Code   `json:"codes"`  // usual codes of a category and their meaning
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
}

// Code is a coded value and what it means.
type Code struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

// Record is a row as the table has it: column name to text. Numbers and nulls
// are read as their text and as the empty field, which is a missing value.
type Record map[string]string

// UnmarshalJSON reads an object whose values are strings, numbers, booleans or null.
func (r *Record) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	*r = make(Record, len(fields))
	for name, raw := range fields {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			if text = string(raw); strings.ContainsAny(text[:1], "{[") {
				return fmt.Errorf("record: %s is neither a string nor a number", name)
			}
		}
		(*r)[name] = text
	}
	return nil
}

// Sample is a record of the table with the probability stored for it when the
// model was trained.
type Sample struct {
	Record      Record  `json:"record"`
	Probability float64 `json:"probability"`
}

// Refusal says why the server does not serve a newer version.
type Refusal struct {
	Version string    `json:"version"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Answer is the body of POST /predict.
type Answer struct {
	Model       Version `json:"model"`
	Predictions []struct {
		Label       int     `json:"label"`
		Probability float64 `json:"probability"`
	} `json:"predictions"`
}

// Problem is an error as application/problem+json says it (RFC 9457).
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError is what is wrong with one column's value.
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// inference is the client of the inference server. It keeps the last model it
// has seen, so that what somebody typed survives a server that is away.
type inference struct {
	base   *url.URL
	client *http.Client
	log    *slog.Logger

	mu   sync.Mutex
	last *Model // nil before the first
	away bool   // it did not answer when last asked
}

// do sends a request and returns the whole answer, whatever its status is. The
// error is a *Problem with status 502 where there is no answer.
func (c *inference) do(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, []byte, error) {
	resp, data, err := c.exchange(ctx, method, path, contentType, body)
	if err != nil && ctx.Err() != nil {
		return nil, nil, fmt.Errorf("asking the inference server for %s: %w", path, ctx.Err()) // the reader left; it says nothing of the server
	}

	// Pages ask every few seconds: only a change is worth a line.
	c.mu.Lock()
	changed := c.away != (err != nil)
	c.away = err != nil
	c.mu.Unlock()
	if err != nil {
		if changed {
			c.log.Warn("inference does not answer", "url", c.base.String(), "err", err)
		}
		return nil, nil, &Problem{
			Type:   "about:blank",
			Title:  "The inference server does not answer",
			Status: http.StatusBadGateway,
			Detail: "It may be starting, restarting or busy.",
		}
	}
	if changed {
		c.log.Info("inference answers again", "url", c.base.String())
	}
	return resp, data, nil
}

func (c *inference) exchange(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > answerLimit {
		return nil, nil, fmt.Errorf("the answer to %s is over %d bytes", path, answerLimit)
	}
	return resp, data, nil
}

// Model asks for the model in service. The error is a *Problem: 503 where there
// is no model yet, 502 where the server does not answer or not as agreed.
func (c *inference) Model(ctx context.Context) (*Model, error) {
	resp, data, err := c.do(ctx, http.MethodGet, "/model", "", nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, problemOf(resp.StatusCode, data)
	}
	var m Model
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, c.misread("/model", err)
	}
	if len(m.Dataset.Columns) == 0 {
		return nil, c.misread("/model", errors.New("it names no columns"))
	}
	c.mu.Lock()
	c.last = &m
	c.mu.Unlock()
	return &m, nil
}

// Last returns the model that was last seen, or nil.
func (c *inference) Last() *Model {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Predict scores one record. The error is a *Problem.
func (c *inference) Predict(ctx context.Context, r Record) (*Answer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the record: %w", err)
	}
	resp, data, err := c.do(ctx, http.MethodPost, "/predict", "application/json", body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, problemOf(resp.StatusCode, data)
	}
	var a Answer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, c.misread("/predict", err)
	}
	if len(a.Predictions) != 1 {
		return nil, c.misread("/predict", fmt.Errorf("%d predictions for one record", len(a.Predictions)))
	}
	return &a, nil
}

// misread logs an answer that is not as agreed and returns what the reader is told.
func (c *inference) misread(path string, err error) *Problem {
	c.log.Error("the inference server's answer can't be read", "path", path, "err", err)
	return &Problem{
		Type:   "about:blank",
		Title:  "The inference server's answer can't be read",
		Status: http.StatusBadGateway,
		Detail: "It and this page may be of different versions; the log says more.",
	}
}

// problemOf reads an answer that is an error. One that is not problem+json
// (a proxy's, say) keeps its status and nothing else.
func problemOf(status int, data []byte) *Problem {
	var p Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Title+p.Detail == "" {
		p = Problem{Type: "about:blank", Title: "The inference server answered with an error", Detail: http.StatusText(status)}
	}
	if p.Title == "" {
		p.Title = http.StatusText(status)
	}
	p.Status = status
	return &p
}
