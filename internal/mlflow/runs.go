package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Experiment groups runs.
type Experiment struct {
	ID               string `json:"experiment_id"`
	Name             string `json:"name"`
	ArtifactLocation string `json:"artifact_location"`
	LifecycleStage   string `json:"lifecycle_stage"` // "active" or "deleted"
}

// ExperimentByName returns the experiment with that name, deleted or not, or
// ErrNotFound.
func (c *Client) ExperimentByName(ctx context.Context, name string) (Experiment, error) {
	var out struct{ Experiment Experiment }
	err := c.get(ctx, "experiments/get-by-name", url.Values{"experiment_name": {name}}, &out)
	return out.Experiment, err
}

// EnsureExperiment returns the experiment with that name and creates it if there is
// none. It may be called concurrently. A deleted experiment keeps its name and is
// an error.
func (c *Client) EnsureExperiment(ctx context.Context, name string) (Experiment, error) {
	e, err := c.ExperimentByName(ctx, name)
	if errors.Is(err, ErrNotFound) {
		// The retry finds what the first attempt or another caller created.
		err = c.post(ctx, "experiments/create", map[string]any{"name": name}, nil)
		if err == nil || errors.Is(err, ErrExists) {
			e, err = c.ExperimentByName(ctx, name)
		}
	}
	if err != nil {
		return Experiment{}, err
	}
	if e.LifecycleStage != "active" {
		return Experiment{}, fmt.Errorf("experiment %q (id %s) is %s: restore it or choose another name", name, e.ID, e.LifecycleStage)
	}
	return e, nil
}

// RunStatus is the state of a run.
type RunStatus string

const (
	Running  RunStatus = "RUNNING"
	Finished RunStatus = "FINISHED"
	Failed   RunStatus = "FAILED"
	Killed   RunStatus = "KILLED"
)

// Run is one training with everything logged of it.
type Run struct {
	ID           string
	ExperimentID string
	Name         string
	Status       RunStatus
	Deleted      bool
	Start, End   time.Time // to the millisecond; zero where MLflow has none
	ArtifactURI  string    // of its artifacts' root; see ArtifactPath

	Metrics map[string]float64 // the last value of each
	Params  map[string]string
	Tags    map[string]string // MLflow's own (mlflow.*) among them

	LoggedModels []string // ids of those that it made
}

// run is a Run in MLflow's JSON.
type run struct {
	Info struct {
		ID             string `json:"run_id"`
		ExperimentID   string `json:"experiment_id"`
		Name           string `json:"run_name"`
		Status         string `json:"status"`
		Start          int64  `json:"start_time"`
		End            int64  `json:"end_time"`
		ArtifactURI    string `json:"artifact_uri"`
		LifecycleStage string `json:"lifecycle_stage"`
	} `json:"info"`
	Data struct {
		Metrics []metric   `json:"metrics"`
		Params  []keyValue `json:"params"`
		Tags    []keyValue `json:"tags"`
	} `json:"data"`
	Outputs struct {
		Models []struct {
			ID string `json:"model_id"`
		} `json:"model_outputs"`
	} `json:"outputs"`
}

func (r run) run() Run {
	out := Run{
		ID: r.Info.ID, ExperimentID: r.Info.ExperimentID, Name: r.Info.Name,
		Status: RunStatus(r.Info.Status), Deleted: r.Info.LifecycleStage == "deleted",
		Start: fromMillis(r.Info.Start), End: fromMillis(r.Info.End),
		ArtifactURI: r.Info.ArtifactURI,
		Metrics:     make(map[string]float64), Params: toMap(r.Data.Params), Tags: toMap(r.Data.Tags),
	}
	for _, m := range r.Data.Metrics {
		out.Metrics[m.Key] = float64(m.Value)
	}
	for _, m := range r.Outputs.Models {
		out.LoggedModels = append(out.LoggedModels, m.ID)
	}
	return out
}

// NewRun is what CreateRun needs.
type NewRun struct {
	ExperimentID string
	Name         string    // empty: MLflow generates one
	Start        time.Time // zero: now
	Tags         map[string]string
}

// CreateRun starts a run. MLflow has no idempotency key, so the call is retried only
// if the server could not be reached at all: after another error the run may or may
// not exist. A caller that must not create two gives the run a unique tag and looks
// for it with SearchRuns first.
func (c *Client) CreateRun(ctx context.Context, n NewRun) (Run, error) {
	if n.Start.IsZero() {
		n.Start = time.Now()
	}
	in := map[string]any{
		"experiment_id": n.ExperimentID,
		"start_time":    n.Start.UnixMilli(),
		"tags":          fromMap(n.Tags),
	}
	if n.Name != "" {
		in["run_name"] = n.Name
	}
	var out struct{ Run run }
	err := c.do(ctx, request{
		method: http.MethodPost, path: api + "runs/create", in: in, once: true, read: decoder(&out),
	})
	if err != nil {
		return Run{}, err
	}
	return out.Run.run(), nil
}

// UpdateRun sets a run's status and, unless it is zero, its end.
func (c *Client) UpdateRun(ctx context.Context, id string, status RunStatus, end time.Time) error {
	in := map[string]any{"run_id": id, "status": status}
	if !end.IsZero() {
		in["end_time"] = end.UnixMilli()
	}
	return c.post(ctx, "runs/update", in, nil)
}

// GetRun returns a run with its last metrics, or ErrNotFound.
func (c *Client) GetRun(ctx context.Context, id string) (Run, error) {
	var out struct{ Run run }
	if err := c.get(ctx, "runs/get", url.Values{"run_id": {id}}, &out); err != nil {
		return Run{}, err
	}
	return out.Run.run(), nil
}

// SearchRuns returns the runs of the experiments that match an MLflow filter
// (empty: all; see Quote), deleted ones left out, in the given order
// ("attributes.start_time DESC"; none: newest first), at most limit of them
// (0: all).
func (c *Client) SearchRuns(ctx context.Context, experiments []string, filter string, order []string, limit int) ([]Run, error) {
	const page = 1000
	var runs []Run
	token := ""
	for {
		in := map[string]any{"experiment_ids": experiments, "max_results": pageSize(page, limit, len(runs))}
		if filter != "" {
			in["filter"] = filter
		}
		if len(order) > 0 {
			in["order_by"] = order
		}
		if token != "" {
			in["page_token"] = token
		}
		var out struct {
			Runs  []run
			Token string `json:"next_page_token"`
		}
		if err := c.post(ctx, "runs/search", in, &out); err != nil {
			return nil, err
		}
		for _, r := range out.Runs {
			runs = append(runs, r.run())
		}
		if token = out.Token; token == "" || limit > 0 && len(runs) >= limit {
			return runs, nil
		}
	}
}

func pageSize(page, limit, have int) int {
	if limit > 0 {
		return min(page, limit-have)
	}
	return page
}

// Quote makes a string a literal of MLflow's filter language, which has no escapes:
// a value with both kinds of quotes can't be searched for.
func Quote(s string) (string, error) {
	switch {
	case !strings.Contains(s, "'"):
		return "'" + s + "'", nil
	case !strings.Contains(s, `"`):
		return `"` + s + `"`, nil
	}
	return "", fmt.Errorf("%q can't be used in an MLflow filter: it has both kinds of quotes", s)
}

// Metric is one value of a metric. MLflow stores the same key, time, step and value
// once, however often they are logged.
type Metric struct {
	Key   string
	Value float64 // NaN is kept; infinities become the largest finite values
	Time  time.Time
	Step  int64

	LoggedModel string // that it is of too, as measured on the input of this name and digest
	Input       string
	Digest      string
}

// Batch is what LogBatch logs to a run.
type Batch struct {
	Metrics []Metric
	Params  map[string]string // MLflow rejects a second value for the same key
	Tags    map[string]string
}

// Limits of one log-batch call, and of a param's and a tag's value in characters
// (mlflow/utils/validation.py). MLflow silently truncates longer values.
const (
	maxMetrics    = 1000
	maxParams     = 100
	maxTags       = 100
	maxEntities   = 1000
	maxBatchBytes = 1_000_000
	maxParamValue = 6000
	maxTagValue   = 8000
)

// LogBatch logs params, then tags, then metrics, in as many calls as MLflow's limits
// require. It is idempotent and retried; a batch that failed half-way is partly
// logged. A metric without a time gets the current one, the same in every attempt.
func (c *Client) LogBatch(ctx context.Context, runID string, b Batch) error {
	items, err := b.items(time.Now())
	if err != nil {
		return fmt.Errorf("logging to run %s: %w", runID, err)
	}
	for len(items) > 0 {
		n := fits(items, maxBatchBytes-1000) // the rest is for the frame around them
		in := logBatch{RunID: runID}
		for _, it := range items[:n] {
			switch it.kind {
			case 'p':
				in.Params = append(in.Params, it.text)
			case 't':
				in.Tags = append(in.Tags, it.text)
			case 'm':
				in.Metrics = append(in.Metrics, it.text)
			}
		}
		if err := c.post(ctx, "runs/log-batch", in, nil); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

type logBatch struct {
	RunID   string            `json:"run_id"`
	Params  []json.RawMessage `json:"params,omitempty"`
	Tags    []json.RawMessage `json:"tags,omitempty"`
	Metrics []json.RawMessage `json:"metrics,omitempty"`
}

// item is one entry of a log-batch call.
type item struct {
	kind byte // 'p', 't' or 'm'
	text json.RawMessage
}

func (b Batch) items(now time.Time) ([]item, error) {
	items := make([]item, 0, len(b.Params)+len(b.Tags)+len(b.Metrics))
	add := func(kind byte, v any) error {
		text, err := json.Marshal(v)
		items = append(items, item{kind, text})
		return err
	}
	for _, kv := range fromMap(b.Params) {
		if n := utf8.RuneCountInString(kv.Value); n > maxParamValue {
			return nil, fmt.Errorf("param %q has %d characters; MLflow keeps %d", kv.Key, n, maxParamValue)
		}
		if err := add('p', kv); err != nil {
			return nil, err
		}
	}
	for _, kv := range fromMap(b.Tags) {
		if n := utf8.RuneCountInString(kv.Value); n > maxTagValue {
			return nil, fmt.Errorf("tag %q has %d characters; MLflow keeps %d", kv.Key, n, maxTagValue)
		}
		if err := add('t', kv); err != nil {
			return nil, err
		}
	}
	for _, m := range b.Metrics {
		if m.Time.IsZero() {
			m.Time = now
		}
		if err := add('m', metric{m.Key, number(m.Value), m.Time.UnixMilli(), m.Step, m.LoggedModel, m.Input, m.Digest}); err != nil {
			return nil, fmt.Errorf("metric %q: %w", m.Key, err)
		}
	}
	return items, nil
}

// fits returns how many of the first items one call may hold; at least one.
func fits(items []item, bytes int) int {
	var params, tags, metrics, size int
	for i, it := range items {
		switch it.kind {
		case 'p':
			params++
		case 't':
			tags++
		case 'm':
			metrics++
		}
		size += len(it.text) + 1
		if i > 0 && (params > maxParams || tags > maxTags || metrics > maxMetrics || i+1 > maxEntities || size > bytes) {
			return i
		}
	}
	return len(items)
}

// metric is a Metric in MLflow's JSON.
type metric struct {
	Key   string `json:"key"`
	Value number `json:"value"`
	Time  int64  `json:"timestamp"` // milliseconds since 1970
	Step  int64  `json:"step"`

	LoggedModel string `json:"model_id,omitempty"`
	Input       string `json:"dataset_name,omitempty"`
	Digest      string `json:"dataset_digest,omitempty"`
}

// number is a float64 in protobuf's JSON: NaN and the infinities are strings.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	switch f := float64(n); {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(f)
	}
}

func (n *number) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"Infinity"`:
		*n = number(math.Inf(1))
	case `"-Infinity"`:
		*n = number(math.Inf(-1))
	default:
		return json.Unmarshal(text, (*float64)(n))
	}
	return nil
}

type keyValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func toMap(kvs []keyValue) map[string]string {
	m := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		m[kv.Key] = kv.Value
	}
	return m
}

func fromMap(m map[string]string) []keyValue {
	kvs := make([]keyValue, 0, len(m))
	for k, v := range m {
		kvs = append(kvs, keyValue{k, v})
	}
	slices.SortFunc(kvs, func(a, b keyValue) int { return strings.Compare(a.Key, b.Key) })
	return kvs
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
