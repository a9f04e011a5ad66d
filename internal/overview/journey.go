package overview

import (
	"encoding/json"
	"fmt"
	"strings"

	"mlops/internal/ingest"
	"mlops/internal/inspect"
)

// Journey is what the steps of a pipeline said of the rows: what became of them, and
// what was found in them before training, and of the gate's decision.
type Journey struct {
	Reports   []ingest.Report
	Findings  []inspect.Finding
	inspected bool
	decision  string // of the gate
}

// shownFindings is how many findings the last screen has.
const shownFindings = 12

// Add takes in the output parameters of one task.
func (j *Journey) Add(outputs map[string]string) error {
	if text, ok := outputs["report"]; ok {
		r, err := ingest.ParseReport(text)
		if err != nil {
			return err
		}
		j.Reports = append(j.Reports, r)
	}
	if text, ok := outputs["findings"]; ok {
		if err := json.Unmarshal([]byte(text), &j.Findings); err != nil {
			return fmt.Errorf("reading what was found in the rows: %w", err)
		}
		j.inspected = true
	}
	if text := outputs["decision"]; text != "" {
		j.decision = text
	}
	return nil
}

// String is a part of the last screen, indented as that is; empty where no step said
// anything.
func (j *Journey) String() string {
	var lines []string
	for _, r := range j.Reports {
		lines = append(lines, r.String())
	}
	if j.inspected {
		lines = append(lines, strings.TrimSuffix(inspect.Table(j.Findings, shownFindings), "\n"))
	}
	if j.decision != "" {
		lines = append(lines, "promote-best-model: "+j.decision)
	}
	if len(lines) == 0 {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.Join(lines, "\n"), "\n", "\n  ") + "\n"
}
