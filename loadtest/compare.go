package loadtest

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Difference is the change of a figure from one result to another.
type Difference struct {
	Name   string  `json:"name"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	// Low and High are the 95 % interval of After - Before.
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Noise bool    `json:"noise"` // the interval holds 0
}

const (
	resamples   = 1000
	blockLength = 3 // windows: neighbours are alike, and are drawn together
	fewest      = 5 // blocks that a comparison needs of each side
)

// figuresCompared are computed of the windows drawn.
var figuresCompared = []struct {
	name string
	of   func(d *drawn) float64
}{
	{"requests/s", func(d *drawn) float64 { return float64(d.succeeded) / d.seconds }},
	{"share failed", func(d *drawn) float64 {
		if d.succeeded+d.failed == 0 {
			return 0
		}
		return float64(d.failed) / float64(d.succeeded+d.failed)
	}},
	{"p50 ms", func(d *drawn) float64 { return d.quantile(0.5) }},
	{"p95 ms", func(d *drawn) float64 { return d.quantile(0.95) }},
	{"p99 ms", func(d *drawn) float64 { return d.quantile(0.99) }},
}

// drawn is the sum of some windows.
type drawn struct {
	counts            [steps]int32
	succeeded, failed int64
	seconds           float64
}

func (d *drawn) add(w *Window) {
	d.succeeded += w.Succeeded
	d.failed += w.Failed
	d.seconds += w.Seconds
	for i, of := range w.Latency.Of {
		d.counts[of] += int32(w.Latency.N[i])
	}
}

func (d *drawn) quantile(q float64) float64 {
	rank := max(int64(math.Ceil(q*float64(d.succeeded))), 1)
	var below int64
	for i, n := range d.counts {
		if below += int64(n); below >= rank {
			return float64(top(i)) / 1e6
		}
	}
	return 0
}

// Compare says what has changed from result a to b, and whether it may be noise: the
// difference is computed again on windows drawn at random from each, in blocks of
// neighbours, and is noise if the middle 95 % of what comes out holds no difference.
// It knows nothing of what differs between two runs as a whole, such as a machine that
// was busy with other work in one of them.
func Compare(a, b *Result) ([]Difference, error) {
	for _, r := range []*Result{a, b} {
		began := r.Began.Format(time.RFC3339)
		if r.Running {
			return nil, fmt.Errorf("the test of %s had not ended", began)
		}
		if n := len(r.Windows) / blockLength; n < fewest {
			return nil, fmt.Errorf("the test of %s has %d windows; a comparison needs %d, about as many seconds", began, len(r.Windows), fewest*blockLength)
		}
		for i := range r.Windows {
			w := &r.Windows[i]
			if len(w.Latency.Of) != len(w.Latency.N) || slices.ContainsFunc(w.Latency.Of, func(of int) bool { return of < 0 || of >= steps }) {
				return nil, fmt.Errorf("the test of %s has a histogram that can't be read", began)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2)) // the same answer each time
	var list []Difference
	for _, f := range figuresCompared {
		list = append(list, Difference{Name: f.name, Before: f.of(sum(a.Windows)), After: f.of(sum(b.Windows))})
	}
	found := make([][]float64, len(list))
	for range resamples {
		x, y := resample(rng, a.Windows), resample(rng, b.Windows)
		for i, f := range figuresCompared {
			found[i] = append(found[i], f.of(y)-f.of(x))
		}
	}
	for i := range list {
		slices.Sort(found[i])
		d := &list[i]
		d.Low, d.High = found[i][resamples*25/1000], found[i][resamples*975/1000]
		d.Noise = d.Low <= 0 && d.High >= 0
	}
	return list, nil
}

func sum(windows []Window) *drawn {
	d := &drawn{}
	for i := range windows {
		d.add(&windows[i])
	}
	return d
}

// resample draws as many windows as there are, in blocks.
func resample(rng *rand.Rand, windows []Window) *drawn {
	d := &drawn{}
	for n := 0; n < len(windows); n += blockLength {
		at := rng.IntN(len(windows) - blockLength + 1)
		for i := range blockLength {
			d.add(&windows[at+i])
		}
	}
	return d
}

// WriteDifferences writes them for people.
func WriteDifferences(w io.Writer, list []Difference) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tBEFORE\tAFTER\tDIFFERENCE\t95 % INTERVAL\t\t")
	for _, d := range list {
		verdict := "changed"
		if d.Noise {
			verdict = "noise"
		}
		relative := "-"
		if d.Before != 0 {
			relative = fmt.Sprintf("%+.1f %%", 100*(d.After-d.Before)/d.Before)
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%s\t%+.3g to %+.3g\t%s\t\n", d.Name, d.Before, d.After, relative, d.Low, d.High, verdict)
	}
	_ = t.Flush() // to memory
	_, err := io.WriteString(w, b.String())
	return err
}
