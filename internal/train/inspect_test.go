package train

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
)

func TestBatchesOf(t *testing.T) {
	t.Parallel()
	places := []int64{0, 4, 5, 9, 10, 11, 40}
	if diff := cmp.Diff([]int32{0, 0, 1, 1, 3, 3, 3}, batchesOf(places, came(5, 5, 0, 31))); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if got := batchesOf(places, nil); got != nil {
		t.Errorf("without batches: %v", got)
	}
}

// came is when rows came in batches of these sizes.
func came(batches ...int) (arrivals []ingest.Arrival) {
	for b, n := range batches {
		for line := range n {
			arrivals = append(arrivals, ingest.Arrival{Batch: int32(b), Line: int64(line)})
		}
	}
	return arrivals
}

// TestArrange brings rows that were read in another order into that of their arrival.
func TestArrange(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range 40 {
		spec := parse(t, "things")
		e, err := feature.NewFitter(spec).Encoder()
		if err != nil {
			t.Fatal(err)
		}
		arrivals := came(n, 2*n)
		rng.Shuffle(len(arrivals), func(i, j int) { arrivals[i], arrivals[j] = arrivals[j], arrivals[i] })
		p := &Part{}
		d := &Data{Encoder: e, Parts: map[string]*Part{"train": p}}
		for place, a := range arrivals {
			if place%3 == 1 { // of another split
				continue
			}
			number := float32(int64(a.Batch)*1000 + a.Line)
			p.X, p.Y, d.places, d.folds = append(p.X, number, number), append(p.Y, number), append(d.places, int64(place)), append(d.folds, uint8(a.Line))
		}
		d.arrange(arrivals)
		for i := range p.Y {
			a := arrivals[d.places[i]]
			if number := float32(int64(a.Batch)*1000 + a.Line); p.Y[i] != number || p.X[2*i] != number || p.X[2*i+1] != number || d.folds[i] != uint8(a.Line) || i > 0 && p.Y[i-1] >= p.Y[i] {
				t.Fatalf("%d rows: row %d, which came at %v, has %g, %v and fold %d", len(arrivals), i, a, p.Y[i], p.X[2*i:2*i+2], d.folds[i])
			}
		}
	}
}

func TestFolds(t *testing.T) {
	t.Parallel()
	a, b := [][]byte{[]byte("p1"), []byte("x")}, [][]byte{[]byte("p1"), []byte("y")}
	if x, y := inspect.FoldOf(a, 0, 0), inspect.FoldOf(b, 0, 1); x != y || x >= inspect.Folds {
		t.Errorf("rows of one group are in the folds %d and %d", x, y)
	}
	if x, y := inspect.FoldOf(a, -1, 3), inspect.FoldOf([][]byte{nil, nil}, 0, 8); x != 3 || y != 3 {
		t.Errorf("rows without a group: %d and %d, want 3", x, y)
	}
}

func TestInspectSeesBatchesAndTheTarget(t *testing.T) {
	t.Parallel()
	spec := parse(t, "things")
	d, err := Prepare(t.Context(), spec, table(4000))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.Parts["train"].Y); len(d.places) != n || len(d.folds) != n {
		t.Fatalf("%d places and %d folds of %d training rows", len(d.places), len(d.folds), n)
	}
	// A second half that is another one: only there is a above 100.
	for i := range d.Parts["train"].Y {
		if d.places[i] >= 2500 {
			d.Parts["train"].X[2*i] += 100
		}
	}
	d.targets["YES"] = 3
	found, err := d.Inspect(spec, came(1000, 1500, 1500))
	if err != nil {
		t.Fatal(err)
	}
	text := inspect.Table(found, 0)
	for _, want := range []string{"distributed differently in batch 3 than in batch 1", `good = "YES" (rows: 3) counts as negative`} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

// A number that was computed from the target of all rows of a branch stops training, though
// the branch itself is no feature.
func TestInspectSeesWhatIsComputedFromTheTarget(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`
name: branches
model: branches
task: regression
columns: [{name: branch, type: category}, {name: usual, type: number}, {name: size, type: number}, {name: cost, type: number}]
target: {column: cost}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: usual}, {number: size}]
candidates: [{name: one, rounds: 5, params: {eta: 0.3}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	var branch, cost [1500]int
	var sum, n [200]int
	for i := range branch {
		branch[i], cost[i] = r.IntN(len(sum)), r.IntN(500)
		sum[branch[i]] += cost[i]
		n[branch[i]]++
	}
	d, err := Prepare(t.Context(), spec, func(_ context.Context, row func(string, [][]byte) error) error {
		for i, b := range branch {
			split := []string{dataset.Train, dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[i%5]
			fields := [][]byte{fmt.Appendf(nil, "B%d", b), fmt.Appendf(nil, "%.2f", float64(sum[b])/float64(n[b])), fmt.Appendf(nil, "%d", i%77), fmt.Append(nil, cost[i])}
			if err := row(split, fields); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.Inspect(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := inspect.Check(found); err == nil || !strings.Contains(err.Error(), "usual is the mean of cost among the rows with the same branch") || strings.Contains(err.Error(), "size is") {
		t.Errorf("got %v", err)
	}
}
