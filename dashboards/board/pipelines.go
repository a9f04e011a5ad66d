package board

// ended counts the workflows that ended in one of the ways within a day, by when their last run
// started: how often that changed, and once where a workflow first ended so within the day. A
// counter would miss that first one, since it appears with it.
func ended(status string) string {
	started := `argo_workflows_mlops_run_started_seconds{status=~"` + status + `"}[1d]`
	return `sum(changes(` + started + `)) + (count(min_over_time(` + started + `) > time() - 86400) or vector(0))`
}

// Pipelines is the dashboard of the workflows. Argo's controller exports most of it,
// and forgets its own counters when it starts again; Prometheus does not.
func Pipelines() Dashboard {
	const controllerAway = "Argo's controller is away"
	return Dashboard{
		UID: "mlops-pipelines", Title: "Pipelines", Description: "The workflows: loading, cleaning, training, promotion.",
		Refresh: "30s", From: "now-24h",
		Marks: []Query{{promotions, "{{name}} {{version}}"}},
		Rows: []Row{
			{"", []Panel{
				stat(4, "Running", "Workflows that run or wait now.", Short, controllerAway,
					Query{`sum(argo_workflows_gauge{status=~"Running|Pending"})`, "running"}).bare(),
				stat(5, "Last success of the pipeline", "Time since a pipeline last started that succeeded. Once a day is what the schedule says by default; an alert fires if a scheduled run is missing.", Seconds, "none seen",
					Query{`time() - max(max_over_time(argo_workflows_mlops_run_started_seconds{workflow="pipeline",status="Succeeded"}[7d]))`, "age"}).bare().orange(129600).red(259200),
				stat(5, "Next run", "Time until the schedules start the next workflow.", Seconds, "no schedule",
					Query{`min by (workflow) (mlops_schedule_next_timestamp_seconds) - time()`, "{{workflow}}"}).bare().named(),
				stat(5, "Succeeded in a day", "Workflows that ended well in the last 24 hours.", Short, "none", Query{ended("Succeeded"), "succeeded"}).bare(),
				stat(5, "Failed in a day", "Workflows that failed in the last 24 hours. A failed pipeline is an alert.", Short, "none",
					Query{ended("Failed|Error") + ` or vector(0)`, "failed"}).bare().red(1),
			}},
			{"Runs", []Panel{
				series(12, "Duration of runs", "How long the last run of each workflow took, by how it ended.", Seconds,
					Query{`max by (workflow, status) (argo_workflows_mlops_run_duration_seconds)`, "{{workflow}}: {{status}}"}).empty("no workflow has ended"),
				series(12, "Workflows by phase", "How many workflows there are in each phase; finished ones stay for a day, failed ones for a week.", Short,
					Query{`sum by (status) (argo_workflows_gauge)`, "{{status}}"}).empty(controllerAway).stacked(),
				series(24, "Duration of steps", "How long the last run of each step took, by how it ended.", Seconds,
					Query{`max by (step, status) (argo_workflows_mlops_step_duration_seconds)`, "{{step}}: {{status}}"}).empty("no step has ended"),
			}},
			{"Rows", []Panel{
				series(12, "Rows by step", "Rows that the last run of each data step read.", Short,
					Query{`max by (step) (argo_workflows_mlops_read_rows)`, "{{step}}"}).empty("no data step has ended"),
				series(12, "Rows rejected by reason", "Rows that the last run of each data step rejected, by reason; the step's report says more of each, with an example. Argo's controller forgets them when it starts again.", Short,
					Query{`max by (step, reason) (argo_workflows_mlops_rejected_rows{reason!=""})`, "{{step}}: {{reason}}"}).empty("no data step has ended").orange(1),
			}},
			{"Argo's controller", []Panel{
				series(12, "Work waiting", "Items in the controller's queues. If they grow, or stay while nothing is done, it is stuck.", Short,
					Query{`sum by (queue_name) (argo_workflows_queue_depth_gauge)`, "{{queue_name}}"}).empty(controllerAway).orange(100),
				series(12, "Errors and warnings", "Lines per minute of the controller's log.", Short,
					Query{`60 * sum by (level) (rate(argo_workflows_log_messages{level=~"error|warning"}[` + rateInterval + `]))`, "{{level}}"}).empty(controllerAway),
			}},
		},
	}
}
