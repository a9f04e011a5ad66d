package evaluate

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sampleRows returns rows like those of a real, weak model: 11 % positive,
// probabilities that are right on average.
func sampleRows(t *testing.T, n int, seed uint64) *Ranking {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 3))
	scores, labels := make([]float32, n), make([]bool, n)
	for i := range n {
		p := 1 / (1 + math.Exp(-(random.NormFloat64()*0.7 - 2.2)))
		scores[i], labels[i] = float32(p), random.Float64() < p
	}
	r, err := Rank(scores, labels)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCalibration(t *testing.T) {
	r := sampleRows(t, 20000, 1)
	points := r.Calibration(10)
	if len(points) != 10 {
		t.Fatalf("got %d bins, want 10", len(points))
	}
	for i, p := range points {
		if math.Abs(p.X-p.Y) > 0.04 {
			t.Errorf("bin %d: mean score %v, but %v are positive", i, p.X, p.Y)
		}
		if i > 0 && p.X <= points[i-1].X {
			t.Errorf("bin %d: mean score %v is not above the one before", i, p.X)
		}
	}
	// Equal scores are one bin, however many there are.
	tied, err := Rank([]float64{0.5, 0.5, 0.5, 0.5, 0.1}, []bool{true, false, false, true, false})
	if err != nil {
		t.Fatal(err)
	}
	got := tied.Calibration(10)
	if len(got) != 2 || got[0] != (Point{0.1, 0, 0.1}) || got[1] != (Point{0.5, 0.5, 0.5}) {
		t.Errorf("got %v", got)
	}
}
