package inspect

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Table is findings for people, of which it shows at most so many; 0: all.
func Table(found []Finding, most int) string {
	var b strings.Builder
	switch len(found) {
	case 0:
		return "inspected before training: nothing was found\n"
	case 1:
		b.WriteString("inspected before training: 1 finding\n")
	default:
		fmt.Fprintf(&b, "inspected before training: %d findings\n", len(found))
	}
	shown := found
	if most > 0 && len(found) > most {
		shown = found[:most]
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range shown {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", f.Level, f.Kind, f.Feature+f.Split, f.Text)
	}
	_ = w.Flush() // to memory
	if left := len(found) - len(shown); left > 0 {
		fmt.Fprintf(&b, "  and %d more, in findings.txt of each run in MLflow\n", left)
	}
	return b.String()
}
