package inspect

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// A batch whose outcomes were exchanged, or stand beside other rows, is told; one that is as
// the first, or whose question is as hard, is not. Of a column that changed by itself only this is told.
func TestRelation(t *testing.T) {
	t.Parallel()
	features := []Feature{{Name: "a", Columns: []string{"a"}}, {Name: "b", Columns: []string{"b"}}}
	for name, test := range map[string]struct {
		task string
		hard float32 // how much of the label is noise
		make func(a, b, noise float32) (x0, x1, y float32)
		want string
	}{
		"alike":           {dataset.Binary, 1, func(a, b, noise float32) (float32, float32, float32) { return a, b, a + noise }, ""},
		"exchanged":       {dataset.Binary, 1, func(a, b, noise float32) (float32, float32, float32) { return a, b, -a + noise }, "the wrong way round"},
		"other rows":      {dataset.Binary, 1, func(a, b, noise float32) (float32, float32, float32) { return a, b, noise }, "no better than chance"},
		"nothing to tell": {dataset.Binary, 50, func(a, b, noise float32) (float32, float32, float32) { return a, b, -noise }, ""},
		"another column":  {dataset.Binary, 1, func(a, b, noise float32) (float32, float32, float32) { return -a + 9, b, a + noise }, "was a scale turned round"},
		"values":          {dataset.Regression, 1, func(a, b, noise float32) (float32, float32, float32) { return a, b, -a + noise }, "the wrong way round"},
	} {
		s := spec()
		s.Task = test.task
		r := rand.New(rand.NewPCG(5, 0))
		var x, y []float32
		for i := range 2000 {
			a, b, noise := float32(r.NormFloat64()), float32(r.NormFloat64()), test.hard*float32(r.NormFloat64())
			x0, x1, label := a, b, a+noise
			if i >= 1200 {
				x0, x1, label = test.make(a, b, noise)
			}
			if test.task == dataset.Binary {
				label = map[bool]float32{true: 1}[label > 0]
			}
			x, y = append(x, x0, x1), append(y, label)
		}
		found := Against(s, features, x, y, 1200)
		if (found == nil) != (test.want == "") || found != nil && !strings.Contains(found.Text, test.want) {
			t.Errorf("%s: %v, want %q", name, found, test.want)
		}
		train := Part{X: x, Y: y, Batch: batches(1200, 800)}
		all, err := Rows(s, features, map[string]Part{dataset.Train: train, dataset.Validation: train, dataset.Test: train})
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, f := range all {
			told = told || f.Kind == "target" && test.want != "" && strings.Contains(f.Text, test.want) && strings.Contains(f.Text, "batch 2")
		}
		if told != (test.want != "") {
			t.Errorf("%s: before training %v, want %q", name, all, test.want)
		}
	}
}

// TestRelationOfManyRows has so many rows that few of each batch are rated, and one more than
// trees otherwise look at.
func TestRelationOfManyRows(t *testing.T) {
	t.Parallel()
	const first = 13_333
	batch := batches(first, first, 2*mostTogether-2*first)
	r := rand.New(rand.NewPCG(5, 0))
	var x, y []float32
	for _, b := range batch {
		a := float32(r.NormFloat64())
		tells := a + float32(r.NormFloat64())
		if b == batch[len(batch)-1] {
			tells = -tells
		}
		x, y = append(x, a), append(y, map[bool]float32{true: 1}[tells > 0])
	}
	found := relation(spec(), []Feature{{Name: "a", Columns: []string{"a"}}}, x, y, stretchesOf(batch, len(y)), nil)
	if found == nil || !strings.Contains(found.Text, "of batch 3 goes against batch 1") || !strings.Contains(found.Text, "the wrong way round") {
		t.Errorf("%v, want the third batch against the first", found)
	}
}

// Two tables that were put together, of which one has its outcomes exchanged, are told before
// they are loaded and before training; a table whose second half is harder, or sorted by a
// feature, is not.
func TestHalves(t *testing.T) {
	t.Parallel()
	features := []Feature{{Name: "a", Columns: []string{"a"}}, {Name: "b", Columns: []string{"b"}}}
	for name, test := range map[string]struct {
		task   string
		first  int // rows of the first table
		make   func(later bool, a, noise float32) float32
		sorted bool
		told   bool
	}{
		"alike":                {dataset.Binary, 1000, func(_ bool, a, noise float32) float32 { return a + noise }, false, false},
		"exchanged":            {dataset.Binary, 1000, func(later bool, a, noise float32) float32 { return flip(later, a) + noise }, false, true},
		"exchanged from a row": {dataset.Binary, 1300, func(later bool, a, noise float32) float32 { return flip(later, a) + noise }, false, true},
		"values":               {dataset.Regression, 1000, func(later bool, a, noise float32) float32 { return flip(later, a) + noise }, false, true},
		"other rows":           {dataset.Binary, 1000, func(later bool, a, noise float32) float32 { return map[bool]float32{false: a}[later] + noise }, false, false},
		"sorted":               {dataset.Binary, 1000, func(_ bool, a, noise float32) float32 { return a*a - 1 + noise/9 }, true, false},
	} {
		s := spec()
		s.Task = test.task
		r := rand.New(rand.NewPCG(5, 0))
		a := make([]float32, 2000)
		for i := range a {
			a[i] = float32(r.NormFloat64())
		}
		if test.sorted {
			slices.Sort(a)
		}
		var x, y []float32
		for i := range a {
			label := test.make(i >= test.first, a[i], float32(r.NormFloat64()))
			if test.task == dataset.Binary {
				label = map[bool]float32{true: 1}[label > 0]
			}
			x, y = append(x, a[i], float32(r.NormFloat64())), append(y, label)
		}
		const half, want = "of the second half goes against the first half of the ", "were two tables put together"
		found := Halves(s, features, x, y)
		if (found != nil) != test.told || found != nil && !(strings.Contains(found.Text, half+"rows") && strings.Contains(found.Text, want)) {
			t.Errorf("%s: %v, want one: %v", name, found, test.told)
		}
		train := Part{X: x, Y: y}
		all, err := Rows(s, features, map[string]Part{dataset.Train: train, dataset.Validation: train, dataset.Test: train})
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, f := range all {
			told = told || f.Kind == "target" && strings.Contains(f.Text, half+"training rows")
		}
		if told != test.told {
			t.Errorf("%s: before training %v, want one: %v", name, all, test.told)
		}
	}
}

func flip(is bool, v float32) float32 {
	if is {
		return -v
	}
	return v
}

// Two columns that were exchanged in the second batch are told: measurements stop training.
func TestExchanged(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(6, 0))
	numbers := [3][]float32{}
	words := [2][]float32{} // of towns 0 to 3, of shops 0 to 2
	const rows, first = 1600, 1000
	for i := range rows {
		a, b, c := float32(r.IntN(9)), 3*float32(r.NormFloat64())+90, float32(r.NormFloat64())
		town, shop := float32(r.IntN(4)), float32(r.IntN(3))
		if i >= first {
			a, b, c = b, a, c+20
			town, shop = 4+shop, 3+town
		}
		for k, v := range []float32{a, b, c} {
			numbers[k] = append(numbers[k], v)
		}
		words[0], words[1] = append(words[0], town), append(words[1], shop)
	}
	stretches := stretchesOf(batches(first, rows-first), rows)
	var all []moved
	for k, name := range []string{"a", "b", "c"} {
		all = append(all, *drift("feature", Feature{Name: name}, numbers[k], stretches, true))
	}
	all = append(all,
		*drift("feature", Feature{Name: "town", Codes: 7, Levels: []string{"t0", "t1", "t2", "t3", "s0", "s1", "s2"}}, words[0], stretches, false),
		*drift("feature", Feature{Name: "shop", Codes: 7, Levels: []string{"s0", "s1", "s2", "t0", "t1", "t2", "t3"}}, words[1], stretches, false))
	exchanged(all)
	for i, want := range []struct {
		with  string
		level Level
	}{{"b", Stop}, {"a", Stop}, {"", Warning}, {"shop", Warning}, {"town", Warning}} {
		f := all[i].found
		if f.Level != want.level || strings.Contains(f.Text, "look exchanged") != (want.with != "") || !strings.Contains(f.Text, "those that "+want.with) && want.with != "" {
			t.Errorf("%s, want it exchanged with %q", f, want.with)
		}
	}
}

// Levels in another spelling are told as such.
func TestRespelled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		levels        []string
		before, after []float64
		want          string
	}{
		{[]string{"007", "012", "12", "7"}, []float64{5, 5, 0, 0, 0}, []float64{0, 0, 5, 9, 0}, `such as "7" for "007"`},
		{[]string{"12", "12.0"}, []float64{5, 0, 0}, []float64{0, 5, 0}, `such as "12.0" for "12"`},
		{[]string{"Basic ", "basic", "pro"}, []float64{0, 5, 5, 0}, []float64{5, 0, 5, 0}, `such as "Basic " for "basic"`},
		{[]string{"basic", "gold", "pro"}, []float64{5, 0, 5, 0}, []float64{0, 5, 5, 0}, ""},
		{[]string{"0", "00"}, []float64{5, 0, 0}, []float64{0, 5, 0}, ""},
		{[]string{"BASIC", "basic"}, []float64{1, 5, 0}, []float64{5, 1, 0}, ""},
	} {
		got := respelled(Feature{Levels: test.levels}, test.before, test.after)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%q: %q, want %q", test.levels, got, test.want)
		}
	}
}
