package board

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check evaluates every expression in a Prometheus, and returns an error for each that
// it refuses or that does not yield numbers. Panels that need a part of the release
// count only if it is among those that are there. It returns how many it evaluated.
func Check(ctx context.Context, prometheus string, interval time.Duration, there ...Need) (int, error) {
	var errs []error
	n := 0
	for _, e := range Expressions(interval) {
		if e.Need != Nothing && !slices.Contains(there, e.Need) {
			continue
		}
		n++
		if err := ask(ctx, strings.TrimRight(prometheus, "/"), e.Query); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e, err))
		}
	}
	return n, errors.Join(errs...)
}

// ask returns an error unless every series of the result is a number.
func ask(ctx context.Context, prometheus, query string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, prometheus+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: %w", res.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", res.Status, answer.Error)
	}
	if answer.Data.ResultType != "vector" {
		return fmt.Errorf("the result is a %s, not a vector", answer.Data.ResultType)
	}
	if len(answer.Data.Result) == 0 {
		return errors.New("no data")
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("series %v is %q, not a number", r.Metric, text)
		}
	}
	return nil
}
