package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/util/telemetry"
	"github.com/argoproj/argo-workflows/v3/util/template"
	"github.com/argoproj/argo-workflows/v3/workflow/common"
	"github.com/argoproj/argo-workflows/v3/workflow/metrics"

	"mlops/internal/ingest"
	"mlops/internal/workflow"
)

// TestRejectedRowsByReason has Argo's own code compute the metrics of the data steps, and
// its exporter tell them, after runs that end in every way.
func TestRejectedRowsByReason(t *testing.T) {
	set, err := workflow.Load("../../workflows")
	if err != nil {
		t.Fatal(err)
	}
	controller, err := metrics.New(t.Context(), "workflows-controller", "argo_workflows", &telemetry.Config{Enabled: true}, metrics.Callbacks{})
	if err != nil {
		t.Fatal(err)
	}
	reported := func(r ingest.Report) map[string]string {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"report": string(text), "rows": fmt.Sprint(r.Read)}
	}
	want := map[string]float64{}
	read := map[string]float64{}
	for _, run := range []struct {
		why, step, status string
		outputs           map[string]string  // those that the step wrote
		want              map[string]float64 // by reason; the other step's stay
	}{
		{"the first run rejects nothing", "load-raw-data", "Succeeded", reported(ingest.Report{Step: "load-raw-data", Read: 10, Taken: 10}), nil},
		{"some rows are rejected", "process-data", "Succeeded",
			reported(ingest.Report{Read: 2_000_010, Rejected: 2_000_000, Reasons: map[string]int64{"wrong_type": 1_999_998, "out_of_range": 2},
				Losses: []ingest.Loss{{Column: "a", Reason: "not a number", Rows: 2, Value: `"{{x}}" \ 'é'`}}}),
			map[string]float64{"wrong_type": 1_999_998, "out_of_range": 2}},
		{"too many are rejected", "load-raw-data", "Failed", reported(ingest.Report{Read: 10, Rejected: 9, Reasons: map[string]int64{"changed_key": 9}}),
			map[string]float64{"changed_key": 9}},
		{"a try that ends before it has a report changes nothing", "process-data", "Failed", nil, map[string]float64{"wrong_type": 1_999_998, "out_of_range": 2}},
		{"nor does it in the other step", "load-raw-data", "Error", nil, map[string]float64{"changed_key": 9}},
		{"the next try has one", "process-data", "Succeeded", reported(ingest.Report{Read: 3, Rejected: 1, Reasons: map[string]int64{"missing_value": 1}}),
			map[string]float64{"missing_value": 1}},
		{"the mended table", "load-raw-data", "Succeeded", reported(ingest.Report{Read: 1, Taken: 1}), nil},
	} {
		compute(t, controller, &set.Templates()[run.step].Spec.Templates[0], run.status, run.outputs)
		for _, reason := range ingest.Reasons[run.step] { // each is there, also with no row
			want[run.step+" "+reason] = run.want[reason]
		}
		if diff := cmp.Diff(want, told(t, "argo_workflows_mlops_rejected_rows", "step", "reason")); diff != "" {
			t.Errorf("%s: rejected rows by step and reason (-want +got):\n%s", run.why, diff)
		}
		if rows, err := strconv.ParseFloat(run.outputs["rows"], 64); err == nil {
			read[run.step] = rows
		}
		if diff := cmp.Diff(read, told(t, "argo_workflows_mlops_read_rows", "step")); diff != "" {
			t.Errorf("%s: read rows by step (-want +got):\n%s", run.why, diff)
		}
	}
}

// compute computes a template's metrics as Argo's controller does (computeMetrics) once a
// node of it has ended.
func compute(t *testing.T, controller *metrics.Metrics, tmpl *wfv1.Template, status string, outputs map[string]string) {
	t.Helper()
	var args wfv1.Arguments
	for _, p := range tmpl.Inputs.Parameters {
		args.Parameters = append(args.Parameters, wfv1.Parameter{Name: p.Name, Value: wfv1.AnyStringPtr("x")})
	}
	tmpl, err := common.ProcessArgs(tmpl, &args, common.Parameters{"workflow.name": "w"}, common.Parameters{"pod.name": "p"}, false, "default", nil)
	if err != nil {
		t.Fatal(err)
	}
	scope := map[string]string{"status": status, "duration": "1.5"}
	for _, p := range tmpl.Outputs.Parameters {
		value, ok := outputs[p.Name]
		if !ok {
			value = p.ValueFrom.Default.String()
		}
		scope["outputs.parameters."+p.Name] = value
	}
	replace := func(in, out any) {
		t.Helper()
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		replaced, err := template.Replace(string(text), scope, false)
		if err == nil {
			err = json.Unmarshal([]byte(replaced), out)
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for _, m := range tmpl.Metrics.Prometheus {
		value := m.GetValueString()
		replace(m, &m)
		if m.When != "" {
			proceed, err := strconv.ParseBool(m.When)
			if err != nil {
				t.Fatalf("%s: the condition %s is neither true nor false", m.Name, m.When)
			}
			if !proceed {
				continue
			}
		}
		replace(value, &value)
		m.SetValueString(value)
		if err := controller.UpsertCustomMetric(t.Context(), m, "", nil); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
	}
}

// told are the values of a metric that Argo's exporter tells, by some of its labels.
func told(t *testing.T, metric string, by ...string) map[string]float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			var key []string
			for _, name := range by {
				key = append(key, labels[name])
			}
			got[strings.Join(key, " ")] = m.GetGauge().GetValue()
		}
	}
	return got
}
