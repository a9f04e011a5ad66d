package registry

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/signature"
)

// Version is a version of a registered model, with what the platform notes on
// it.
type Version struct {
	Name    string // of the registered model
	Number  int
	RunID   string
	Logged  string // what MLflow calls the logged model of a version without a run; else empty
	Created time.Time

	Dataset   string // name of the spec that it was trained by
	Candidate string
	Training  string  // see Training
	Outcome   Outcome // of the gate; empty: it has not decided yet
	Reason    string  // why, as a sentence
	Replaces  int     // number of the version in production before it; 0: none
	Best      bool    // tagged as the one in production
	Signature string  // of its files; empty: nobody signed it
	Compared  string  // signature that lets it be the challenger only; empty: there is none
	Synthetic bool    // trained on made-up rows

	Description string // for people; may be empty

	noted bool // Outcome is a tag, not only read out of the reason
}

// Same reports whether both are the same version, whatever is noted on it. A
// registry that was set up again gives the same number to another run or model.
func (v Version) Same(other Version) bool {
	return v.Name == other.Name && v.Number == other.Number && v.RunID == other.RunID && v.Logged == other.Logged
}

// hasRun reports whether the version was logged in a run. MLflow 3 logs a notebook's model
// outside one too.
func (v Version) hasRun() bool { return v.RunID != "" }

// Subject is what the version's signature is over, if its files are in this folder.
func (v Version) Subject(files fs.FS) (signature.Subject, error) {
	names, err := model.Names(files)
	if err != nil {
		return signature.Subject{}, err
	}
	return signature.Of(v.Name, v.Number, files, names)
}

// Outcome is what became of a version at the gate.
type Outcome string

const (
	Promoted Outcome = "promoted" // put into production
	Replaced Outcome = "replaced" // in production until a better one was promoted
	Lost     Outcome = "lost"     // no better than another candidate or the one in production
	Refused  Outcome = "refused"  // must not be in production, however well it scores

	// RolledBack was in production until somebody put another back. The gate
	// doesn't promote it again.
	RolledBack Outcome = "rolled back"
)

// WasProduction reports whether the version is or was in production.
func (v Version) WasProduction() bool {
	return v.Best || v.Outcome == Promoted || v.Outcome == Replaced || v.Outcome == RolledBack
}

// Tags of a version. Programs read these; only TagPromotion is meant for people.
const (
	TagDataset     = "dataset"              // the spec's name
	TagCandidate   = "candidate"            // the candidate's name
	TagTrainingKey = "training_key"         // digest of all that made the version; see Key
	TagTraining    = "training"             // digest of what the candidates of one training share
	TagBest        = "best_model"           // "true" on the version in production
	TagOutcome     = "outcome"              // an Outcome
	TagPromotion   = "promotion"            // the reason for the outcome, as a sentence
	TagSignature   = "signature"            // of the version's files, by promotion
	TagCompared    = "challenger_signature" // of the same files, for a version that may be compared and not served
	TagSynthetic   = "synthetic"            // "true" on a version of made-up rows
	TagReplaces    = "replaces"             // number of the version that was in production before this one
)

// Tags of the registered model.
const (
	TagPinned = "pinned"            // why its version in production is pinned; there only while it is
	TagChosen = "challenger_chosen" // why somebody chose the challenger; there only while that holds
)

// version reads what MLflow says of a version.
func version(v mlflow.Version) Version {
	out := Version{
		Name: v.Name, Number: v.Number, RunID: v.RunID, Created: v.Created, Description: v.Description,
		Dataset: v.Tags[TagDataset], Candidate: v.Tags[TagCandidate], Training: v.Tags[TagTraining],
		Outcome: Outcome(v.Tags[TagOutcome]), Reason: v.Tags[TagPromotion],
		Best: v.Tags[TagBest] == "true", Synthetic: v.Tags[TagSynthetic] == "true", Signature: v.Tags[TagSignature], Compared: v.Tags[TagCompared],
	}
	if !out.hasRun() {
		out.Logged = path.Base(v.Source)
	}
	out.noted = out.Outcome != ""
	if !out.noted {
		out.Outcome = legacyOutcome(out.Reason)
	}
	out.Replaces, _ = strconv.Atoi(v.Tags[TagReplaces]) // the first in production replaces none
	return out
}

// legacyOutcome reads the outcome of a version that was decided on before there
// was TagOutcome: its reason began with it.
func legacyOutcome(reason string) Outcome {
	for _, o := range []struct {
		prefix  string
		outcome Outcome
	}{{"promoted: ", Promoted}, {"replaced by ", Replaced}, {"not promoted: ", Lost}} {
		if strings.HasPrefix(reason, o.prefix) {
			return o.outcome
		}
	}
	return ""
}

func versions(list []mlflow.Version) []Version {
	out := make([]Version, len(list))
	for i, v := range list {
		out[i] = version(v)
	}
	return out
}
