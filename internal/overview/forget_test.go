package overview

import (
	"bytes"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/program"
)

// TestAsk says what goes before it asks, and takes only the data set's name for a yes.
func TestAsk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer string
		yes    bool
		code   int
	}{{"things\n", false, 0}, {"things", false, 0}, {"y\n", false, program.BadInput}, {"", false, program.BadInput}, {"", true, 0}} {
		r := &Removal{Spec: &dataset.Spec{Name: "things"}, Place: "here", Rows: ingest.Counts{Raw: 12, RawRejected: 3, Clean: 11, Rejected: 1}, Goes: []string{"a file"}, Stays: []string{"Models stay."}}
		var out bytes.Buffer
		err := r.Ask(strings.NewReader(tt.answer), &out, tt.yes)
		if program.Code(err) != tt.code && !(err == nil && tt.code == 0) {
			t.Errorf("answer %q, yes %v: got %v, want exit code %d", tt.answer, tt.yes, err, tt.code)
		}
		want := "This removes the data set things from here:\n  12 rows and 3 rejected lines from raw\n  11 rows and 1 rejected ones from clean\n  a file\nModels stay.\n"
		if !strings.HasPrefix(out.String(), want) {
			t.Errorf("said %q, want it to begin with %q", out.String(), want)
		}
	}
}
