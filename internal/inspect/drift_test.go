package inspect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
)

// batches are the numbers of rows that come in batches of so many.
func batches(rows ...int) []int32 {
	var all []int32
	for b, n := range rows {
		for range n {
			all = append(all, int32(b))
		}
	}
	return all
}

func TestStretches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		batch []int32
		rows  int
		want  []string
	}{
		{"no batches", nil, 500, []string{"the first half of the training rows 0-250", "the second half 250-500"}},
		{"one batch", batches(501), 501, []string{"the first half of the training rows 0-250", "the second half 250-501"}},
		{"too few", nil, 399, nil},
		{"large ones", batches(200, 300, 400), 900, []string{"batch 1 0-200", "batch 2 200-500", "batch 3 500-900"}},
		{"small ones are joined with the next", batches(100, 100, 100, 150), 450, []string{"batches 1 to 2 0-200", "batches 3 to 4 200-450"}},
		{"a small last one with the one before", batches(300, 300, 20), 620, []string{"batch 1 0-300", "batches 2 to 3 300-620"}},
		{"an empty one in the middle", append(batches(200), []int32(slice(2, 200))...), 400, []string{"batch 1 0-200", "batch 3 200-400"}},
	} {
		var got []string
		for _, s := range stretchesOf(tt.batch, tt.rows) {
			got = append(got, fmt.Sprintf("%s %d-%d", s.name, s.from, s.to))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func slice(value int32, n int) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = value
	}
	return all
}

func TestDriftNamesTheBatch(t *testing.T) {
	t.Parallel()
	stretches := stretchesOf(batches(300, 300, 300, 300), 1200)
	r := rand.New(rand.NewPCG(1, 1))
	number, category, absent := make([]float32, 1200), make([]float32, 1200), make([]float32, 1200)
	for i := range number {
		number[i], category[i], absent[i] = float32(r.NormFloat64()), float32(r.IntN(4)), float32(r.NormFloat64())
		if i >= 600 && i < 900 {
			number[i] += 2
			category[i] = float32(r.IntN(2))
		}
		if i >= 900 && i%2 == 0 {
			absent[i] = nan
		}
	}
	for _, tt := range []struct {
		feature Feature
		values  []float32
		want    string
	}{
		{Feature{Name: "number"}, number, "is distributed differently in batch 3 than in batch 1"},
		{Feature{Name: "category", Codes: 4, Levels: []string{"a", "b", "c"}}, category, "is distributed differently in batch 3 than in batch 1"},
		{Feature{Name: "absent"}, absent, "is distributed differently in batch 4 than in batch 1"},
	} {
		f := drift("feature", tt.feature, tt.values, stretches, false)
		if f == nil || !strings.Contains(f.found.Text, tt.want) {
			t.Errorf("drift of %s: %+v, want %q", tt.feature.Name, f, tt.want)
		}
	}
	if f := drift("feature", Feature{Name: "category", Codes: 4, Levels: []string{"a", "b", "c"}}, category, stretches, false); f != nil && !strings.Contains(f.found.Text, `; "`) {
		t.Errorf("drift of a category: %s, want the level that changed most", f.found.Text)
	}
	if got := levelOf(Feature{Levels: []string{"a", "b"}}, []float64{50, 30, 20}, []float64{10, 35, 55}); got != `; "a" in 50% and 10%` {
		t.Errorf("the level that changed most: %s", got)
	}
	if f := drift("feature", Feature{Name: "absent"}, absent, stretches, false); f != nil && !strings.Contains(f.found.Text, "missing in 0% and 50%") {
		t.Errorf("drift of absent: %s, want the share of missing values", f.found.Text)
	}
}

// A hundred features of noise in small batches: none has changed.
func TestNoiseIsNoDrift(t *testing.T) {
	t.Parallel()
	stretches := stretchesOf(batches(200, 200, 200, 200, 200), 1000)
	r := rand.New(rand.NewPCG(2, 2))
	for n := range 100 {
		f := Feature{Name: fmt.Sprint(n), Codes: n % 2 * 30}
		values := make([]float32, 1000)
		for i := range values {
			values[i] = float32(r.IntN(max(f.Codes, 1)))
			if f.Codes == 0 {
				values[i] = float32(r.NormFloat64())
			}
		}
		if found := drift("feature", f, values, stretches, false); found != nil {
			t.Errorf("noise: %s", found.found)
		}
	}
}

// Ten rows per group with the same answer: the group's address tells it only to
// itself.
func TestGroupsShareAFold(t *testing.T) {
	t.Parallel()
	var p Part
	for i := range 5990 {
		group := i % 599 // prime to Folds, so that a group is in all folds by number
		p.X, p.Y = append(p.X, float32(group)), append(p.Y, float32(group/4%3/2))
		p.Fold = append(p.Fold, uint8(group*7919%Folds))
	}
	features := []Feature{{Name: "address", Columns: []string{"address"}, Codes: 599}}
	parts := map[string]Part{dataset.Train: p, dataset.Validation: p, dataset.Test: p}
	if found, err := Rows(spec(), features, parts); err != nil || Check(found) != nil {
		t.Errorf("what only names the group is called a leak: %v, %v", found, err)
	}
	p.Fold = nil
	parts[dataset.Train] = p
	if found, err := Rows(spec(), features, parts); err != nil || Check(found) == nil {
		t.Errorf("without folds by group: %v, %v; want a leak, or this test proves nothing", found, err)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	target := &dataset.Target{Column: "churn", Positive: []string{"Yes", "J"}}
	var got []string
	for _, f := range Target(target, map[string]int{"Yes": 30, "yes": 2, "YES.": 1, "No": 70, "yesterday": 1}) {
		got = append(got, f.String())
	}
	want := []string{
		`warning: no row has churn = "J", which target.positive names; there are "No" (70), "Yes" (30), "yes" (2), "YES." (1), "yesterday" (1)`,
		`warning: churn = "YES." (rows: 1) counts as negative, though it is another spelling of "Yes": add it to target.positive if it means the same`,
		`warning: churn = "yes" (rows: 2) counts as negative, though it is another spelling of "Yes": add it to target.positive if it means the same`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if found := Target(&dataset.Target{Column: "churn", Positive: []string{"Yes"}}, map[string]int{"Yes": 3, "No": 4}); found != nil {
		t.Errorf("nothing is wrong, found %v", found)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	found := []Finding{{Level: Stop, Kind: "leak", Feature: "ended", Text: "it tells"}, {Level: Warning, Kind: "few", Split: "test", Text: "they are few"}}
	want := `inspected before training: 2 findings
  stop  leak  ended  it tells
  and 1 more, in findings.txt of each run in MLflow
`
	if diff := cmp.Diff(want, Table(found, 1)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if got := Table(found, 0); !strings.Contains(got, "they are few") {
		t.Errorf("whole table:\n%s", got)
	}
	if got := Table(nil, 0); got != "inspected before training: nothing was found\n" {
		t.Errorf("empty table: %q", got)
	}
}

// Rows of one batch that are sorted by a feature give one finding; in several, or in no order,
// each feature has its own.
func TestDriftOfSortedRows(t *testing.T) {
	t.Parallel()
	rising := func(_ float32, i int, _ *rand.Rand) float32 { return float32(i) }
	along := func(_ float32, i int, r *rand.Rand) float32 { return float32(i/100) + float32(r.NormFloat64()) }
	features := []Feature{{Name: "first"}, {Name: "along"}, {Name: "back"}, {Name: "noise"}}
	parts := map[string]Part{}
	for _, split := range []string{dataset.Train, dataset.Validation, dataset.Test} {
		parts[split] = rows(2000, 4, rising, along, func(y float32, i int, r *rand.Rand) float32 { return -along(y, i, r) }, noise)
	}
	drifts := func() (texts []string) {
		t.Helper()
		found, err := Rows(spec(), features, parts)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Kind == Drift {
				texts = append(texts, f.Text)
			}
		}
		return texts
	}
	if got := drifts(); len(got) != 1 || !strings.Contains(got[0], "look sorted by first, and ") || !strings.Contains(got[0], "along") || !strings.Contains(got[0], "back") || strings.Contains(got[0], "noise") {
		t.Errorf("found %q", got)
	}
	train := parts[dataset.Train]
	train.Batch = batches(1000, 1000)
	parts[dataset.Train] = train
	if got := drifts(); len(got) != 3 {
		t.Errorf("found %q", got)
	}
	train.Batch = nil
	parts[dataset.Train] = train
	for i := range train.Y {
		train.X[4*i] = float32((i * 7919) % 2003) // the first feature is in no order now
	}
	if got := drifts(); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}

// Of a later batch, the features of dates are others because its dates are: one finding
// says so. Days between two dates are a measurement.
func TestLaterDates(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`
name: stays
model: stays
task: binary
columns: [{name: came, type: date}, {name: left, type: date}, {name: size, type: number}, {name: over, type: integer}]
target: {column: over, positive: ["1"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{days_from: came, to: 2000-01-01}, {date: came, part: month}, {days_from: came, to: left}, {number: size}]
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 5, params: {eta: 0.3}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	features := []Feature{{Name: "came_days", Columns: []string{"came"}}, {Name: "came_month", Columns: []string{"came"}}, {Name: "stay", Columns: []string{"came", "left"}}, {Name: "size", Columns: []string{"size"}}}
	part := func(seed uint64, longer float32, rows ...int) Part {
		r := rand.New(rand.NewPCG(8, seed))
		p := Part{Batch: batches(rows...)}
		for i, batch := range p.Batch {
			days := float32(-8000 - i/10)
			p.X = append(p.X, days, float32(1+2*batch+int32(i%2)), float32(r.IntN(20))+longer*float32(batch), float32(r.NormFloat64()))
			p.Y = append(p.Y, float32(r.IntN(2)))
		}
		return p
	}
	// Columns of dates that are exchanged in the later batch are told by themselves.
	r, train := rand.New(rand.NewPCG(9, 9)), Part{Batch: batches(600, 600)}
	for _, batch := range train.Batch {
		came := float32(-8000 + r.IntN(300))
		dates := []float32{came, came + 900 + float32(r.IntN(300))}
		train.X = append(train.X, dates[batch], dates[1-batch], float32(r.NormFloat64()))
		train.Y = append(train.Y, float32(r.IntN(2)))
	}
	dates := []Feature{{Name: "came_days", Columns: []string{"came"}}, {Name: "left_days", Columns: []string{"left"}}, {Name: "size", Columns: []string{"size"}}}
	few := part(2, 0, 300)
	few.X = few.X[:900] // of three features
	found, err := Rows(spec, dates, map[string]Part{dataset.Train: train, dataset.Validation: few, dataset.Test: few})
	told := 0
	for _, f := range found {
		if strings.Contains(f.Text, "the two columns look exchanged") {
			told++
		}
	}
	if err != nil || told != 2 {
		t.Errorf("of columns of dates that are exchanged: %v, %v", found, err)
	}
	for longer, want := range map[float32][]string{
		0:  {"features of dates are distributed differently in batch 2 than in batch 1, as its dates are: came_month, came_days. "},
		10: {"feature stay is distributed differently in batch 2", "features of dates are distributed"},
	} {
		rest := part(2, 0, 300)
		found, err := Rows(spec, features, map[string]Part{dataset.Train: part(1, longer, 600, 600), dataset.Validation: rest, dataset.Test: rest})
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, f := range found {
			texts = append(texts, f.Text)
		}
		if len(texts) != len(want) {
			t.Fatalf("found %q, want %q", texts, want)
		}
		for i := range want {
			if !strings.HasPrefix(texts[i], want[i]) {
				t.Errorf("found %q, want %q", texts[i], want[i])
			}
		}
	}
}
