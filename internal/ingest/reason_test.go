package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReasons counts rejected rows by reason, also of mistakes of which there are more
// than a report lists: each row of these has a value missing in a column of its own.
func TestReasons(t *testing.T) {
	t.Parallel()
	const columns = maxLosses + 5
	cfg := setup(t, "key: id")
	cfg.All = true
	var spec, head, rows strings.Builder
	for i := range columns {
		fmt.Fprintf(&spec, "  - {name: c%d, type: category, required: true}\n", i)
		fmt.Fprintf(&head, ",c%d", i)
	}
	cfg.Spec = parse(t, strings.Replace(specText("key: id"), "columns:\n", "columns:\n"+spec.String(), 1))
	row := func(start string, missing int) {
		rows.WriteString(start)
		for i := range columns {
			if rows.WriteByte(','); i != missing {
				rows.WriteByte('x')
			}
		}
		rows.WriteByte('\n')
	}
	for i := range columns {
		row(fmt.Sprintf("%d,a,5,yes", i), i)
	}
	row("100,a,5,yes", -1)
	row("100,b,5,yes", -1)                            // the key again
	row(",b,5,yes", -1)                               // no key
	row(strings.Repeat("1", maxKey+1)+",b,5,yes", -1) // too long a key
	row("101,b,301,yes", -1)                          // above the column's max
	row("102,b,-1,yes", -1)                           // below its min
	row("103,b,1e39,yes", -1)
	row("104,b,much,yes", -1)
	row("104.5,b,5,yes", -1)
	row("105,Zo\xe9,5,yes", -1)
	rows.WriteString("106,b\n107,\"b,5\n")
	cfg = cfg.from(t, strings.TrimSuffix(header, "\n")+head.String()+"\n"+rows.String())
	load := load(t, cfg)
	if diff := cmp.Diff(map[string]int64{malformed: 2, encoding: 1, invalidKey: 2, repeatedKey: 1}, load.Reasons); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	clean, err := Process(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{missingValue: columns, outOfRange: 3, wrongType: 2}, clean.Reasons); diff != "" || len(clean.Losses) != maxLosses {
		t.Errorf("process, with %d losses (-want +got):\n%s", len(clean.Losses), diff)
	}
	// The same keys with other values, from another source.
	cfg = cfg.from(t, strings.TrimSuffix(header, "\n")+head.String()+"\n"+"100,a,6,yes"+strings.Repeat(",x", columns)+"\n")
	again, err := LoadRaw(t.Context(), cfg)
	if diff := cmp.Diff(map[string]int64{changedKey: 1}, again.Reasons); err != nil || diff != "" {
		t.Errorf("another load: %v (-want +got):\n%s", err, diff)
	}
	checkReport(t, again)
}
