package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"mlops/loadtest"
)

// reasons compares explained requests with plain ones to the same server.
func reasons(ctx context.Context, log *slog.Logger) ([]figure, error) {
	s, err := newSite(ctx, log)
	if err != nil {
		return nil, err
	}
	defer s.close()
	server, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	const rounds = 7
	c := contest{ours: server, theirs: server, rounds: rounds, cfg: loadtest.Config{Path: "/predict?explain=5", Answer: explained}}
	plain, withReasons, err := s.turns(ctx, c, loadtest.Config{Users: []int{25}})
	if err != nil {
		return nil, err
	}
	for _, stage := range withReasons {
		if stage.Failed > 0 {
			return nil, fmt.Errorf("%d explained requests failed: %v", stage.Failed, stage.Failures)
		}
	}
	return []figure{{Name: "explained requests/s against plain ones, 25 connections", Value: ratio(withReasons, plain, perSecond), Reach: "at least 0.25",
		How: fmt.Sprintf("median of %d pairs of %v, %d trees, client and server on the same processors: %s; %s", rounds, stageTime, wantTrees, describe("explained", withReasons), describe("plain", plain))}}, nil
}

// explained checks a response without decoding it, which would take the client longer than
// the server takes to explain.
func explained(body []byte, records int) (string, error) {
	if n := bytes.Count(body, []byte(`"contributions":{`)); n != records {
		return "", fmt.Errorf("%d explanations for %d records", n, records)
	}
	return "", nil
}
