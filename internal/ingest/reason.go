package ingest

import (
	"strings"

	"mlops/internal/source"
)

// The reasons for which rows are rejected, as metrics name them: few, whatever the
// table and the spec hold. A Loss says more.
const (
	malformed    = "malformed"     // the line is no record of the table
	encoding     = "encoding"      // the line is not in the table's encoding
	invalidKey   = "invalid_key"   // the key is missing or too long
	repeatedKey  = "repeated_key"  // the key is there already
	changedKey   = "changed_key"   // the key is known with other values
	missingValue = "missing_value" // a column that needs a value has none
	wrongType    = "wrong_type"    // a value can't be read as its column's type
	outOfRange   = "out_of_range"  // a value is outside of what its column, its type or a model takes
)

// Reasons are, by step, all reasons for which it rejects rows.
var Reasons = map[string][]string{
	"load-raw-data": {malformed, encoding, invalidKey, repeatedKey, changedKey},
	"process-data":  {invalidKey, repeatedKey, missingValue, wrongType, outOfRange},
}

// class is the one of Reasons that the loss counts to.
func (l *Loss) class() string {
	if l.Column == "" {
		if source.OfEncoding(l.Reason) {
			return encoding
		}
		return malformed
	}
	switch l.Reason {
	case keyMissing, keyLong:
		return invalidKey
	case keyTwice:
		return repeatedKey
	case keyChanged:
		return changedKey
	case valueMissing, timeMissing:
		return missingValue
	}
	for _, bound := range []string{"below ", "above ", "before ", "after ", "too large "} {
		if strings.HasPrefix(l.Reason, bound) {
			return outOfRange
		}
	}
	return wrongType
}

// reject fills in why rows were rejected: all counts by reason, and the largest losses.
func (r *Report) reject(all []Loss) {
	r.Reasons = map[string]int64{}
	for i := range all {
		r.Reasons[all[i].class()] += all[i].Rows
	}
	r.Losses = largest(all)
}

// largest are those of the losses, in their order, that a report lists.
func largest(all []Loss) []Loss { return all[:min(len(all), maxLosses)] }
