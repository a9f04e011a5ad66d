package serve

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/feature"
)

// sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// repeat is a body that can be read again.
type repeat struct{ bytes.Reader }

func (*repeat) Close() error { return nil }

// request returns a function that sends the same body to a handler once more.
func request(h http.Handler, body string) func() {
	r, err := http.NewRequest(http.MethodPost, "/predict", nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	text, in := []byte(body), &repeat{}
	w := &sink{header: http.Header{}}
	return func() {
		in.Reset(text)
		r.Body = in
		h.ServeHTTP(w, r)
	}
}

// most of the allocations that one request may make in the handler.
const mostAllocations = 10

func TestAllocations(t *testing.T) {
	s, _ := serving(t, 1)
	body := `{"size":1.5,"count":3,"kind":"2","odd name":"\u00e9"}`
	if n := testing.AllocsPerRun(1000, request(http.HandlerFunc(s.predict), body)); n > mostAllocations {
		t.Errorf("%v allocations in predict, want at most %d", n, mostAllocations)
	} else {
		t.Logf("%v allocations in predict", n)
	}
	t.Logf("%v allocations with router and metrics", testing.AllocsPerRun(1000, request(s.Handler(), body)))
}

// wide is an encoder and a record of 47 columns: 8 numbers, the rest categories.
func wide(b *testing.B) (*feature.Encoder, []byte) {
	var columns, features, record strings.Builder
	var row [][]byte
	for i := range 47 {
		kind, value := "category", fmt.Sprintf(`"value %d"`, i)
		use := fmt.Sprintf("  - {category: column_%d, fold_below: 1}\n", i)
		if i < 8 {
			kind, value = "integer", fmt.Sprint(10*i)
			use = fmt.Sprintf("  - {number: column_%d}\n", i)
		}
		fmt.Fprintf(&columns, "  - {name: column_%d, type: %s}\n", i, kind)
		features.WriteString(use)
		if i > 0 {
			record.WriteByte(',')
		}
		fmt.Fprintf(&record, `"column_%d":%s`, i, value)
		row = append(row, []byte(strings.Trim(value, `"`)))
	}
	spec, err := dataset.Parse([]byte(`name: wide
title: Wide
model: wide
task: binary
missing: ["?"]
columns:
` + columns.String() + `  - {name: y, type: category}
target: {column: y, positive: ["1"]}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
` + features.String() + `threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`))
	if err != nil {
		b.Fatal(err)
	}
	f := feature.NewFitter(spec)
	f.Add(append(row, []byte("1")))
	e, err := f.Encoder()
	if err != nil {
		b.Fatal(err)
	}
	return e, []byte("{" + record.String() + "}")
}

func BenchmarkDecode(b *testing.B) {
	e, record := wide(b)
	vector := make([]float32, e.Width())
	next := func() []float32 { return vector }
	var d decoder
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.decode(record, e, next); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPredict(b *testing.B) {
	s, _ := serving(b, 1)
	for _, n := range []int{1, 1000} {
		body := "[" + strings.Repeat(`{"size":1.5,"count":3,"kind":"2"},`, n-1) + `{"size":1.5,"count":3,"kind":"2"}]`
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			send := request(s.Handler(), body)
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}
