package inspect

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

var nan = float32(math.NaN())

// rows makes n rows of which one in three is positive; each feature is made of the
// label and a generator.
func rows(n int, seed uint64, features ...func(y float32, i int, r *rand.Rand) float32) Part {
	r := rand.New(rand.NewPCG(seed, 0))
	p := Part{}
	for i := range n {
		y := float32(0)
		if r.IntN(3) == 0 {
			y = 1
		}
		p.Y = append(p.Y, y)
		for _, f := range features {
			p.X = append(p.X, f(y, i, r))
		}
	}
	return p
}

func noise(_ float32, _ int, r *rand.Rand) float32  { return float32(r.NormFloat64()) }
func helps(y float32, _ int, r *rand.Rand) float32  { return y + float32(r.NormFloat64()) }
func answer(y float32, _ int, r *rand.Rand) float32 { return 1 - y + float32(r.NormFloat64())*0.1 }

func levels(n int) func(float32, int, *rand.Rand) float32 {
	return func(_ float32, _ int, r *rand.Rand) float32 { return float32(r.IntN(n)) }
}

func TestAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		codes     int
		make      func(float32, int, *rand.Rand) float32
		low, high float64
	}{
		{"noise", 0, noise, 0.45, 0.55},
		{"a helpful number", 0, helps, 0.70, 0.80},
		{"the answer, the other way round", 0, answer, 0.999, 1},
		{"the answer in the middle", 0, func(y float32, _ int, r *rand.Rand) float32 {
			if y == 1 {
				return float32(r.Float64())
			}
			return float32(r.IntN(2)*4-2) + float32(r.Float64())
		}, 0.98, 1},
		{"only missing tells", 0, func(y float32, _ int, r *rand.Rand) float32 {
			if y == 1 {
				return nan
			}
			return float32(r.NormFloat64())
		}, 0.98, 1},
		{"levels that say nothing", 5, levels(5), 0.4, 0.56},
		// An id of a thousand levels learns each row's own label by heart; among the
		// other folds' rows it knows nothing.
		{"an id", 3000, func(_ float32, i int, _ *rand.Rand) float32 { return float32(i) }, 0.3, 0.6},
		{"levels that are the answer", 4, func(y float32, _ int, r *rand.Rand) float32 { return 2*y + float32(r.IntN(2)) }, 0.999, 1},
	} {
		p := rows(3000, 1, c.make)
		auc, err := Alone(p.X, p.Y, c.codes, nil)
		if err != nil || auc < c.low || auc > c.high {
			t.Errorf("%s: AUC %.4f, %v, want between %v and %v", c.name, auc, err, c.low, c.high)
		}
	}
}

func spec(leaks ...string) *dataset.Spec {
	return &dataset.Spec{Target: dataset.Target{Column: "churn"}, AllowLeak: leaks}
}

func TestRows(t *testing.T) {
	t.Parallel()
	constant := func(float32, int, *rand.Rand) float32 { return 7 }
	empty := func(float32, int, *rand.Rand) float32 { return nan }
	later := func(_ float32, i int, r *rand.Rand) float32 { return float32(r.NormFloat64()) + float32(i/1000) }
	all := []func(float32, int, *rand.Rand) float32{noise, helps, constant, empty, later, answer, levels(3)}
	features := []Feature{{Name: "noise"}, {Name: "helps"}, {Name: "constant"}, {Name: "empty"}, {Name: "later"},
		{Name: "days", Columns: []string{"ended"}}, {Name: "shop", Codes: 3}}
	parts := map[string]Part{dataset.Train: rows(2000, 2, all...), dataset.Validation: rows(300, 3, all...), dataset.Test: rows(60, 4, all...)}
	found, err := Rows(spec(), features, parts)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range found {
		kinds = append(kinds, string(f.Level)+" "+f.Kind+" "+f.Feature+f.Split)
	}
	want := "stop leak days, warning few test, warning constant constant, warning empty empty, warning drift later"
	if got := strings.Join(kinds, ", "); got != want {
		t.Errorf("found %s\nwant  %s", got, want)
	}
	stop := Check(found)
	var e *Error
	if !errors.As(stop, &e) || !strings.Contains(stop.Error(), "feature days alone has an AUC of") || !strings.Contains(stop.Error(), "allow_leak: [ended]") {
		t.Errorf("stopped with %v", stop)
	}
	for _, f := range found {
		if f.Kind == "drift" && !strings.Contains(f.Text, " and is 1.0") {
			t.Errorf("drift without example: %s", f.Text)
		}
	}
	if found, err = Rows(spec("ended"), features, parts); err != nil || Check(found) != nil {
		t.Errorf("a leak that the spec allows stops: %v, %v", found, err)
	}
}

func TestFewRowsStop(t *testing.T) {
	t.Parallel()
	parts := map[string]Part{dataset.Train: rows(100, 5, noise), dataset.Validation: rows(60, 6, noise), dataset.Test: {X: []float32{1, 2, 3, 4, 5, 6}, Y: []float32{1, 1, 1, 1, 1, 0}}}
	found, err := Rows(spec(), []Feature{{Name: "noise"}}, parts)
	if err != nil {
		t.Fatal(err)
	}
	stop := Check(found)
	if stop == nil || !strings.Contains(stop.Error(), "the test rows are 6, and only 1 of them negative (churn)") || !strings.Contains(stop.Error(), "split.test") {
		t.Errorf("stopped with %v", stop)
	}
	if strings.Contains(stop.Error(), "validation") {
		t.Errorf("a warning is among what stops: %v", stop)
	}
}

// Two features that say nothing alone and everything together: the answer is yes where
// one is above the other.
func TestTogether(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 0))
	features := []Feature{{Name: "days(arrival)", Columns: []string{"arrival"}}, {Name: "noise", Columns: []string{"noise"}},
		{Name: "days(status)", Columns: []string{"status"}}, {Name: "month(status)", Columns: []string{"status"}}, {Name: "shop", Columns: []string{"shop"}, Codes: 300}}
	make := func(n int, late float64) (x, y []float32) {
		for range n {
			label, arrival := float32(r.IntN(2)), float32(r.IntN(700))
			status := arrival + 2 + float32(r.IntN(9))
			if (label == 1) == (r.Float64() < late) {
				status = arrival - 40 - float32(r.IntN(200))
			}
			x = append(x, arrival, float32(r.NormFloat64()), status, float32(int(status)/30), float32(r.IntN(300)))
			y = append(y, label)
		}
		return x, y
	}
	x, y := make(6000, 1)
	found := Together(spec(), features, x, y, nil)
	if found == nil || found.Level != Warning || !strings.Contains(found.Text, "status") || !strings.Contains(found.Text, "arrival") || strings.Contains(found.Text, "noise") {
		t.Fatalf("found %+v", found)
	}
	for i := range features {
		if auc, err := Alone(column(x, i, len(features)), y, features[i].Codes, nil); err != nil || auc > 0.9 {
			t.Errorf("feature %s alone has the AUC %.4f, %v: the test is too easy", features[i].Name, auc, err)
		}
	}
	// Of so few rows anything tells the rest by chance.
	rows := []float32{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}
	binary := spec()
	binary.Task = dataset.Binary
	if found := Together(binary, features[:1], rows, rows, nil); found != nil {
		t.Errorf("of a few rows: %+v", found)
	}
	x, y = make(6000, 0.8)
	if found := Together(spec(), features, x, y, nil); found != nil {
		t.Errorf("a question that is merely not hard: %+v", found)
	}
	if found := Together(spec(), features, x[:5*5], []float32{1, 1, 1, 1, 1}, nil); found != nil {
		t.Errorf("of one class: %+v", found)
	}
}

// Two columns that tell one of several classes, or a value, only together: a sum's
// remainder, and a product.
func TestTogetherOfClassesAndValues(t *testing.T) {
	t.Parallel()
	features := []Feature{{Name: "a", Columns: []string{"a"}}, {Name: "b", Columns: []string{"b"}, Codes: 3}, {Name: "noise", Columns: []string{"noise"}}}
	for _, c := range []struct {
		task, wants string
		noisy       float64 // share of the rows whose label says nothing
		label       func(a, b float32) float32
	}{
		{dataset.Multiclass, "an AUC of at least 1.0000 for each class", 0, func(a, b float32) float32 { return float32((int(a) + int(b)) % 3) }},
		{dataset.Multiclass, "", 0.2, func(a, b float32) float32 { return float32((int(a) + int(b)) % 3) }},
		{dataset.Regression, "explain 0.99", 0, func(a, b float32) float32 { return 1e-6 * (a - 2) * (b - 1) }},
		{dataset.Regression, "", 0.2, func(a, b float32) float32 { return 1e-6 * (a - 2) * (b - 1) }},
	} {
		s := spec()
		s.Task, s.Target.Classes = c.task, []string{"r", "g", "b"}
		r := rand.New(rand.NewPCG(8, 0))
		var x, y []float32
		for range 3000 {
			a, b := float32(r.IntN(5)), float32(r.IntN(3))
			x = append(x, a, b, float32(r.NormFloat64()))
			if r.Float64() < c.noisy {
				a, b = float32(r.IntN(5)), float32(r.IntN(3))
			}
			y = append(y, c.label(a, b))
		}
		found := Together(s, features, x, y, nil)
		switch {
		case c.wants == "" && found != nil:
			t.Errorf("%s with noise: %+v", c.task, found)
		case c.wants == "":
		case found == nil || found.Level != Warning || !strings.Contains(found.Text, c.wants) || strings.Contains(found.Text, "noise"):
			t.Errorf("%s: %+v, want %q", c.task, found, c.wants)
		}
	}
}

// Classes with few rows are one finding of each kind, however many there are.
func TestFewOfManyClasses(t *testing.T) {
	t.Parallel()
	s := &dataset.Spec{Task: dataset.Multiclass, Target: dataset.Target{Column: "city"}}
	var counts []int
	for k := range 40 {
		s.Target.Classes = append(s.Target.Classes, "c"+string(rune('0'+k)))
		counts = append(counts, k)
	}
	found := FewOfClasses(s, dataset.Test, 780, counts)
	if len(found) != 2 || found[0].Level != Stop || found[1].Level != Warning || found[0].Value != 0 || found[1].Value != 5 {
		t.Fatalf("found %v", found)
	}
	for i, want := range []string{`the test rows are 780, and of 5 classes there are fewer than 5, such as 0 of them city = "c0", 1 of them`, `and of 25 classes there are fewer than 30, such as 5 of them city = "c5"`} {
		if !strings.Contains(found[i].Text, want) {
			t.Errorf("%s, want %q", found[i].Text, want)
		}
	}
	if found := FewOfClasses(s, dataset.Test, 780, []int{400, 4, 376}); len(found) != 1 || !strings.Contains(found[0].Text, `and only 4 of them city = "c1"; at least 5`) {
		t.Errorf("found %v", found)
	}
}
