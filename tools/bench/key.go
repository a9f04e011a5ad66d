package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mlops/internal/apikey"
	"mlops/loadtest"
)

// keyed compares our server with itself when each request has to have an API key of a
// limited rate, among others that are known. The key is a longer request too.
func (s *site) keyed(ctx context.Context) ([]figure, error) {
	var file, key string
	for range 100 {
		text, k, err := apikey.New("bench", []apikey.Scope{apikey.Predict, apikey.Read}, apikey.Rate{Requests: 1_000_000, Period: time.Second})
		if err != nil {
			return nil, err
		}
		if file, err = apikey.Add(file, k); err != nil {
			return nil, err
		}
		key = text
	}
	path := filepath.Join(s.dir, "keys")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		return nil, fmt.Errorf("storing the keys: %w", err)
	}
	with, err := s.ours(ctx, "MLOPS_API_KEYS="+path)
	if err != nil {
		return nil, err
	}
	defer with.stop()
	without, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer without.stop()
	const rounds = 7 // the difference is smaller than that of two pairs
	a, b, err := s.turns(ctx, contest{ours: with, theirs: without, rounds: rounds}, loadtest.Config{Users: []int{100}, Key: key})
	if err != nil {
		return nil, err
	}
	return []figure{{Name: "requests/s with an API key against without, 100 connections", Value: ratio(a, b, perSecond), Reach: "at least 0.98",
		How: fmt.Sprintf("median of %d pairs of %v, 100 keys known: %s; %s", rounds, stageTime, describe("with", a), describe("without", b))}}, nil
}
