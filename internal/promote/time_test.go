package promote_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// In a split by time the validation rows have earlier rows of their group among those of
// training. The gate has to see them as training did, and does not compare a version that
// was trained on the validation rows.
func TestGateByTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hashed := w.spec()
	w.trainAll(hashed)
	first := w.promote(hashed)

	s := w.spec("columns:\n  - {name: species", "group: island\norder: year\n\ncolumns:\n  - {name: species",
		"  salts: [penguins-1]\n  train: 70\n  validation: 15\n  test: 15\n", "  {by: year, validation_from: 2008, test_from: 2009}\n",
		"  - {category: island}\n", "  - {history: last, number: body_mass_g}\n  - {history: count}\n")
	rows := byTime(w.rows(s), s)
	for _, candidate := range s.Candidates {
		c := w.config(s, candidate.Name)
		c.Rows = rows
		w.run(c)
	}
	d, err := promote.Run(t.Context(), promote.Config{Spec: s, DataDigest: digest, Rows: rows, Registry: registry.New(w.client, s.Model), Log: quiet()})
	if err != nil || !d.Promoted {
		t.Fatalf("%+v, %v; want a candidate promoted", d, err)
	}
	contains(t, "reason", d.Reason, fmt.Sprintf("version %d", first.Version), "it was trained on some of the validation rows", "by year: validation from 2008, test from 2009")
	v, err := w.client.GetVersion(t.Context(), s.Model, d.Version)
	if err != nil {
		t.Fatal(err)
	}
	run, err := w.client.GetRun(t.Context(), v.RunID)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "reason", d.Reason, fmt.Sprintf("with %.6f is the best, by auc on", run.Metrics["validation_auc"]))
	if got := run.Params["split"]; got != s.SplitRule() || run.Params["split_by"] != "year" || run.Params["split_salt"] != "" {
		t.Errorf("the run's parameter split is %q, want %q", got, s.SplitRule())
	}
}

// byTime gives rows in the order of a spec that looks back, split by time.
func byTime(rows dataset.Rows, s *dataset.Spec) dataset.Rows {
	return func(ctx context.Context, row func(string, [][]byte) error) error {
		var all [][][]byte
		if err := rows(ctx, func(_ string, fields [][]byte) error {
			all = append(all, slices.Clone(fields))
			return nil
		}); err != nil {
			return err
		}
		group, at := s.Column(s.Group), s.Column(s.Order)
		slices.SortStableFunc(all, func(a, b [][]byte) int {
			return cmp.Or(strings.Compare(string(a[group]), string(b[group])), cmp.Compare(s.Place(a[at]), s.Place(b[at])))
		})
		for _, fields := range all {
			if err := row(s.SplitOf(fields[s.Column(s.Split.By)]), fields); err != nil {
				return err
			}
		}
		return nil
	}
}
