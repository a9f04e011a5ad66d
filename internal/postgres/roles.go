package postgres

import "slices"

// The roles of a release's programs. Each has the rights that its program needs on
// the tables of a data set, which ingest.ShareRaw and ingest.ShareClean grant.
const (
	LoadRole    = "mlops_load"    // owns the tables of raw
	CleanRole   = "mlops_clean"   // reads raw, owns the tables of clean
	SplitRole   = "mlops_split"   // reads clean, writes the column split
	TrainRole   = "mlops_train"   // reads clean, and the ledger and rejected lines of raw
	PromoteRole = "mlops_promote" // reads clean, owns the history of the models
	ServeRole   = "mlops_serve"   // reads the views of earlier rows in clean
	ScoreRole   = "mlops_score"   // reads the rows of raw, owns the schema scored in clean
	ReadRole    = "mlops_read"    // reads both, for whoever asks what is there
)

// MonitorRole is that of the exporter of metrics, which is in no program of ours: a member
// of pg_monitor, which sees statistics of every database and rows of none.
const MonitorRole = "mlops_monitor"

// FiguresRole is that of Grafana and of the page, which show how versions of a model did:
// some columns of MLflow's tables, and nothing else.
const FiguresRole = "mlops_figures"

// ProgramRoles are the roles of programs.
func ProgramRoles() []string {
	return []string{LoadRole, CleanRole, SplitRole, TrainRole, PromoteRole, ServeRole, ScoreRole, ReadRole}
}

// taken are the names that a column of a table can't have: Postgres' system columns, and
// our own column in clean.
var taken = []string{"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin", "split"}

// ColumnName is how a column of a spec is called in the databases: by its own name, with
// an underscore before those that are taken. No column of a spec starts with one.
func ColumnName(name string) string {
	if slices.Contains(taken, name) {
		return "_" + name
	}
	return name
}
