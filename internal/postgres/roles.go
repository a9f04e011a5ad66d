package postgres

// The roles of a release's programs. Each has the rights that its program needs on
// the tables of a data set, which ingest.ShareRaw and ingest.ShareClean grant.
const (
	LoadRole    = "mlops_load"    // owns the tables of raw
	CleanRole   = "mlops_clean"   // reads raw, owns the tables of clean
	SplitRole   = "mlops_split"   // reads clean, writes the column split
	TrainRole   = "mlops_train"   // reads clean, and the ledger and rejected lines of raw
	PromoteRole = "mlops_promote" // reads clean, owns the history of the models
	ReadRole    = "mlops_read"    // reads both, for whoever asks what is there
)

// ProgramRoles are those roles.
func ProgramRoles() []string {
	return []string{LoadRole, CleanRole, SplitRole, TrainRole, PromoteRole, ReadRole}
}
