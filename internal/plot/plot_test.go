package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/evaluate"
)

// sampleRows returns rows like those of a real, weak model: 11 % positive,
// probabilities that are right on average.
func sampleRows(t *testing.T, n int, seed uint64) *evaluate.Ranking {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 3))
	scores, labels := make([]float32, n), make([]bool, n)
	for i := range n {
		p := 1 / (1 + math.Exp(-(random.NormFloat64()*0.7 - 2.2)))
		scores[i], labels[i] = float32(p), random.Float64() < p
	}
	r, err := evaluate.Rank(scores, labels)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestThin(t *testing.T) {
	r := sampleRows(t, 20000, 1)
	for name, all := range map[string][]evaluate.Point{"ROC": r.ROC(), "precision-recall": r.PrecisionRecall()} {
		kept := thin(all, 500)
		if len(kept) > 500 || len(kept) < 100 {
			t.Errorf("%s: %d of %d points are left", name, len(kept), len(all))
		}
		if kept[0] != all[0] || kept[len(kept)-1] != all[len(all)-1] {
			t.Errorf("%s: an end is gone", name)
		}
		// Nothing moves by more than a pixel of an 800 pixel plot's 600.
		worst, j := 0.0, 0
		for _, p := range all {
			for kept[j+1] != p && (p.Threshold <= kept[j+1].Threshold) {
				j++
			}
			worst = max(worst, distance(p, kept[j], kept[j+1]))
		}
		if worst > 1.0/600 {
			t.Errorf("%s: a point lies %v off the thinned curve", name, worst)
		}
	}
	few := []evaluate.Point{{X: 0, Y: 0, Threshold: 3}, {X: 0.2, Y: 0.5, Threshold: 2}, {X: 1, Y: 1, Threshold: 1}}
	if got := thin(few, 500); len(got) != 3 {
		t.Errorf("three points became %d", len(got))
	}
	if got := thin(r.ROC(), 2); len(got) != 2 {
		t.Errorf("%d points, want the two ends", len(got))
	}
}

func plots(t *testing.T) map[string]func(io.Writer, string) error {
	curves := []Curve{{"Validation", sampleRows(t, 15000, 1)}, {"Test", sampleRows(t, 15000, 2)}}
	return map[string]func(io.Writer, string) error{
		"roc": func(w io.Writer, f string) error { return ROC(w, f, "readmission: ROC", 0.15, curves...) },
		"pr": func(w io.Writer, f string) error {
			return PrecisionRecall(w, f, "readmission: precision and recall", 0.15, curves...)
		},
		"calibration": func(w io.Writer, f string) error { return Calibration(w, f, "readmission: calibration", curves...) },
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
	margins, err := evaluate.Rank([]float64{-3, 2}, []bool{false, true})
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	tests := []struct {
		reason string
		plot   func() error
		want   string
	}{
		{"unknown format", func() error { return ROC(io.Discard, "gif", "t", nan, Curve{"a", r}) }, `format "gif", want "png" or "svg"`},
		{"no curve", func() error { return ROC(io.Discard, "png", "t", nan) }, "want 1 to 3 curves, have 0"},
		{"too many curves", func() error { return PrecisionRecall(io.Discard, "png", "t", nan, make([]Curve, 4)...) }, "have 4"},
		{"a curve of nothing", func() error { return PrecisionRecall(io.Discard, "png", "t", nan, Curve{Name: "a"}) }, `curve "a" has no rows`},
		{"margins have no calibration", func() error { return Calibration(io.Discard, "png", "t", Curve{"a", margins}) }, "is not a probability"},
		{"a writer that fails", func() error { return ROC(fullDisk{}, "png", "t", nan, Curve{"a", r}) }, "writing plot"},
	}
	for _, test := range tests {
		if err := test.plot(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.reason, err, test.want)
		}
	}
	// No threshold, no mark.
	var b bytes.Buffer
	if err := ROC(&b, "svg", "t", nan, Curve{"a", r}); err != nil || strings.Contains(svgTexts(t, b.Bytes()), "threshold") {
		t.Errorf("without a threshold: %v", err)
	}
}

func TestBars(t *testing.T) {
	t.Parallel()
	var bars []evaluate.Weight
	for i := range 40 {
		bars = append(bars, evaluate.Weight{Name: fmt.Sprintf("column_%d", i), Value: 1 / float64(i+1)})
	}
	var b bytes.Buffer
	if err := Bars(&b, "svg", "Importance", "share", bars); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"column_0<", "column_24<", "the first 25 of 40"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	if strings.Contains(b.String(), "column_25<") {
		t.Error("more bars than there is room for")
	}
	if err := Bars(&b, "svg", "Importance", "share", nil); err == nil {
		t.Error("drew no bars")
	}
}

func TestConfusion(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	const title = "Which penguin is it, of three that live around the Palmer Station, slow-deep, test rows"
	names := []string{"Adelie Penguin of Torgersen Island", "Chinstrap penguin", "Gentoo"}
	counts := [][]int{{208, 16, 39}, {20, 181, 30}, {0, 0, 0}}
	if err := Confusion(&b, "svg", title, names, counts); err != nil {
		t.Fatal(err)
	}
	texts := svgTexts(t, b.Bytes())
	for _, want := range []string{"Adelie Penguin of Torgersen Isl…", "Chinstrap penguin", "208\n79 %", "the share of the true class's rows", "Palmer Station, slow-deep, test\nrows"} {
		if !strings.Contains(texts, want) {
			t.Errorf("the picture says nothing of %q:\n%s", want, texts)
		}
	}
	if strings.Contains(texts, title) {
		t.Error("a title that is wider than the picture is in one line")
	}
}
