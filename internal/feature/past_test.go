package feature

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
)

// visits is a spec with every kind of feature of earlier rows.
const visits = `name: visits
model: visits
task: binary
group: who
order: at
columns:
  - {name: who, type: category}
  - {name: at, type: ORDER}
  - {name: size, type: number}
  - {name: kind, type: category}
  - {name: a, type: category}
  - {name: b, type: category}
  - {name: day, type: date}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
cohort:
  - {column: kind, values: [z], because: not ours}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
  - {history: count}
  - {history: sum, number: size}
  - {history: mean, number: size}
  - {history: largest, number: size}
  - {history: last, number: size}
  - {history: change, number: size}
  - {history: same, number: size}
  - {category: kind, fold_below: 5}
  - {history: last, category: kind, fold_below: 9}
  - {history: same, category: kind}
  - {name: last_range, history: last, ranges: kind, table: &t [{name: low, from: 0, to: 5}, {name: v, prefix: v}]}
  - {name: same_range, history: same, ranges: kind, table: *t}
  - {name: x_sum, history: sum, count: [a, b], of: [x]}
  - {history: last, date: day, part: month}
  - {history: days_since, date: day}
  - {history: largest, days_from: day, to: 2024-01-31}
threshold: {recall: 0.5}
candidates:
  - {name: one, rounds: 10, params: {eta: 0.1, max_depth: 3}}
`

func visitsSpec(t testing.TB, order dataset.Type) *dataset.Spec {
	t.Helper()
	s, err := dataset.Parse([]byte(strings.Replace(visits, "ORDER", string(order), 1)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// visit makes a row up: some values are missing, few places differ.
func visit(t testing.TB, s *dataset.Spec, rng *rand.Rand) [][]byte {
	t.Helper()
	maybe := func(text string) string {
		if rng.IntN(6) == 0 {
			return ""
		}
		return text
	}
	date := func() string {
		return time.Date(2023, 1, 1+rng.IntN(400), rng.IntN(24), 0, 0, 0, time.UTC).Format("2006-01-02T15:04:05")
	}
	at := strconv.Itoa(rng.IntN(8) - 3)
	if s.Columns[1].Type == dataset.Date {
		at = time.Date(2023, 1, 1+rng.IntN(8), 0, 0, 0, 0, time.UTC).Format("2006-01-02")
	}
	row := []string{
		maybe("g" + strconv.Itoa(rng.IntN(40))), maybe(at), maybe(strconv.Itoa(rng.IntN(9) - 4)),
		maybe([]string{"1", "2", "7", "v1", "v2", "z", "rare" + strconv.Itoa(rng.IntN(30))}[rng.IntN(7)]),
		maybe([]string{"x", "o"}[rng.IntN(2)]), maybe([]string{"x", "o"}[rng.IntN(2)]), maybe(date()), maybe(strconv.Itoa(rng.IntN(2))),
	}
	fields := make([][]byte, len(row))
	for c := range row {
		v, err := s.Value(c, []byte(row[c]))
		if err != nil {
			t.Fatal(err)
		}
		if v != nil {
			fields[c] = slices.Clone(v)
		}
	}
	return fields
}

// sorted returns the rows by group and place, those without a place last, and
// otherwise as they came.
func sorted(s *dataset.Spec, rows [][][]byte) [][][]byte {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b [][]byte) int {
		if c := strings.Compare(string(a[0]), string(b[0])); c != 0 {
			return c
		}
		switch x, y := s.Place(a[1]), s.Place(b[1]); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return rows
}

// brute says what the features of a row are, from what the documentation says and
// from nothing that the encoder does.
func brute(e *Encoder, all [][][]byte, row [][]byte) map[string]float64 {
	s := e.Spec()
	var earlier [][][]byte
	for _, r := range all {
		if r[0] == nil || row[0] == nil || string(r[0]) != string(row[0]) || r[1] == nil {
			continue
		}
		if row[1] == nil || less(s, r[1], row[1]) {
			earlier = append(earlier, r)
		}
	}
	number := func(v []byte) float64 {
		if v == nil {
			return math.NaN()
		}
		x, _ := strconv.ParseFloat(string(v), 64)
		return x
	}
	day := func(v []byte) float64 {
		if v == nil {
			return math.NaN()
		}
		t, _ := time.Parse("2006-01-02T15:04:05", string(v)+"T00:00:00"[min(9, max(0, len(v)-10)):])
		return math.Floor(float64(t.Unix()) / 86400)
	}
	bucket := func(v []byte) string {
		switch x, err := strconv.ParseFloat(string(v), 64); {
		case err == nil && x >= 0 && x < 5:
			return "low"
		case len(v) > 0 && v[0] == 'v':
			return "v"
		}
		return ""
	}
	crosses := func(r [][]byte) (n float64) {
		for _, c := range []int{4, 5} {
			if string(r[c]) == "x" {
				n++
			}
		}
		return n
	}
	code := func(feature, level string) float64 {
		for i := range e.Features {
			f := &e.Features[i]
			if f.Name != feature || level == "" {
				continue
			}
			if at := slices.Index(f.Levels, level); at >= 0 {
				return float64(at)
			}
			if f.Folded {
				return float64(len(f.Levels))
			}
		}
		return math.NaN()
	}
	same := func(a, b string) float64 {
		switch {
		case a == "" || b == "":
			return math.NaN()
		case a == b:
			return 1
		}
		return 0
	}
	nan := math.NaN()
	want := map[string]float64{"history_count": float64(len(earlier)), "sum_size": nan, "mean_size": nan, "largest_size": nan, "last_size": nan, "change_size": nan,
		"same_size": nan, "last_kind": nan, "same_kind": nan, "last_range": nan, "same_range": nan, "x_sum": nan, "last_day_month": nan, "days_since_day": nan,
		"largest_days_from_day_to_2024-01-31": nan, "size": number(row[2])}
	n, sum := 0.0, 0.0
	for _, r := range earlier {
		if x := number(r[2]); x == x {
			n, sum = n+1, sum+x
			want["sum_size"], want["mean_size"] = sum, sum/n
			if l := want["largest_size"]; !(l >= x) {
				want["largest_size"] = x
			}
		}
		if d := day([]byte("2024-01-31")) - day(r[6]); d == d {
			if l := want["largest_days_from_day_to_2024-01-31"]; !(l >= d) {
				want["largest_days_from_day_to_2024-01-31"] = d
			}
		}
		if x := want["x_sum"]; x == x {
			want["x_sum"] += crosses(r)
		} else {
			want["x_sum"] = crosses(r)
		}
	}
	if len(earlier) > 0 {
		last := earlier[len(earlier)-1]
		want["last_size"], want["change_size"] = number(last[2]), number(row[2])-number(last[2])
		want["same_size"], want["same_kind"] = same(string(row[2]), string(last[2])), same(string(row[3]), string(last[3]))
		want["last_kind"], want["last_range"] = code("last_kind", string(last[3])), code("last_range", bucket(last[3]))
		want["same_range"] = same(bucket(row[3]), bucket(last[3]))
		want["days_since_day"] = day(row[6]) - day(last[6])
		if last[6] != nil {
			want["last_day_month"] = number(last[6][5:7])
		}
	}
	return want
}

func less(s *dataset.Spec, a, b []byte) bool {
	if s.Columns[1].Type == dataset.Date {
		return string(a) < string(b)
	}
	x, _ := strconv.ParseFloat(string(a), 64)
	y, _ := strconv.ParseFloat(string(b), 64)
	return x < y
}

// different lists in what a vector is not what is wanted.
func different(e *Encoder, got []float32, want map[string]float64) (list []string) {
	for i := range e.Features {
		name := e.Features[i].Name
		w, there := want[name]
		if g := float64(got[i]); there && g != float64(float32(w)) && (g == g || w == w) {
			list = append(list, fmt.Sprintf("%s is %g, want %g", name, g, w))
		}
	}
	return list
}

// TestStreamSeesTheRowsBefore compares the stream with a search through all rows, in
// tables with ties, missing places, missing groups and rows outside the cohort.
func TestStreamSeesTheRowsBefore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := visitsSpec(t, []dataset.Type{dataset.Integer, dataset.Number, dataset.Date}[seed%3])
		var came [][][]byte
		for range 20 + rng.IntN(300) {
			came = append(came, visit(t, s, rng))
		}
		rows := sorted(s, came)
		f := NewFitter(s)
		levels := map[string]int{}
		for i, r := range rows {
			take := f.Pass
			if _, known := s.Label(r); known && !s.Excluded(r) {
				take = f.Add
				if j := lastBefore(s, rows, i); j >= 0 && rows[j][3] != nil {
					levels[string(rows[j][3])]++
				}
			}
			if err := take(r); err != nil {
				t.Fatal(err)
			}
		}
		e, err := f.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for level, n := range levels {
			if n >= 9 {
				want = append(want, level)
			}
		}
		slices.Sort(want)
		if got := e.Features[9]; !slices.Equal(got.Levels, want) || got.Rare != len(levels)-len(want) {
			t.Errorf("seed %d: levels of the last kind %q and %d rare ones, want %q of %d", seed, got.Levels, got.Rare, want, len(levels))
		}
		stream, vector := e.Stream(), make([]float32, e.Width())
		for i, r := range rows {
			if s.Excluded(r) && i%2 == 0 {
				if err := stream.Encode(nil, r); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := stream.Encode(vector, r); err != nil {
				t.Fatal(err)
			}
			if list := different(e, vector, brute(e, rows, r)); len(list) > 0 {
				t.Fatalf("seed %d, row %d, %q: %s", seed, i, r, strings.Join(list, "; "))
			}
		}
	}
}

// lastBefore is the last row before the i-th of its group, -1 if there is none.
func lastBefore(s *dataset.Spec, rows [][][]byte, i int) int {
	for j := i - 1; j >= 0 && rows[i][0] != nil && string(rows[j][0]) == string(rows[i][0]); j-- {
		if s.Place(rows[j][1]) < s.Place(rows[i][1]) {
			return j
		}
	}
	return -1
}

func TestStreamWantsOrder(t *testing.T) {
	t.Parallel()
	s := visitsSpec(t, dataset.Integer)
	e, err := NewFitter(s).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	row := func(at string) [][]byte {
		fields := make([][]byte, len(s.Columns))
		fields[0], fields[1] = []byte("g"), []byte(at)
		return fields
	}
	stream := e.Stream()
	if err := stream.Encode(nil, row("2")); err != nil {
		t.Fatal(err)
	}
	if err := stream.Encode(nil, row("1")); err == nil || !strings.Contains(err.Error(), "not in order") {
		t.Errorf("got %v, want that the rows are not in order", err)
	}
}
