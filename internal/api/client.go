package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	defaultTimeout = 15 * time.Second // of a client that is not given an http.Client
	maxResponse    = 16 << 20         // bytes read of a response
)

// Client talks to the inference server at a base URL.
type Client struct {
	base   string
	key    string
	accept string
	http   *http.Client
}

// NewClient returns a client of the server at base, such as
// http://localhost:8000. Without an http.Client, requests end after 15 seconds.
func NewClient(base string, client *http.Client) *Client {
	if client == nil {
		client = &http.Client{Timeout: defaultTimeout}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: client}
}

// WithKey returns a client that sends an API key with each request; empty: none.
func (c *Client) WithKey(key string) *Client {
	with := *c
	with.key = key
	return &with
}

// Accepting returns a client that asks for responses of these media types; empty: of any.
func (c *Client) Accepting(accept string) *Client {
	with := *c
	with.accept = accept
	return &with
}

// Base returns the server's base URL, without a slash at its end.
func (c *Client) Base() string { return c.base }

// HasKey reports whether the client sends an API key.
func (c *Client) HasKey() bool { return c.key != "" }

// Ready returns nil if the server is ready, or the reason why it isn't.
func (c *Client) Ready(ctx context.Context) error {
	return c.get(ctx, "/readyz", nil)
}

// Model returns what the server serves. The error is a *Problem if the server
// responded with one.
func (c *Client) Model(ctx context.Context) (*Model, error) {
	var m Model
	if err := c.get(ctx, "/model", &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// Predict scores records: a Record, a slice of them, or anything else whose JSON
// the server accepts. The error is a *Problem if the server responded with one.
func (c *Client) Predict(ctx context.Context, records any) (*Predictions, error) {
	body, err := json.Marshal(records)
	if err != nil {
		return nil, fmt.Errorf("encoding records: %w", err)
	}
	resp, err := c.Do(ctx, http.MethodPost, "/predict", MediaType, body)
	if err != nil {
		return nil, err
	}
	var p Predictions
	if err := resp.Decode(&p); err != nil {
		return nil, fmt.Errorf("POST %s/predict: %w", c.base, err)
	}
	return &p, nil
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	resp, err := c.Do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if err := resp.Decode(v); err != nil {
		return fmt.Errorf("GET %s%s: %w", c.base, path, err)
	}
	return nil
}

// Response is a whole response of the server.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request and reads the whole response, whatever its status.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body []byte) (*Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.accept != "" {
		req.Header.Set("Accept", c.accept)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err // names the method and the URL
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s%s: reading the response: %w", method, c.base, path, err)
	}
	if len(data) > maxResponse {
		return nil, fmt.Errorf("%s %s%s: the response is longer than %d bytes", method, c.base, path, maxResponse)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: data}, nil
}

// Decode reads the body into v, unless that is nil. The error of a response with
// any other status than 200 is a *Problem.
func (r *Response) Decode(v any) error {
	if r.Status != http.StatusOK {
		return ParseProblem(r.Status, r.Body)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("decoding the response: %w", err)
	}
	return nil
}

// AsProblem returns the *Problem in an error, or nil.
func AsProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}
