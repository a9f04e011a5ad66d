package board

import "fmt"

// Parts of the expressions. Every Go process exports the same runtime metrics; those
// of inference servers are selected by a counter that only they have, so the scrape
// job may have any name.
const (
	requests  = `sum(rate(mlops_requests_total{handler="predict"}[` + rateInterval + `]))`
	problems  = `sum(rate(mlops_problems_total{handler="predict"}[` + rateInterval + `]))`
	scored    = `sum(rate(mlops_predictions_total[` + rateInterval + `]))`
	ofServers = ` and on (job, instance) mlops_model_loads_total`

	meanLatency = `sum(rate(mlops_request_duration_seconds_sum{handler="predict"}[` + rateInterval + `])) / (sum(rate(mlops_request_duration_seconds_count{handler="predict"}[` + rateInterval + `])) > 0)`
)

func quantile(q float64) string {
	return fmt.Sprintf(`histogram_quantile(%g, sum by (le) (rate(mlops_request_duration_seconds_bucket{handler="predict"}[%s])))`, q, rateInterval)
}

// Serving is the dashboard of the inference server.
func Serving() Dashboard {
	zero, one := 0.0, 1.0
	const quiet = "no requests"
	var l layout

	l.add(4, 4, stat("Version served", "The model version that is served. Several servers may briefly serve two.", "short", name, Defaults{NoValue: "none"},
		query{`sum by (name, version) (mlops_model_info)`, "{{name}} {{version}}"}))
	l.add(4, 4, stat("Requests per minute", "POST /predict, successful or not.", "short", number, Defaults{NoValue: "none", Min: &zero},
		query{`60 * ` + requests, "requests"}))
	l.add(4, 4, stat("Mean latency", "Time of POST /predict in the server, from reading the body to the end of the response.", "s", number, Defaults{NoValue: quiet, Min: &zero},
		query{meanLatency, "mean"}))
	l.add(4, 4, stat("99th percentile", "99 of 100 requests took no longer.", "s", number, Defaults{NoValue: quiet, Min: &zero},
		query{quantile(0.99) + ` >= 0`, "p99"})) // drops the NaN when there are no requests
	l.add(4, 4, stat("Errors", "Share of the requests to /predict that were answered with a problem.", "percentunit", number,
		Defaults{NoValue: quiet, Min: &zero, Max: &one, Thresholds: thresholds("green", from(0.01, "orange"), from(0.2, "red"))},
		query{problems + ` / (` + requests + ` > 0)`, "errors"}))
	l.add(4, 4, stat("Versions refused", "Versions in production that a server refused to serve since it started; GET /model says why.", "short", bare,
		Defaults{NoValue: "no server", Thresholds: thresholds("green", from(1, "red"))},
		query{`sum(mlops_model_refusals_total)`, "refused"}))

	l.heading("Requests")
	l.add(12, 8, series("Latency", "Time of POST /predict in the server. Percentiles are estimated from histogram buckets.", "s", false,
		query{meanLatency, "mean"}, query{quantile(0.5), "p50"}, query{quantile(0.95), "p95"}, query{quantile(0.99), "p99"}))
	l.add(12, 8, series("Requests per minute by status", "POST /predict by HTTP status.", "short", true,
		query{`60 * sum by (code) (rate(mlops_requests_total{handler="predict"}[` + rateInterval + `]))`, "{{code}}"}))
	l.add(12, 8, series("Errors per minute by type", "Problems in response to POST /predict.", "short", true,
		query{`60 * sum by (type) (rate(mlops_problems_total{handler="predict"}[` + rateInterval + `]))`, "{{type}}"}))
	l.add(12, 8, series("Other errors per minute", "Problems in response to requests for other paths.", "short", true,
		query{`60 * sum by (handler, type) (rate(mlops_problems_total{handler!="predict"}[` + rateInterval + `]))`, "{{handler}}: {{type}}"}))

	l.heading("Predictions")
	l.add(8, 8, series("Predictions per minute by label", "Records scored, and those that the cohort leaves out; a request may have many.", "short", true,
		query{`60 * sum by (label) (rate(mlops_predictions_total[` + rateInterval + `]))`, "label {{label}}"},
		query{`60 * sum by (reason) (rate(mlops_predictions_excluded_total[` + rateInterval + `]))`, "no score: {{reason}}"}))
	l.add(8, 8, series("Share of label 1", "Of the records scored.", "percentunit", false,
		query{`sum(rate(mlops_predictions_total{label="1"}[` + rateInterval + `])) / (` + scored + ` > 0)`, "label 1"}))
	l.add(8, 8, series("Unknown values per minute", "Categorical values that training had not seen.", "short", false,
		query{`60 * sum(rate(mlops_unknown_values_total[` + rateInterval + `]))`, "unknown"}))

	l.heading("Model")
	l.add(8, 8, series("Servers by version", "How many servers serve which version.", "short", true,
		query{`sum by (name, version) (mlops_model_info)`, "{{name}} {{version}}"}))
	l.add(8, 8, series("Versions loaded and refused", "Per step, beside failed polls of the registry.", "short", false,
		query{`sum(increase(mlops_model_loads_total[` + rateInterval + `]))`, "loaded"},
		query{`sum(increase(mlops_model_refusals_total[` + rateInterval + `]))`, "refused"},
		query{`sum(increase(mlops_registry_poll_errors_total[` + rateInterval + `]))`, "failed polls"}))
	l.add(4, 8, stat("Served for", "Time since a server last loaded a version.", "s", bare, Defaults{NoValue: "no model"},
		query{`time() - max(mlops_model_loaded_timestamp_seconds > 0)`, "age"}))
	l.add(4, 8, stat("Time to load", "Time it took the slowest server to fetch and verify the served version.", "s", bare, Defaults{NoValue: "no model"},
		query{`max(mlops_model_load_duration_seconds)`, "load"}))

	l.heading("Data")
	l.add(24, 4, stat("Rows rejected", "Rows that the last run of each data step rejected; make status says why. Argo's controller forgets them when it starts again.", "short", bare,
		Defaults{NoValue: "no run since Argo started", Thresholds: thresholds("green", from(1, "orange"))},
		query{`max by (step) (argo_workflows_mlops_rejected_rows)`, "{{step}}"}))

	l.heading("Server")
	l.add(12, 8, series("Memory", "Resident memory, and the Go heap within it, by server.", "bytes", false,
		query{`process_resident_memory_bytes` + ofServers, "{{instance}} resident"},
		query{`go_memstats_heap_inuse_bytes` + ofServers, "{{instance}} heap"}))
	l.add(12, 8, series("CPU", "Processors used, by server.", "short", false,
		query{`rate(process_cpu_seconds_total[` + rateInterval + `])` + ofServers, "{{instance}}"}))

	return Dashboard{
		UID: "mlops-serving", Title: "Serving", Description: "The inference server: its requests, latency, predictions and model.",
		Tags: []string{"mlops"}, SchemaVersion: 41, Version: 1, Editable: true, GraphTooltip: 1,
		Refresh: "10s", Time: Range{"now-30m", "now"}, Timezone: "browser",
		Annotations: Annotations{[]struct{}{}}, Templating: Templating{[]struct{}{}},
		Panels: l.panels,
	}
}
