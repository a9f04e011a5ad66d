package board

import "fmt"

func scoreQuantile(q float64) string {
	return fmt.Sprintf(`histogram_quantile(%g, sum by (version, le) (rate(mlops_prediction_score_bucket[%s]))) >= 0`, q, rateInterval)
}

// promotions has a value at the moments at which a server took up another version.
const promotions = `sum by (name, version) (changes(mlops_model_loaded_timestamp_seconds[` + rateInterval + `]) * on (job, instance) group_right () mlops_model_info) > 0`

// VersionMetrics asks MLflow's Postgres how each version did on the test rows. It may name
// only what setup lets its role read.
const VersionMetrics = `SELECT v.name AS model, v.version,
  (SELECT string_agg(a.alias, ', ' ORDER BY a.alias) FROM registered_model_aliases a WHERE a.name = v.name AND a.version = v.version) AS aliases,
  to_timestamp(v.creation_time / 1000) AS registered, m.key AS metric, m.value
FROM model_versions v JOIN latest_metrics m ON m.run_uuid = v.run_id
WHERE starts_with(m.key, 'test_') AND right(m.key, 4) <> '_low' AND right(m.key, 5) <> '_high' AND NOT m.is_nan
ORDER BY v.name, v.version DESC, m.key
LIMIT 1000`

// Model is the dashboard of the model's predictions: what it says, and of which records.
func Model() Dashboard {
	const quiet = "no records"
	const odd = `rate(mlops_prediction_warnings_total{column!=""}[` + rateInterval + `])`
	return Dashboard{
		UID: "mlops-model", Title: "Model", Description: "What the model in production predicts, and for which records.",
		Refresh: "30s", From: "now-6h",
		Tables: []Table{{"Metrics by version", "How each registered version did on the test rows, from MLflow's database. Versions of other test rows can't be compared by it; GET /model/history says what the gate compared.", VersionMetrics, 10}},
		Marks:  []Query{{promotions, "{{name}} {{version}}"}},
		Rows: []Row{
			{"", []Panel{
				versionServed(6),
				stat(6, "Records per minute", "Records scored; a request may have many.", Short, quiet, Query{`60 * ` + scored, "records"}),
				stat(6, "Mean score", "Mean probability of the records scored, of a binary task.", Percent, "no scores",
					Query{`sum(rate(mlops_prediction_score_sum[` + rateInterval + `])) / (sum(rate(mlops_prediction_score_count[` + rateInterval + `])) > 0)`, "mean"}).share(),
				servedFor(6),
			}},
			{"Scores", []Panel{
				series(12, "Scores by version", "Quantiles of the probabilities that each version gave, estimated from buckets of 0.05. Those of a version that was just promoted can be compared with those of the one before.", Percent,
					Query{scoreQuantile(0.1), "{{version}}: p10"}, Query{scoreQuantile(0.5), "{{version}}: p50"}, Query{scoreQuantile(0.9), "{{version}}: p90"}).empty(noBinary).share(),
				series(12, "Mean score by version", "Mean probability that each version gave.", Percent,
					Query{`sum by (version) (rate(mlops_prediction_score_sum[` + rateInterval + `])) / (sum by (version) (rate(mlops_prediction_score_count[` + rateInterval + `])) > 0)`, "{{version}}"}).empty(noBinary).share(),
				series(24, "Records per minute by label", "Records scored, by the predicted label.", Short,
					Query{`60 * sum by (label) (rate(mlops_predictions_total[` + rateInterval + `]))`, "label {{label}}"}).empty(quiet).stacked(),
			}},
			{"Records unlike the training rows", []Panel{
				series(12, "Warnings per minute by column", "Records with a warning for a column: the ten columns with the most. More than half of the records for half an hour is an alert.", Short,
					Query{`topk(10, 60 * sum by (column) (` + odd + `))`, "{{column}}"}).empty("no warnings"),
				series(12, "Warnings per minute by kind", "Values out of the training range, levels that training had not seen, and values missing that never were.", Short,
					Query{`60 * sum by (kind) (` + odd + `)`, "{{kind}}"}).empty("no warnings").stacked(),
			}},
			{"Versions", []Panel{
				series(12, "Servers by version", "How many servers serve which version: where one line ends and the next begins, a version was promoted.", Short,
					Query{served, "{{name}} {{version}}"}).empty(noModel).stacked(),
				series(12, "Loaded and refused", "Versions loaded and refused, beside failed polls of the registry."+lookBack, Short, loadedAndRefused...).empty(noServer),
			}},
		},
	}
}
