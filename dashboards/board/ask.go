package board

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"mlops/internal/promapi"
)

// Check evaluates every expression in a Prometheus, and returns an error for each that
// it refuses or that does not yield numbers. Panels that need a part of the release
// count only if it is among those that are there. It returns how many it evaluated.
func Check(ctx context.Context, prometheus string, interval time.Duration, there ...Need) (int, error) {
	client := promapi.New(prometheus, &http.Client{Timeout: 10 * time.Second})
	var errs []error
	n := 0
	for _, e := range Expressions(interval) {
		if e.Need != Nothing && !slices.Contains(there, e.Need) {
			continue
		}
		n++
		if err := ask(ctx, client, e.Query); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e, err))
		}
	}
	return n, errors.Join(errs...)
}

// ask returns an error unless every series of the result is a number.
func ask(ctx context.Context, client *promapi.Client, query string) error {
	samples, err := client.Instant(ctx, query)
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return errors.New("no data")
	}
	for _, s := range samples {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			return fmt.Errorf("series %v is %v, not a number", s.Labels, s.Value)
		}
	}
	return nil
}
