package evaluate

import (
	"bytes"
	"encoding/xml"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
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

func TestThin(t *testing.T) {
	r := sampleRows(t, 20000, 1)
	for name, all := range map[string][]Point{"ROC": r.ROC(), "precision-recall": r.PrecisionRecall()} {
		thin := Thin(all, 500)
		if len(thin) > 500 || len(thin) < 100 {
			t.Errorf("%s: %d of %d points are left", name, len(thin), len(all))
		}
		if thin[0] != all[0] || thin[len(thin)-1] != all[len(all)-1] {
			t.Errorf("%s: an end is gone", name)
		}
		// Nothing moves by more than a pixel of an 800 pixel plot's 600.
		worst, j := 0.0, 0
		for _, p := range all {
			for thin[j+1] != p && (p.Threshold <= thin[j+1].Threshold) {
				j++
			}
			worst = max(worst, distance(p, thin[j], thin[j+1]))
		}
		if worst > 1.0/600 {
			t.Errorf("%s: a point lies %v off the thinned curve", name, worst)
		}
	}
	few := []Point{{0, 0, 3}, {0.2, 0.5, 2}, {1, 1, 1}}
	if got := Thin(few, 500); len(got) != 3 {
		t.Errorf("three points became %d", len(got))
	}
	if got := Thin(r.ROC(), 2); len(got) != 2 {
		t.Errorf("%d points, want the two ends", len(got))
	}
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

func plots(t *testing.T) map[string]func(io.Writer, string) error {
	curves := []Curve{{"Validation", sampleRows(t, 15000, 1)}, {"Test", sampleRows(t, 15000, 2)}}
	features := []Importance{{"number_inpatient", 140}, {"discharge_disposition_id", 60}, {"age", 25}, {"diag_1 (ICD-9 chapter)", 22.5}, {"unused", 0}}
	return map[string]func(io.Writer, string) error{
		"roc": func(w io.Writer, f string) error { return PlotROC(w, f, "readmission: ROC", 0.15, curves...) },
		"pr": func(w io.Writer, f string) error {
			return PlotPR(w, f, "readmission: precision and recall", 0.15, curves...)
		},
		"calibration": func(w io.Writer, f string) error { return PlotCalibration(w, f, "readmission: calibration", curves...) },
		"importance": func(w io.Writer, f string) error {
			return PlotImportance(w, f, "readmission: features by gain", features)
		},
	}
}

// With MLOPS_TEST_PLOTS naming a folder, the plots are left there to look at.
func TestPlots(t *testing.T) {
	for name, plot := range plots(t) {
		for _, format := range []string{"png", "svg"} {
			var b, again bytes.Buffer
			if err := plot(&b, format); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := plot(&again, format); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
				t.Errorf("%s.%s is another one the second time (%v)", name, format, err)
			}
			if dir := os.Getenv("MLOPS_TEST_PLOTS"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name+"."+format), b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if format == "png" {
				img, err := png.Decode(&b)
				if err != nil || img.Bounds().Dx() < 700 || img.Bounds().Dy() < 300 {
					t.Errorf("%s: %v, %v", name, err, img.Bounds())
				}
				continue
			}
			texts := svgTexts(t, b.Bytes())
			for _, want := range map[string][]string{
				"roc":         {"Validation (AUC 0.6", "Test (AUC 0.6", "Chance (AUC 0.500)", "At threshold 0.15", "1.0"},
				"pr":          {"Validation (average precision 0.", "Base rate 0.1", "At threshold 0.15", "Recall"},
				"calibration": {"Perfect", "Test"},
				"importance":  {"number_inpatient", "diag_1 (ICD-9 chapter)"},
			}[name] {
				if !strings.Contains(texts, want) {
					t.Errorf("%s says nothing of %q:\n%s", name, want, texts)
				}
			}
			if b.Len() > 100<<10 {
				t.Errorf("%s.svg has %d bytes", name, b.Len())
			}
		}
	}
}

func svgTexts(t *testing.T, text []byte) string {
	t.Helper()
	var out strings.Builder
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			t.Fatalf("the SVG is no XML: %v", err)
		}
		if s, ok := token.(xml.CharData); ok && strings.TrimSpace(string(s)) != "" {
			out.WriteString(string(s) + "\n")
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrPermission }

func TestPlotsRefuse(t *testing.T) {
	r := sampleRows(t, 100, 1)
	margins, err := Rank([]float64{-3, 2}, []bool{false, true})
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	tests := []struct {
		reason string
		plot   func() error
		want   string
	}{
		{"unknown format", func() error { return PlotROC(io.Discard, "gif", "t", nan, Curve{"a", r}) }, `format "gif", want "png" or "svg"`},
		{"no curve", func() error { return PlotROC(io.Discard, "png", "t", nan) }, "want 1 to 3 curves, have 0"},
		{"too many curves", func() error { return PlotPR(io.Discard, "png", "t", nan, make([]Curve, 4)...) }, "have 4"},
		{"a curve of nothing", func() error { return PlotPR(io.Discard, "png", "t", nan, Curve{Name: "a"}) }, `curve "a" has no rows`},
		{"margins have no calibration", func() error { return PlotCalibration(io.Discard, "png", "t", Curve{"a", margins}) }, "is no probability"},
		{"no importance", func() error { return PlotImportance(io.Discard, "png", "t", []Importance{{"a", 0}}) }, "no feature has any"},
		{"negative importance", func() error { return PlotImportance(io.Discard, "png", "t", []Importance{{"a", -1}}) }, `feature "a" has the importance -1`},
		{"a writer that fails", func() error { return PlotROC(fullDisk{}, "png", "t", nan, Curve{"a", r}) }, "writing plot"},
	}
	for _, test := range tests {
		if err := test.plot(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.reason, err, test.want)
		}
	}
	// No threshold, no mark.
	var b bytes.Buffer
	if err := PlotROC(&b, "svg", "t", nan, Curve{"a", r}); err != nil || strings.Contains(svgTexts(t, b.Bytes()), "threshold") {
		t.Errorf("without a threshold: %v", err)
	}
}
