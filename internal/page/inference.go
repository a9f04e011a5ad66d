package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"mlops/internal/api"
)

// inference asks the inference server. It keeps the last model it has seen, so
// that what somebody typed survives while the server is away.
type inference struct {
	client *api.Client
	url    string
	log    *slog.Logger

	mu   sync.Mutex
	last *api.Model // nil before the first
	away bool       // the last request got no response
}

// do sends a request and returns the whole response, whatever its status. If there
// is none, the error is an *api.Problem with status 502.
func (c *inference) do(ctx context.Context, method, path, contentType string, body []byte) (*api.Response, error) {
	return c.send(ctx, method, path, contentType, "", body)
}

// send is do with the media types that the response may have; empty: any.
func (c *inference) send(ctx context.Context, method, path, contentType, accept string, body []byte) (*api.Response, error) {
	resp, err := c.client.Accepting(accept).Do(ctx, method, path, contentType, body)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("asking the inference server for %s: %w", path, ctx.Err()) // the visitor left; that says nothing about the server
	}

	// Pages ask every few seconds: only a change is worth a log line.
	c.mu.Lock()
	changed := c.away != (err != nil)
	c.away = err != nil
	c.mu.Unlock()
	if err != nil {
		if changed {
			c.log.Warn("the inference server does not respond", "url", c.url, "error", err)
		}
		return nil, &api.Problem{
			Type:   api.Untyped,
			Title:  "The inference server does not respond",
			Status: http.StatusBadGateway,
			Detail: "It may be starting, restarting or busy.",
		}
	}
	if changed {
		c.log.Info("the inference server responds again", "url", c.url)
	}
	return resp, nil
}

// read sends a request and decodes the response into v. The error is an
// *api.Problem: the server's own, or status 502 if there is no response or one
// that can't be read.
func (c *inference) read(ctx context.Context, method, path string, body []byte, v any, check func() error) error {
	contentType := ""
	if body != nil {
		contentType = api.MediaType
	}
	resp, err := c.send(ctx, method, path, contentType, api.MediaType, body)
	if err != nil {
		return err
	}
	err = resp.Decode(v)
	if api.AsProblem(err) != nil {
		return err
	}
	if err == nil {
		err = check()
	}
	if err != nil {
		c.log.Error("can't read the inference server's response", "path", path, "error", err)
		return &api.Problem{
			Type:   api.Untyped,
			Title:  "The inference server's response can't be read",
			Status: http.StatusBadGateway,
			Detail: "It may be of another version than this page; the page's log says more.",
		}
	}
	return nil
}

// get decodes what the server has at a path; see read.
func (c *inference) get(ctx context.Context, path string, v any) error {
	return c.read(ctx, http.MethodGet, path, nil, v, func() error { return nil })
}

// Model asks for the model that is served.
func (c *inference) Model(ctx context.Context) (*api.Model, error) {
	var m api.Model
	err := c.read(ctx, http.MethodGet, "/model", nil, &m, func() error {
		if len(m.Dataset.Columns) == 0 {
			return errors.New("it names no columns")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.last = &m
	c.mu.Unlock()
	return &m, nil
}

// Last returns the model that was last seen, or nil.
func (c *inference) Last() *api.Model {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// predictPath asks for a prediction with its reasons.
var predictPath = fmt.Sprintf("/predict?explain=%d", reasonsShown)

// Predict scores one record, with reasons if the version has any.
func (c *inference) Predict(ctx context.Context, r api.Record) (*api.Predictions, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the record: %w", err)
	}
	p, err := c.predict(ctx, predictPath, body, 1)
	if problem := api.AsProblem(err); problem != nil && problem.Type == api.NotExplained {
		return c.predict(ctx, "/predict", body, 1)
	}
	return p, err
}

// PredictAll scores records, without reasons.
func (c *inference) PredictAll(ctx context.Context, records []api.Record) (*api.Predictions, error) {
	body, err := json.Marshal(records)
	if err != nil {
		return nil, fmt.Errorf("encoding the records: %w", err)
	}
	return c.predict(ctx, "/predict", body, len(records))
}

// predict sends a body of n records.
func (c *inference) predict(ctx context.Context, path string, body []byte, n int) (*api.Predictions, error) {
	var p api.Predictions
	err := c.read(ctx, http.MethodPost, path, body, &p, func() error {
		if len(p.Predictions) != n {
			return fmt.Errorf("%d predictions for %d records", len(p.Predictions), n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}
