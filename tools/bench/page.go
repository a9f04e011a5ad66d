package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"time"

	"mlops/internal/api"
	"mlops/internal/browser"
	"mlops/internal/local"
	"mlops/internal/probe"
	"mlops/internal/program"
	tables "mlops/internal/scoring"
)

// The page is measured as Lighthouse measures for telephones: 150 ms there and back,
// 1.6 Mbit/s, a processor four times as slow.
const (
	pageLatency   = 150           // ms
	pageBandwidth = 1_600_000 / 8 // bytes/s
	pageSlowdown  = 4
	pageRuns      = 5
)

// running is the address of a demo's service in MLOPS_HOME, whose name begins so; byDefault
// where there is none.
func running(name, byDefault string) string {
	home, err := program.Env("MLOPS_HOME")
	if err != nil {
		return byDefault
	}
	state, err := local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ())
	if err != nil {
		return byDefault
	}
	addresses, err := state.Running(name)
	if err != nil {
		return byDefault
	}
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		return addresses[name] // the first one
	}
	return byDefault
}

// webPage is what the form of a demo costs in Chromium, with nothing cached.
func webPage(ctx context.Context, log *slog.Logger) ([]figure, error) {
	target := program.EnvOr("MLOPS_BENCH_PAGE", running("ui-", "http://127.0.0.1:8501"))
	path, err := browser.Find()
	if err == nil {
		err = probe.HTTP(ctx, target+"/readyz")
	}
	if err != nil {
		log.Warn("not measured: it needs Chromium and a page, which MLOPS_BENCH_PAGE names", "page", target, "error", err)
		return nil, nil
	}
	blank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><title>blank</title><p>nothing")
	}))
	defer blank.Close()
	var visits, floors []visited
	for range pageRuns {
		for address, list := range map[string]*[]visited{target: &visits, blank.URL: &floors} {
			v, err := visit(ctx, path, address)
			if err != nil {
				return nil, err
			}
			*list = append(*list, v)
		}
	}
	how := fmt.Sprintf("median of %d visits with nothing cached; %d ms there and back, %d kB/s, processor slowed %d times", pageRuns, pageLatency, pageBandwidth/1000, pageSlowdown)
	return []figure{
		{Name: "page: bytes up to the first prediction", Value: medianOf(visits, func(v visited) float64 { return v.Bytes }) / 1000, Unit: "kB", Reach: "at most 100", How: "headers included; " + how},
		{Name: "page: first paint", Value: medianOf(visits, func(v visited) float64 { return v.Painted }), Unit: "s", How: how},
		{Name: "page: time until it can be used", Value: medianOf(visits, func(v visited) float64 { return max(v.Painted, v.Usable) }), Unit: "s", Reach: "at most 0.5", How: "from navigation until the form is seen and what is typed is predicted; " + how},
		{Name: "page: time to interactive", Value: medianOf(visits, func(v visited) float64 { return max(v.Painted, v.Usable, v.Quiet) }), Unit: "s", How: "the same, and the last task of more than 50 ms has ended; " + how},
		{Name: "page: first paint of a page of one line", Value: medianOf(floors, func(v visited) float64 { return v.Painted }), Unit: "s", How: "what the profile itself costs, visits in turn with the form's; " + how},
		{Name: "page: from the button to the prediction", Value: medianOf(visits, func(v visited) float64 { return v.Predicted }), Unit: "s", How: how},
	}, nil
}

// visited is what one visit took: seconds since the navigation began, but Predicted, which
// is from the button to the prediction.
type visited struct {
	Painted   float64 // something is seen
	Usable    float64 // the form's script listens; 0 on a page without a form
	Quiet     float64 // the last task of more than 50 ms has ended; 0 if there was none
	Predicted float64
	Bytes     float64
}

// watchTasks notes when tasks end that keep a visitor waiting.
const watchTasks = `var tasks = []; new PerformanceObserver((l) => tasks.push(...l.getEntries().map((e) => e.startTime + e.duration))).observe({ type: 'longtask' });`

// visit opens the page in a fresh browser and, if it is the form, predicts.
func visit(ctx context.Context, path, target string) (visited, error) {
	var v visited
	b, err := browser.Start(path)
	if err != nil {
		return v, err
	}
	defer b.Close()
	p, err := b.Open(ctx, 390, 844)
	if err != nil {
		return v, err
	}
	for method, params := range map[string]any{
		"Network.emulateNetworkConditions":      map[string]any{"offline": false, "latency": pageLatency, "downloadThroughput": pageBandwidth, "uploadThroughput": pageBandwidth},
		"Emulation.setCPUThrottlingRate":        map[string]any{"rate": pageSlowdown},
		"Page.addScriptToEvaluateOnNewDocument": map[string]any{"source": watchTasks},
	} {
		if err := p.Call(ctx, method, params, nil); err != nil {
			return v, err
		}
	}
	// Nothing is asked of the page meanwhile: its processor would answer.
	loaded := len(p.Events("Page.loadEventFired"))
	if err := p.Call(ctx, "Page.navigate", map[string]any{"url": target + "/"}, nil); err != nil {
		return v, err
	}
	for begun := time.Now(); len(p.Events("Page.loadEventFired")) == loaded; time.Sleep(10 * time.Millisecond) {
		if err := ctx.Err(); err != nil || time.Since(begun) > time.Minute {
			return v, fmt.Errorf("loading %s: %w", target, cmp.Or(err, context.DeadlineExceeded))
		}
	}
	time.Sleep(2 * time.Second) // for what the page does at its leisure
	err = p.Eval(ctx, `({
  Painted: (performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0) / 1000,
  Usable: (performance.getEntriesByName('usable')[0]?.startTime ?? 0) / 1000,
  Quiet: Math.max(0, ...tasks) / 1000,
})`, &v)
	if err != nil || v.Usable == 0 {
		return v, err
	}
	err = p.Eval(ctx, `(async () => {
  const begun = performance.now();
  document.querySelector('.dock .primary').click();
  while (document.getElementById('result').dataset.state !== 'predicted') await new Promise((done) => setTimeout(done, 5));
  return (performance.now() - begun) / 1000;
})()`, &v.Predicted)
	if err != nil {
		return v, err
	}
	for _, e := range p.Events("Network.loadingFinished") {
		var finished struct {
			Size float64 `json:"encodedDataLength"`
		}
		if err := json.Unmarshal(e.Params, &finished); err != nil {
			return v, err
		}
		v.Bytes += finished.Size
	}
	return v, nil
}

const (
	csvRows  = 100_000
	jsonRows = 10_000 // per request
	csvPairs = 3
)

// csvTable scores a CSV file as `mlops predict` does, beside the same records as JSON
// arrays, with the server of a demo.
func csvTable(ctx context.Context, log *slog.Logger) ([]figure, error) {
	target := program.EnvOr("MLOPS_BENCH_URL", running("inference-", "http://127.0.0.1:8000"))
	client := api.NewClient(target, nil).WithKey(program.EnvOr("MLOPS_API_KEY", ""))
	m, err := client.Model(ctx)
	if err != nil {
		log.Warn("not measured: no server answers; MLOPS_BENCH_URL names one", "url", target, "error", err)
		return nil, nil
	}
	table, arrays, err := sampleTable(m)
	if err != nil {
		return nil, err
	}
	ours := func() (float64, error) {
		begun := time.Now()
		t := tables.Table{Name: "samples.csv", Client: client, Scored: func(int) {}}
		n, err := t.Score(ctx, bytes.NewReader(table), io.Discard)
		if err == nil && n != csvRows {
			err = fmt.Errorf("%d rows scored, want %d", n, csvRows)
		}
		return csvRows / time.Since(begun).Seconds(), err
	}
	peer := func() (float64, error) {
		begun := time.Now()
		for range csvRows / jsonRows {
			got, err := client.Do(ctx, http.MethodPost, "/predict", api.MediaType, arrays)
			if err == nil {
				err = got.Decode(nil)
			}
			if err != nil {
				return 0, fmt.Errorf("JSON arrays: %w", err)
			}
		}
		return csvRows / time.Since(begun).Seconds(), nil
	}
	var ratios, rates []float64
	for range csvPairs {
		a, err := ours()
		if err != nil {
			return nil, err
		}
		b, err := peer()
		if err != nil {
			return nil, err
		}
		ratios, rates = append(ratios, a/b), append(rates, a)
	}
	return []figure{{Name: "rows/s of a CSV through mlops predict, against JSON arrays", Value: median(ratios), Reach: "at least 1.0",
		How: fmt.Sprintf("%d records, arrays of %d; median of %d pairs; %.0f rows/s of CSV", csvRows, jsonRows, csvPairs, median(rates))}}, nil
}

// sampleTable repeats the model's samples, as a CSV table and as one JSON array.
func sampleTable(m *api.Model) (table, array []byte, err error) {
	var b bytes.Buffer
	for i, c := range m.Dataset.Columns {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q", c.Name)
	}
	b.WriteByte('\n')
	var records []api.Record
	for i := range csvRows {
		r := m.Samples[i%len(m.Samples)].Record
		if i < jsonRows {
			records = append(records, r)
		}
		for j, c := range m.Dataset.Columns {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%q", r[c.Name])
		}
		b.WriteByte('\n')
	}
	array, err = json.Marshal(records)
	return b.Bytes(), array, err
}
