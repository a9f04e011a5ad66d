package train

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/inspect"
)

func TestBatchesOf(t *testing.T) {
	t.Parallel()
	places := []int64{0, 4, 5, 9, 10, 11, 40}
	if diff := cmp.Diff([]int32{0, 0, 1, 1, 3, 3, 3}, batchesOf(places, []int64{5, 5, 0, 6})); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if got := batchesOf(places, nil); got != nil {
		t.Errorf("without batches: %v", got)
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
	found, err := d.Inspect(spec, []int64{1000, 1500, 1500})
	if err != nil {
		t.Fatal(err)
	}
	text := inspect.Table(found, 0)
	for _, want := range []string{"from batch 1 to batch 3", `good = "YES" (rows: 3) counts as negative`} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}
