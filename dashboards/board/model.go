package board

import "fmt"

func scoreQuantile(q float64) string {
	return fmt.Sprintf(`histogram_quantile(%g, sum by (version, le) (rate(mlops_prediction_score_bucket[%s]))) >= 0`, q, rateInterval)
}

// Model is the dashboard of the model's predictions: what it says, and of which records.
func Model() Dashboard {
	zero, one := 0.0, 1.0
	const quiet = "no records"
	const (
		records = `sum(rate(mlops_predictions_total[` + rateInterval + `]))`
		odd     = `rate(mlops_prediction_warnings_total{column!=""}[` + rateInterval + `])`
	)
	var l layout

	l.add(6, 4, stat("Version served", "The model version that is served. Several servers may briefly serve two.", "short", name, Defaults{NoValue: "none"},
		query{`sum by (name, version) (mlops_model_info)`, "{{name}} {{version}}"}))
	l.add(6, 4, stat("Records per minute", "Records scored; a request may have many.", "short", number, Defaults{NoValue: quiet, Min: &zero},
		query{`60 * ` + records, "records"}))
	l.add(6, 4, stat("Mean score", "Mean probability of the records scored.", "percentunit", number, Defaults{NoValue: quiet, Min: &zero, Max: &one},
		query{`sum(rate(mlops_prediction_score_sum[` + rateInterval + `])) / (sum(rate(mlops_prediction_score_count[` + rateInterval + `])) > 0)`, "mean"}))
	l.add(6, 4, stat("Served for", "Time since a server last loaded a version.", "s", bare, Defaults{NoValue: "no model"},
		query{`time() - max(mlops_model_loaded_timestamp_seconds > 0)`, "age"}))

	l.heading("Scores")
	l.add(12, 8, series("Scores by version", "Quantiles of the probabilities that each version gave, estimated from buckets of 0.05. Those of a version that was just promoted can be compared with those of the one before.", "percentunit", false,
		query{scoreQuantile(0.1), "{{version}}: p10"}, query{scoreQuantile(0.5), "{{version}}: p50"}, query{scoreQuantile(0.9), "{{version}}: p90"}))
	l.add(12, 8, series("Mean score by version", "Mean probability that each version gave.", "percentunit", false,
		query{`sum by (version) (rate(mlops_prediction_score_sum[` + rateInterval + `])) / (sum by (version) (rate(mlops_prediction_score_count[` + rateInterval + `])) > 0)`, "{{version}}"}))
	l.add(24, 8, series("Records per minute by label", "Records scored, by the predicted label.", "short", true,
		query{`60 * sum by (label) (rate(mlops_predictions_total[` + rateInterval + `]))`, "label {{label}}"}))

	l.heading("Records unlike the training rows")
	l.add(12, 8, series("Warnings per minute by column", "Records with a warning for a column: the ten columns with the most. More than half of the records for half an hour is an alert.", "short", false,
		query{`topk(10, 60 * sum by (column) (` + odd + `))`, "{{column}}"}))
	l.add(12, 8, series("Warnings per minute by kind", "Values out of the training range, levels that training had not seen, and values missing that never were.", "short", true,
		query{`60 * sum by (kind) (` + odd + `)`, "{{kind}}"}))

	l.heading("Versions")
	l.add(12, 8, series("Servers by version", "How many servers serve which version: where one line ends and the next begins, a version was promoted.", "short", true,
		query{`sum by (name, version) (mlops_model_info)`, "{{name}} {{version}}"}))
	l.add(12, 8, series("Loaded and refused", "Versions loaded and refused per step, beside failed polls of the registry.", "short", false,
		query{`sum(increase(mlops_model_loads_total[` + rateInterval + `]))`, "loaded"},
		query{`sum(increase(mlops_model_refusals_total[` + rateInterval + `]))`, "refused"},
		query{`sum(increase(mlops_registry_poll_errors_total[` + rateInterval + `]))`, "failed polls"}))

	return Dashboard{
		UID: "mlops-model", Title: "Model", Description: "What the model in production predicts, and for which records.",
		Tags: []string{"mlops"}, SchemaVersion: 41, Version: 1, Editable: true, GraphTooltip: 1,
		Refresh: "30s", Time: Range{"now-6h", "now"}, Timezone: "browser",
		Annotations: Annotations{[]struct{}{}}, Templating: Templating{[]struct{}{}},
		Panels: l.panels,
	}
}
