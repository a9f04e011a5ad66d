package board

import "fmt"

func loadQuantile(name string, q float64) string {
	return fmt.Sprintf(`histogram_quantile(%g, sum by (le) (rate(mlops_loadtest_%s_seconds_bucket[%s]))) >= 0`, q, name, rateInterval)
}

// LoadTests is the dashboard of the load tester.
func LoadTests() Dashboard {
	const (
		ended  = `sum(rate(mlops_loadtest_requests_total[` + rateInterval + `]))`
		failed = `sum(rate(mlops_loadtest_requests_total{outcome="failed"}[` + rateInterval + `]))`
	)
	return Dashboard{
		UID: "mlops-loadtest", Title: "Load test", Description: "What the load tester sends, and what comes back. It counts from the intended start of a request; the server's own times are on Serving.",
		Refresh: "5s", From: "now-15m",
		Rows: []Row{
			{"", needs(LoadTest,
				stat(6, "Running", "1 while a load test runs.", Short, "no load tester", Query{`max(mlops_loadtest_running)`, "running"}).bare(),
				stat(6, "Requests per second", "Requests that have ended.", Short, "none", Query{ended, "requests"}),
				stat(6, "Failures", "Share of the requests that failed. Above 20 % a server counts as full.", Percent, "none", Query{failed + ` / (` + ended + ` > 0)`, "failures"}).share().orange(0.01).red(0.2),
				stat(6, "99th percentile", "Latency of successful requests, from their intended start.", Seconds, "none", Query{loadQuantile("latency", 0.99), "p99"}),
			)},
			{"Load", needs(LoadTest,
				series(12, "Requests per second by outcome", "By target and outcome.", Short, Query{`sum by (target, outcome) (rate(mlops_loadtest_requests_total[` + rateInterval + `]))`, "{{target}} {{outcome}}"}).stacked(),
				series(12, "Users", "Users of the running test, and what it is to have: users, or requests per second.", Short, Query{`max(mlops_loadtest_users)`, "users"}, Query{`max(mlops_loadtest_level)`, "to have"}),
				series(12, "Latency", "Of successful requests, from their intended start.", Seconds,
					Query{loadQuantile("latency", 0.5), "p50"}, Query{loadQuantile("latency", 0.95), "p95"}, Query{loadQuantile("latency", 0.99), "p99"}),
				series(12, "Service time", "The same from when they were sent. If latency is far above it, requests wait before they are sent.", Seconds,
					Query{loadQuantile("service", 0.5), "p50"}, Query{loadQuantile("service", 0.95), "p95"}, Query{loadQuantile("service", 0.99), "p99"}),
			)},
		},
	}
}
