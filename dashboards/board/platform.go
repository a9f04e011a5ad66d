package board

// Platform is the dashboard of what the release runs on.
func Platform() Dashboard {
	const (
		container = `{namespace!="",container!="",container!="POD"}`
		volumes   = `kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes`

		noService  = "no service answers Prometheus"
		noExporter = "no exporter of Postgres"
		noMinIO    = "no MinIO"
	)
	return Dashboard{
		UID: "mlops-platform", Title: "Platform", Description: "Memory, disks, restarts, databases and certificates of the release.",
		Refresh: "30s", From: "now-6h",
		Rows: []Row{
			{"", []Panel{
				stat(5, "Targets down", "Services of the release that do not answer Prometheus.", Short, "none", Query{`count(up == 0) or vector(0)`, "down"}).bare().red(1),
				stat(5, "Alerts firing", "Alerts that fire now.", Short, "none", Query{`count(ALERTS{alertstate="firing"}) or vector(0)`, "firing"}).bare().orange(1),
				stat(5, "Certificates' end", "Time until the first certificate of the release ends. Less than 21 days is an alert.", Seconds, "no certificate",
					Query{`min(mlops_certificate_end_timestamp_seconds) - time()`, "left"}).bare().need(TLS),
				stat(5, "MinIO's free space", "What MinIO can still store.", Bytes, noMinIO, Query{`min(minio_cluster_capacity_usable_free_bytes)`, "free"}).bare(),
				stat(4, "Series in Prometheus", "Time series that Prometheus holds in memory.", Short, "none", Query{`prometheus_tsdb_head_series`, "series"}).bare().orange(100000),
			}},
			{"Processes", []Panel{
				series(12, "Memory by service", "Resident memory of each process that Prometheus scrapes.", Bytes, Query{`process_resident_memory_bytes`, "{{job}} {{instance}}"}, Query{`max(minio_node_process_resident_memory_bytes)`, "minio"}).empty(noService),
				series(12, "CPU by service", "Processors used by each process that Prometheus scrapes.", Short, Query{`rate(process_cpu_seconds_total[` + rateInterval + `])`, "{{job}} {{instance}}"}).empty(noService),
				series(12, "Starts of processes", "Processes started again."+lookBack, Short, Query{`sum by (job) (changes(process_start_time_seconds[` + rateInterval + `]))`, "{{job}}"}).empty(noService).red(1),
				series(12, "Prometheus' disk", "What the samples take.", Bytes, Query{`prometheus_tsdb_storage_blocks_bytes + prometheus_tsdb_wal_storage_size_bytes`, "samples"}).empty("Prometheus does not scrape itself"),
			}},
			{"Pods and nodes", append(needs(Containers,
				series(12, "Memory of pods", "Working set, which the limit applies to.", Bytes, Query{`sum by (pod) (container_memory_working_set_bytes` + container + `)`, "{{pod}}"}),
				series(12, "Memory as a share of the limit", "Above 0.9 for a quarter of an hour is an alert: at 1 the kernel kills the process.", Percent,
					Query{`max by (pod, container) (container_memory_working_set_bytes` + container + ` / (container_spec_memory_limit_bytes` + container + ` > 0))`, "{{pod}} {{container}}"}).share().orange(0.8).red(0.9),
				series(12, "CPU of pods", "Processors used.", Short, Query{`sum by (pod) (rate(container_cpu_usage_seconds_total` + container + `[` + rateInterval + `]))`, "{{pod}}"}),
				series(12, "Restarts of containers", "Containers started again."+lookBack, Short,
					Query{`sum by (pod, container) (changes(container_start_time_seconds` + container + `[` + rateInterval + `]))`, "{{pod}} {{container}}"}).red(1),
			), needs(Kubelet,
				series(12, "Volumes", "Share of each volume that is used. Above 0.85 is an alert.", Percent, Query{`max by (persistentvolumeclaim) (` + volumes + `)`, "{{persistentvolumeclaim}}"}).share().orange(0.75).red(0.85),
				series(12, "Memory of nodes", "Working set of everything on the node, beside what it has.", Bytes,
					Query{`sum by (instance) (container_memory_working_set_bytes{id="/"})`, "{{instance}} used"}, Query{`sum by (instance) (machine_memory_bytes)`, "{{instance}} has"}),
				series(12, "Disks of nodes", "Share of each node's disks that is used. The kubelet evicts pods above 0.85 to 0.9, unless it is told otherwise.", Percent,
					Query{`max by (instance, device) (container_fs_usage_bytes{id="/", device=~"/dev/.*", device!="/dev/shm"} / (container_fs_limit_bytes > 0))`, "{{instance}} {{device}}"}).share().orange(0.8).red(0.85),
			)...)},
			{"Postgres", []Panel{
				series(12, "Connections", "Connections to each database, beside the most that the server takes. Each role has a limit of its own below that.", Short,
					Query{`sum by (datname) (pg_stat_activity_count)`, "{{datname}}"}, Query{`max(pg_settings_max_connections)`, "the most"}).empty(noExporter).stacked(),
				series(12, "Size of databases", "What each database takes of the volume.", Bytes, Query{`pg_database_size_bytes{datname!~"template.*"}`, "{{datname}}"}).empty(noExporter),
				series(12, "Transactions per minute", "Committed and rolled back, in all databases.", Short,
					Query{`60 * sum(rate(pg_stat_database_xact_commit[` + rateInterval + `]))`, "committed"}, Query{`60 * sum(rate(pg_stat_database_xact_rollback[` + rateInterval + `]))`, "rolled back"}).empty(noExporter),
				series(12, "Longest transaction", "Age of the oldest open transaction by database. A load is one long transaction; any other that stays open keeps Postgres from cleaning up.", Seconds,
					Query{`max by (datname) (pg_stat_activity_max_tx_duration)`, "{{datname}}"}).empty(noExporter).orange(3600),
				series(12, "Read from memory", "Share of the blocks read that were in Postgres' memory.", Percent,
					Query{`sum by (datname) (rate(pg_stat_database_blks_hit{datname!~"template.*"}[` + rateInterval + `])) / (sum by (datname) (rate(pg_stat_database_blks_hit{datname!~"template.*"}[` + rateInterval + `]) + rate(pg_stat_database_blks_read{datname!~"template.*"}[` + rateInterval + `])) > 0)`, "{{datname}}"}).empty(noExporter).share(),
				series(12, "Deadlocks", "Transactions that Postgres ended because they waited for each other."+lookBack, Short, Query{events("pg_stat_database_deadlocks", " by (datname)"), "{{datname}}"}).empty(noExporter).red(1),
			}},
			{"Objects", []Panel{
				series(12, "MinIO's disk", "Share of MinIO's disk that is used, by MinIO or anything else there. Above 0.95 is an alert.", Percent,
					Query{`1 - min(minio_cluster_capacity_usable_free_bytes) / min(minio_cluster_capacity_usable_total_bytes)`, "used"}).empty(noMinIO).share().orange(0.85).red(0.95),
				series(12, "MinIO's requests per minute", "By kind.", Short, Query{`60 * sum by (api) (rate(minio_s3_requests_total[` + rateInterval + `]))`, "{{api}}"}).empty(noMinIO),
			}},
		},
	}
}
