package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"mlops/internal/registry"
	"mlops/internal/retry"
	"mlops/internal/serve"
)

// handler measures our own share of a request: the handler of POST /predict
// with its metrics, called in this process with all records one by one.
func (s *site) handler(ctx context.Context) ([]figure, error) {
	server := serve.New(serve.Options{
		Model: s.spec.Model, Cache: filepath.Join(s.dir, "cache"), Log: slog.New(slog.DiscardHandler),
		Registry: registry.New(s.client, s.spec.Model),
	})
	watching, stop := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() { watched <- server.Watch(watching) }()
	defer func() { stop(); <-watched }()

	api := server.Handler()
	var body bytes.Reader
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/predict", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Body = io.NopCloser(&body)
	w := &sink{header: http.Header{}}
	ask := func(r record) {
		body.Reset(r.json)
		request.ContentLength = int64(len(r.json))
		w.code = http.StatusOK
		api.ServeHTTP(w, request)
	}
	policy := retry.Policy{Patience: time.Minute, Wait: 10 * time.Millisecond, Factor: 1}
	err = retry.Do(ctx, policy, func(context.Context) error {
		if ask(s.records[0]); w.code != http.StatusOK {
			return fmt.Errorf("the handler responds with %d", w.code)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var took, allocations []float64
	for range 7 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		for _, r := range s.records {
			if ask(r); w.code != http.StatusOK {
				return nil, fmt.Errorf("the response to a record is %d: %s", w.code, r.json)
			}
		}
		each := time.Since(start) / time.Duration(len(s.records))
		runtime.ReadMemStats(&after)
		took = append(took, float64(each.Nanoseconds())/1000)
		allocations = append(allocations, float64(after.Mallocs-before.Mallocs)/float64(len(s.records)))
		fmt.Fprintln(os.Stderr, "  handler", each)
	}
	return []figure{
		{Name: "the whole handler, per record: decoding, scoring, response, metrics", Value: median(took), Unit: "µs", How: "median of 7 passes over all records, one thread"},
		{Name: "allocations in the handler, per request", Value: median(allocations), Reach: "at most 10", How: "the same"},
	}, nil
}

// sink is a ResponseWriter that keeps nothing but the status.
type sink struct {
	header http.Header
	code   int
}

func (w *sink) Header() http.Header         { return w.header }
func (w *sink) WriteHeader(code int)        { w.code = code }
func (w *sink) Write(b []byte) (int, error) { return len(b), nil }
