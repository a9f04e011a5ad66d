// Package figures keeps what was measured (bench.json): by `make bench`, and by
// `make e2e` on a cluster.
package figures

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sort"
	"text/tabwriter"
	"time"
)

// Figure is one line of the table.
type Figure struct {
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Unit  string    `json:"unit,omitempty"`
	Reach string    `json:"reach,omitempty"` // the target, in words
	How   string    `json:"how,omitempty"`
	When  time.Time `json:"when"`
}

// Results is what the file holds.
type Results struct {
	CPUs    int                 `json:"cpus"`
	Figures map[string][]Figure `json:"figures"` // by part

	file string
}

// Read reads the file if it exists.
func Read(file string) (*Results, error) {
	r := &Results{file: file, Figures: map[string][]Figure{}}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return r, nil
}

// Replace puts a part's figures in the place of its old ones and writes the file.
func (r *Results) Replace(part string, figures []Figure) error {
	r.CPUs = runtime.NumCPU()
	now := time.Now().UTC().Truncate(time.Second)
	for i := range figures {
		figures[i].When = now
	}
	r.Figures[part] = figures
	return r.write()
}

// Add puts one figure of a part in the place of its old one, or behind the
// others, and writes the file.
func (r *Results) Add(part string, f Figure) error {
	all := slices.DeleteFunc(r.Figures[part], func(old Figure) bool { return old.Name == f.Name })
	r.CPUs, f.When = runtime.NumCPU(), time.Now().UTC().Truncate(time.Second)
	r.Figures[part] = append(all, f)
	return r.write()
}

func (r *Results) write() error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(r.file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", r.file, err)
	}
	return nil
}

// Table writes all figures for people.
func (r *Results) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tMEASURED\tTARGET\tHOW\tWHEN")
	parts := make([]string, 0, len(r.Figures))
	for p := range r.Figures {
		parts = append(parts, p)
	}
	sort.Strings(parts)
	for _, p := range parts {
		for _, f := range r.Figures[p] {
			fmt.Fprintf(t, "%s\t%.4g %s\t%s\t%s\t%s\n", f.Name, f.Value, f.Unit, f.Reach, f.How, f.When.Format(time.DateTime))
		}
	}
	return t.Flush()
}
