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
	served    = `sum by (name, version) (mlops_model_info)`

	meanLatency = `sum(rate(mlops_request_duration_seconds_sum{handler="predict"}[` + rateInterval + `])) / (sum(rate(mlops_request_duration_seconds_count{handler="predict"}[` + rateInterval + `])) > 0)`
)

// What panels say that have no data.
const (
	noRequests = "no requests for predictions"
	noBinary   = "no records of a binary task"
	noServer   = "no server"
	noModel    = "no server serves a model"
)

func quantile(q float64) string {
	return fmt.Sprintf(`histogram_quantile(%g, sum by (le) (rate(mlops_request_duration_seconds_bucket{handler="predict"}[%s])))`, q, rateInterval)
}

func versionServed(width int) Panel {
	return Panel{Kind: Name, Title: "Version served", Description: "The model version that is served. Several servers may briefly serve two.",
		Unit: Short, Width: width, Height: 4, NoValue: "none", Queries: []Query{{served, "{{name}} {{version}}"}}}
}

func servedFor(width int) Panel {
	return stat(width, "Served for", "Time since a server last loaded a version.", Seconds, "no model",
		Query{`time() - max(mlops_model_loaded_timestamp_seconds > 0)`, "age"}).bare()
}

var loadedAndRefused = []Query{
	{events("mlops_model_loads_total", ""), "loaded"},
	{events("mlops_model_refusals_total", ""), "refused"},
	{events("mlops_registry_poll_errors_total", ""), "failed polls"},
}

// lookBack is what the description of a panel of events says.
const lookBack = " Each point counts what happened in the minute before it, or since the point before it if that is longer."

// events counts what happens rarely. Prometheus extrapolates an increase to the whole range, and
// makes 1.3 events of one: they are rounded.
func events(counter, by string) string {
	return `sum` + by + ` (round(increase(` + counter + `[` + rateInterval + `])))`
}

// Serving is the dashboard of the inference server.
func Serving() Dashboard {
	const quiet = "no requests"
	return Dashboard{
		UID: "mlops-serving", Title: "Serving", Description: "The inference server: its requests, latency, predictions and model.",
		Refresh: "10s", From: "now-30m",
		Rows: []Row{
			{"", []Panel{
				versionServed(4),
				stat(4, "Requests per minute", "POST /predict, successful or not.", Short, "none", Query{`60 * ` + requests, "requests"}),
				stat(4, "Mean latency", "Time of POST /predict in the server, from reading the body to the end of the response.", Seconds, quiet,
					Query{meanLatency, "mean"}).orange(0.1).red(0.25),
				stat(4, "99th percentile", "99 of 100 requests took no longer. An alert fires above 0.25 s.", Seconds, quiet,
					Query{quantile(0.99) + ` >= 0`, "p99"}).orange(0.1).red(0.25), // drops the NaN when there are no requests
				stat(4, "Errors", "Share of the requests to /predict that were answered with a problem.", Percent, quiet,
					Query{problems + ` / (` + requests + ` > 0)`, "errors"}).share().orange(0.01).red(0.2),
				stat(4, "Servers that refuse", "Servers that refuse the version in production now, and serve an earlier one or none; GET /model says why.", Short, "no server",
					Query{`sum(mlops_model_refused)`, "refusing"}).bare().red(1),
			}},
			{"Requests", []Panel{
				series(12, "Latency", "Time of POST /predict in the server. Percentiles are estimated from histogram buckets.", Seconds,
					Query{meanLatency, "mean"}, Query{quantile(0.5), "p50"}, Query{quantile(0.95), "p95"}, Query{quantile(0.99), "p99"}).empty(noRequests).red(0.25),
				series(12, "Requests per minute by status", "POST /predict by HTTP status.", Short,
					Query{`60 * sum by (code) (rate(mlops_requests_total{handler="predict"}[` + rateInterval + `]))`, "{{code}}"}).empty(noRequests).stacked(),
				series(12, "Errors per minute by type", "Problems in response to POST /predict.", Short,
					Query{`60 * sum by (type) (rate(mlops_problems_total{handler="predict"}[` + rateInterval + `]))`, "{{type}}"}).empty("no errors").stacked(),
				series(12, "Other errors per minute", "Problems in response to requests for other paths.", Short,
					Query{`60 * sum by (handler, type) (rate(mlops_problems_total{handler!="predict"}[` + rateInterval + `]))`, "{{handler}}: {{type}}"}).empty("no errors").stacked(),
				series(12, "In flight", "Requests for predictions that are being scored, and that wait for a slot; bodies above 64 KiB are large.", Short,
					Query{`sum by (size) (mlops_predict_scoring_requests)`, "scoring, {{size}}"}, Query{`sum by (size) (mlops_predict_queued_requests)`, "waiting, {{size}}"}).empty(noServer).orange(2048),
				series(12, "Rejected per minute", "Requests for predictions that got a 503 because the queue was full or the memory for bodies was taken, and connections dropped because too many were open.", Short,
					Query{`60 * sum by (reason) (rate(mlops_predict_rejected_requests_total[` + rateInterval + `]))`, "{{reason}}"},
					Query{`60 * sum by (reason) (rate(mlops_connections_dropped_total[` + rateInterval + `])` + ofServers + `)`, "connection {{reason}}"}).empty(noServer).red(1),
			}},
			{"Predictions", []Panel{
				series(24, "Records per request", "Records of the requests to /predict that were answered: their mean, and as many as 99 of 100 requests have at most, estimated from buckets of 1, 4, 16 and so on.", Short,
					Query{`sum(rate(mlops_predict_records_sum[` + rateInterval + `])) / (sum(rate(mlops_predict_records_count[` + rateInterval + `])) > 0)`, "mean"},
					Query{`ceil(histogram_quantile(0.99, sum by (le) (rate(mlops_predict_records_bucket[` + rateInterval + `])))) >= 0`, "p99"}).empty(noRequests),
				series(8, "Predictions per minute by label", "Records scored, and those that the cohort leaves out; a request may have many.", Short,
					Query{`60 * sum by (label) (rate(mlops_predictions_total[` + rateInterval + `]))`, "label {{label}}"},
					Query{`60 * sum by (reason) (rate(mlops_predictions_excluded_total[` + rateInterval + `]))`, "no score: {{reason}}"}).empty("no records").stacked(),
				series(8, "Share of label 1", "Of the records scored.", Percent,
					Query{`sum(rate(mlops_predictions_total{label="1"}[` + rateInterval + `])) / (` + scored + ` > 0)`, "label 1"}).empty(noBinary).share(),
				series(8, "Unknown values per minute", "Categorical values that a feature has no level for: rare ones, which it takes together, and those that training had not seen.", Short,
					Query{`60 * sum(rate(mlops_unknown_values_total[` + rateInterval + `]))`, "unknown"}).empty(noServer),
			}},
			{"Model", []Panel{
				series(8, "Servers by version", "How many servers serve which version.", Short, Query{served, "{{name}} {{version}}"}).empty(noModel).stacked(),
				series(8, "Versions loaded and refused", "Versions loaded and refused, beside failed polls of the registry."+lookBack, Short, loadedAndRefused...).empty(noServer),
				servedFor(4).height(8),
				stat(4, "Time to load", "Time it took the slowest server to fetch and verify the served version.", Seconds, "no model",
					Query{`max(mlops_model_load_duration_seconds)`, "load"}).bare().orange(30).height(8),
			}},
			{"Server", []Panel{
				series(12, "Memory", "Resident memory, and the Go heap within it, by server.", Bytes,
					Query{`process_resident_memory_bytes` + ofServers, "{{instance}} resident"},
					Query{`go_memstats_heap_inuse_bytes` + ofServers, "{{instance}} heap"}).empty(noServer),
				series(12, "CPU", "Processors used, by server.", Short,
					Query{`rate(process_cpu_seconds_total[` + rateInterval + `])` + ofServers, "{{instance}}"}).empty(noServer),
			}},
		},
	}
}
