package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"mlops/internal/registry"
	"mlops/internal/tree"
	"mlops/loadtest"
)

// batches compares requests that hold all the records with requests that hold
// one.
func (s *site) batches(ctx context.Context) ([]figure, error) {
	server, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	all := []loadtest.Body{batch(s.records)}
	var single, many, ratios []float64
	for range rounds {
		one, err := s.load(ctx, server, loadtest.Config{Users: []int{100}})
		if err != nil {
			return nil, err
		}
		whole, err := s.load(ctx, server, loadtest.Config{Users: []int{2}, Bodies: all})
		if err != nil {
			return nil, err
		}
		if one.Failed+whole.Failed > 0 {
			return nil, fmt.Errorf("%d and %d requests failed: %v %v", one.Failed, whole.Failed, one.Failures, whole.Failures)
		}
		single, many = append(single, one.PerSecond), append(many, whole.PerSecond*float64(len(s.records)))
		ratios = append(ratios, whole.PerSecond*float64(len(s.records))/one.PerSecond)
	}
	return []figure{
		{Name: "rows/s of POST /predict with 10,000 records against one record per request", Value: median(ratios), Reach: "at least 4",
			How: fmt.Sprintf("median of %d pairs: %.0f rows/s by 2 users, %.0f by 100", rounds, median(many), median(single))},
		{Name: "memory of the server meanwhile, bodies of 10,000 records", Value: server.stop(), Unit: "MiB", How: "peak of its resident memory"},
	}, nil
}

// batch is one body of many records.
func batch(records []record) loadtest.Body {
	list := make([][]byte, len(records))
	for i, r := range records {
		list[i] = r.json
	}
	return loadtest.Body{JSON: slices.Concat([]byte("["), bytes.Join(list, []byte(",")), []byte("]")), Records: len(records)}
}

// thousand holds 1,000 connections for a minute.
func (s *site) thousand(ctx context.Context) ([]figure, error) {
	server, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	stage, err := s.load(ctx, server, loadtest.Config{Users: []int{1000}, Duration: time.Minute})
	if err != nil {
		return nil, err
	}
	return []figure{
		{Name: "failed requests of 1,000 connections in 60 s", Value: float64(stage.Failed), Reach: "0", How: fmt.Sprintf("of %d", stage.Requests)},
		{Name: "memory of the server meanwhile", Value: server.stop(), Unit: "MiB", Reach: "at most 64", How: "peak of its resident memory"},
	}, nil
}

// overload sends twice what the server can answer, over few connections and
// over many.
func (s *site) overload(ctx context.Context) ([]figure, error) {
	ours, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	bare, err := s.bare(ctx)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	var figures []figure
	for _, users := range []int{100, 400} {
		var our, their []loadtest.Stage
		var goodput []float64 // of what it answers in a closed loop, a moment before
		for range rounds {
			most, err := s.load(ctx, ours, loadtest.Config{Users: []int{100}})
			if err != nil {
				return nil, err
			}
			a, b, err := s.turns(ctx, contest{ours: ours, theirs: bare, rounds: 1}, loadtest.Config{Rates: []float64{2 * most.PerSecond}, Most: users})
			if err != nil {
				return nil, err
			}
			our, their = append(our, a...), append(their, b...)
			goodput = append(goodput, a[0].PerSecond/most.PerSecond)
		}
		how := fmt.Sprintf("median of %d pairs of %v, twice the most at a fixed rate: %s; %s", rounds, stageTime, describe("ours", our), describe("bare", their))
		figures = append(figures,
			figure{Name: fmt.Sprintf("goodput at twice the load, %d connections", users), Value: median(goodput), Reach: "at least 0.9", How: how},
			figure{Name: fmt.Sprintf("p99 of these responses against that at half the load, %d connections", users), Value: medianOf(our, sentP99) / s.unloaded, Reach: "at most 2",
				How: fmt.Sprintf("from when they were sent: ours %.2f, bare %.2f, ours at half the load %.2f ms", medianOf(our, sentP99), medianOf(their, sentP99), s.unloaded)})
	}
	return figures, nil
}

const (
	swapEvery = 3 * time.Second
	swapCount = 20
)

// swaps promotes two versions in turn under load.
func (s *site) swaps(ctx context.Context) ([]figure, error) {
	production, err := s.client.GetAlias(ctx, s.spec.Model, registry.Production)
	if err != nil {
		return nil, err
	}
	other, err := s.register(ctx, s.client, s.other)
	if err != nil {
		return nil, err
	}
	numbers := []int{production.Number, other}
	p := &checker{version: map[string][]float32{}, first: map[string]chan struct{}{}}
	const probed = 50
	for i, files := range []map[string][]byte{s.files, s.other} {
		m, err := tree.Parse(files["model.ubj"])
		if err != nil {
			return nil, err
		}
		var scores []float32
		for _, r := range s.records[:probed] {
			scores = append(scores, m.Score(r.vector))
		}
		p.version[strconv.Itoa(numbers[i])] = scores
	}
	server, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	p.url, p.body = server.base+"/predict", batch(s.records[:probed]).JSON

	rate := 0.8 * s.most
	var stage loadtest.Stage
	var failed error
	var both sync.WaitGroup
	both.Go(func() {
		stage, failed = s.load(ctx, server, loadtest.Config{Rates: []float64{rate}, Duration: (swapCount + 1) * swapEvery})
	})
	probing, stopProbing := context.WithCancel(ctx)
	both.Go(func() { p.run(probing) })
	var took []float64
	for i := 1; i <= swapCount && ctx.Err() == nil; i++ {
		next := time.After(swapEvery)
		number := numbers[i%2]
		answered := p.await(strconv.Itoa(number))
		start := time.Now()
		if err = s.client.SetAlias(ctx, s.spec.Model, registry.Production, number); err != nil {
			break
		}
		select {
		case <-answered:
			took = append(took, time.Since(start).Seconds())
			<-next
		case <-next:
			took = append(took, swapEvery.Seconds())
		}
	}
	stopProbing()
	both.Wait()
	server.stop()
	if err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	if len(took) == 0 {
		return nil, ctx.Err()
	}
	if p.wrong != nil {
		return nil, fmt.Errorf("a response to %d records was wrong: %w", probed, p.wrong)
	}
	how := fmt.Sprintf("%d promotions, one every %v, at %.0f requests/s; median %.2f s; %d responses to %d records, each by one version", len(took), swapEvery, rate, median(took), p.answers, probed)
	return []figure{
		{Name: "promotion to the version's first response under load, the longest", Value: slices.Max(took), Unit: "s", Reach: "at most 2", How: how},
		{Name: "failed requests meanwhile", Value: float64(stage.Failed), Reach: "0", How: fmt.Sprintf("of %d; by version %v", stage.Requests, stage.Versions)},
		{Name: "memory of the server after these promotions", Value: server.stop(), Unit: "MiB", Reach: "at most 64", How: "peak of its resident memory"},
	}, nil
}

// checker sends some records again and again and checks that each response is by
// one version, with that version's scores.
type checker struct {
	url     string
	body    []byte
	version map[string][]float32 // scores by version

	mu      sync.Mutex
	first   map[string]chan struct{}
	wrong   error
	answers int
}

// await returns a channel that is closed at the version's next response.
func (p *checker) await(version string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan struct{})
	p.first[version] = c
	return c
}

func (p *checker) run(ctx context.Context) {
	for ctx.Err() == nil {
		version, err := p.ask()
		p.mu.Lock()
		if err != nil && p.wrong == nil {
			p.wrong = err
		}
		p.answers++
		if c := p.first[version]; c != nil {
			close(c)
			delete(p.first, version)
		}
		p.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *checker) ask() (string, error) {
	res, err := http.Post(p.url, "application/json", bytes.NewReader(p.body))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var a struct {
		Model       struct{ Version string }
		Predictions []struct{ Probability float32 }
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return "", err
	}
	want := p.version[a.Model.Version]
	if res.StatusCode != http.StatusOK || len(a.Predictions) != len(want) {
		return "", fmt.Errorf("%s, %d predictions of version %q", res.Status, len(a.Predictions), a.Model.Version)
	}
	for i, got := range a.Predictions {
		if got.Probability != want[i] {
			return "", fmt.Errorf("record %d: got %v from version %s, want %v", i, got.Probability, a.Model.Version, want[i])
		}
	}
	return a.Model.Version, nil
}
