package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
)

const visitsSpec = `name: visits
model: visits
task: binary
missing: ["?"]
key: at
group: who
order: at
columns:
  - {name: at, type: integer}
  - {name: who, type: integer}
  - {name: size, type: number, min: 0}
  - {name: kind, type: category}
  - {name: day, type: date}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
cohort: [{column: kind, values: [z], because: not ours}]
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
  - {category: kind, fold_below: 9}
  - {history: count}
  - {history: sum, number: size}
  - {history: mean, number: size}
  - {history: change, number: size}
  - {history: last, category: kind}
  - {history: same, category: kind}
  - {history: days_since, date: day}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`

// visitRows are rows by group and order; no two of a group share a place.
func visitRows(n int) [][][]byte {
	rng := rand.New(rand.NewPCG(3, 3))
	rows := make([][][]byte, n)
	for i := range rows {
		row := [][]byte{fmt.Append(nil, 10*i), fmt.Append(nil, i/7), fmt.Append(nil, float64(rng.IntN(100))/4), []byte([]string{"a", "b", "z", "é"}[rng.IntN(4)]),
			fmt.Appendf(nil, "2024-01-%02d", 1+rng.IntN(28)), []byte("1")}
		for _, c := range []int{2, 3, 4} {
			if rng.IntN(5) == 0 {
				row[c] = nil
			}
		}
		rows[i] = row
	}
	return rows
}

// looking is an encoder that looks back, its vectors of the rows and a snapshot of them.
func looking(t testing.TB, rows [][][]byte) (*feature.Encoder, [][]float32, *feature.Snapshot) {
	t.Helper()
	spec, err := dataset.Parse([]byte(visitsSpec))
	if err != nil {
		t.Fatal(err)
	}
	f := feature.NewFitter(spec)
	for _, r := range rows {
		if err := f.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	stream, builder := e.Stream(), e.NewSnapshotBuilder(1<<20)
	stream.Visit = builder.Add
	vectors := make([][]float32, len(rows))
	for i, r := range rows {
		vectors[i] = make([]float32, e.Width())
		if err := stream.Encode(vectors[i], r); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := builder.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return e, vectors, snapshot
}

// sent is a row as a request has it, without some columns.
func sent(spec *dataset.Spec, row [][]byte, without ...string) map[string]any {
	record := map[string]any{}
	for c, v := range row {
		if name := spec.Columns[c].Name; v != nil && !slices.Contains(without, name) {
			record[name] = string(v)
			if spec.Columns[c].Type == dataset.Integer {
				record[name] = json.Number(v)
			}
		}
	}
	return record
}

// decodeWith decodes a body of records with what the server knows of earlier ones.
func decodeWith(t testing.TB, e *feature.Encoder, held *feature.Snapshot, body any) ([][]float32, []warning, error) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	x := newExchange(&memory{total: 1 << 20})
	x.earlier = held
	d := decoder{exchange: x}
	var got [][]float32
	err = d.decode(text, e, func() []float32 {
		got = append(got, make([]float32, e.Width()))
		return got[len(got)-1]
	})
	return got, x.warnings, err
}

func sameVector(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y })
}

// TestEarlierIsThatOfTraining scores stored rows with what came before them, sent along
// or looked up: the vector is training's, bit for bit.
func TestEarlierIsThatOfTraining(t *testing.T) {
	t.Parallel()
	rows := visitRows(300)
	e, want, held := looking(t, rows)
	var byOrder, byEarlier []any
	for i, r := range rows {
		byOrder = append(byOrder, sent(e.Spec(), r))
		earlier := []any{}
		for _, row := range rows[i-i%7 : i] {
			earlier = append(earlier, sent(e.Spec(), row, []string{"", "at", "y"}[i%3]))
		}
		record := sent(e.Spec(), r, "who")
		record["history"] = earlier
		byEarlier = append(byEarlier, record)
	}
	for name, body := range map[string][]any{"looked up": byOrder, "sent": byEarlier} {
		got, warnings, err := decodeWith(t, e, held, body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range rows {
			if e.Spec().Excluded(rows[i]) {
				continue // its vector is not wanted
			}
			if !sameVector(got[i], want[i]) {
				t.Fatalf("%s: row %d is %v, in training %v", name, i, got[i], want[i])
			}
		}
		for _, w := range warnings {
			if w.odd == feature.NoEarlier {
				t.Fatalf("%s: record %d: %v", name, w.record, w.wire(&exchange{}, e))
			}
		}
	}
}

// TestEarlierLookedUp has records that say less: which rows they see, and whether the
// response says that nobody knows.
func TestEarlierLookedUp(t *testing.T) {
	t.Parallel()
	rows := visitRows(70)
	e, _, held := looking(t, rows)
	const count = 2 // the feature
	for _, test := range []struct {
		name   string
		held   *feature.Snapshot
		record map[string]any
		rows   float32
		warns  string
	}{
		{"without a place all rows are earlier", held, map[string]any{"who": 3}, 7, ""},
		{"a group as text", held, map[string]any{"who": "3.0"}, 7, ""},
		{"a place between two", held, map[string]any{"who": 3, "at": 10*(3*7+2) + 5}, 3, ""},
		{"a place is not before itself", held, map[string]any{"who": 3, "at": 10 * (3*7 + 2)}, 2, ""},
		{"an unknown group has none", held, map[string]any{"who": 99}, 0, ""},
		{"a missing place", held, map[string]any{"who": 3, "at": "?"}, 7, ""},
		{"a history instead", held, map[string]any{"who": 3, "history": []any{map[string]any{"size": 1}}}, 1, ""},
		{"an empty history", held, map[string]any{"who": 3, "history": []any{}}, 0, ""},
		{"history null is none given", held, map[string]any{"who": 3, "history": nil}, 7, ""},
		{"no group", held, map[string]any{"size": 1}, 0, "without a who nothing earlier can be looked up"},
		{"a missing group", held, map[string]any{"who": nil}, 0, "without a who nothing earlier can be looked up"},
		{"nothing to look up", nil, map[string]any{"who": 3}, 0, "has no earlier records to look up"},
		{"nothing to look up, history sent", nil, map[string]any{"who": 3, "history": []any{}}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, warnings, err := decodeWith(t, e, test.held, test.record)
			if err != nil {
				t.Fatal(err)
			}
			if got[0][count] != test.rows {
				t.Errorf("%g earlier rows, want %g", got[0][count], test.rows)
			}
			said := ""
			for _, w := range warnings {
				if wire := w.wire(&exchange{}, e); wire.Kind == api.EarlierUnavailable {
					said = wire.Detail
				}
			}
			if (said == "") != (test.warns == "") || !strings.Contains(said, test.warns) {
				t.Errorf("warning %q, want %q", said, test.warns)
			}
		})
	}
}

func TestEarlierMistakes(t *testing.T) {
	t.Parallel()
	e, _, held := looking(t, visitRows(70))
	for _, test := range []struct{ body, want string }{
		{`{"history": [{"size": -1}]}`, `history[0].size`},
		{`{"history": [{}, {"sise": 1}]}`, `history[1].sise`},
		{`{"history": [{"history": []}]}`, `history[0].history`},
		{`{"history": [{"size": 1, "size": 2}]}`, `given twice`},
		{`{"history": {}}`, "must be an array of earlier records"},
		{`{"history": [], "history": []}`, "given twice"},
		{`{"history": [1]}`, "expected { for an earlier record"},
		{`{"history": [{"at": 5}, {"at": 4}]}`, "the newest has to be last"},
		{`{"at": 7, "history": [{"at": 7}]}`, "not before the record itself"},
		{`{"history": [{"at": 8}], "at": 7}`, "not before the record itself"},
		{`{"who": "nobody"}`, `who: "nobody" is not an integer`},
		{`{"who": true}`, "is a boolean"},
		{`{"at": "soon", "who": 3}`, `at: "soon" is not an integer`},
	} {
		_, _, err := decodeWith(t, e, held, json.RawMessage(test.body))
		var wrong *requestError
		if !errors.As(err, &wrong) || !strings.Contains(fmt.Sprint(wrong.detail, wrong.errors), test.want) {
			t.Errorf("%s: got %v, want %q", test.body, err, test.want)
		}
	}
	// The next request of the same decoder is not within earlier records any more.
	d := decoder{}
	if err := d.decode([]byte(`{"history": [{"size":`), e, func() []float32 { return make([]float32, e.Width()) }); err == nil {
		t.Error("half a request was read")
	}
	if err := d.decode([]byte(`{"size": 1, "history": []}`), e, func() []float32 { return make([]float32, e.Width()) }); err != nil {
		t.Error(err)
	}
}
