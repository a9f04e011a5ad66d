package serve

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/model"
	"mlops/internal/tree"
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
func request(h http.Handler, body string) func() { return requestOf(h, "/predict", body) }

func requestOf(h http.Handler, path, body string) func() {
	r, err := http.NewRequest(http.MethodPost, path, nil)
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

// maxAllocations of one request in the handler.
const maxAllocations = 4

func TestAllocations(t *testing.T) {
	s, _ := serving(t, 1)
	body := `{"size":1.5,"count":2,"kind":"2","odd name":"\u00e9\""}` // nothing to be warned of
	if n := testing.AllocsPerRun(1000, request(http.HandlerFunc(s.predict), body)); n > maxAllocations {
		t.Errorf("%v allocations in predict, want at most %d", n, maxAllocations)
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

// BenchmarkSlots measures taking a slot and returning it.
func BenchmarkSlots(b *testing.B) {
	l := newSlots(64, 64, 64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if l.acquire() {
				l.release()
			}
		}
	})
}

// BenchmarkRespond writes the response to one record and to many.
func BenchmarkRespond(b *testing.B) {
	s, _ := serving(b, 1)
	served := s.served.Load()
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := &exchange{memory: &s.memory, scores: make([]float32, n), frame: &served.frame}
			for i := range x.scores {
				x.scores[i] = rand.Float32()
			}
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				x.write(w, served)
			}
		})
	}
}

// BenchmarkRefuse is a request that finds no slot and may not wait.
func BenchmarkRefuse(b *testing.B) {
	s, _ := serving(b, 1)
	s.small = newSlots(1, 0, 0)
	s.small.acquire()
	send := request(s.Handler(), `{"size":1.5,"count":3,"kind":"2"}`)
	b.ReportAllocs()
	for b.Loop() {
		send()
	}
}

// BenchmarkPredict is the whole handler: a record of four values and a model of
// two trees, and one of 47 values with 500 trees of depth 6, alone and many.
func BenchmarkPredict(b *testing.B) {
	tiny, _ := serving(b, 1)
	full, record := fullServer(b)
	for _, kind := range []struct {
		name   string
		server *Server
		record string
	}{{"tiny", tiny, `{"size":1.5,"count":2,"kind":"2","odd name":"é\""}`}, {"full", full, record}} {
		for _, n := range []int{1, 1000} {
			body := kind.record
			if n > 1 {
				body = "[" + strings.Repeat(body+",", n-1) + body + "]"
			}
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				send := request(kind.server.Handler(), body)
				b.ReportAllocs()
				for b.Loop() {
					send()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
			})
		}
	}
}

// BenchmarkExplained is the whole handler for one record, plain and explained.
func BenchmarkExplained(b *testing.B) {
	s, record := fullServer(b)
	for _, path := range []string{"/predict", "/predict?explain=5", "/predict?explain=true"} {
		b.Run(path[1:], func(b *testing.B) {
			send := requestOf(s.Handler(), path, record)
			send()
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}

// fullServer serves 500 full trees of depth 6 over the 47 columns of wide. What
// the trees ask is drawn; how long they take does not depend on the answers.
func fullServer(b *testing.B) (*Server, string) {
	e, record := wide(b)
	rng := rand.New(rand.NewPCG(1, 1))
	var trees strings.Builder
	for id := range 500 {
		const splits, nodes = 63, 127
		var left, right, feature, condition, kind, at, codes, begins, sizes, cover []string
		for i := range nodes {
			cover = append(cover, fmt.Sprint(1+rng.IntN(1000)))
			if i >= splits {
				left, right, feature, kind = append(left, "-1"), append(right, "-1"), append(feature, "0"), append(kind, "0")
				condition = append(condition, fmt.Sprint(rng.NormFloat64()/10))
				continue
			}
			f := rng.IntN(e.Width())
			left, right = append(left, fmt.Sprint(2*i+1)), append(right, fmt.Sprint(2*i+2))
			feature = append(feature, fmt.Sprint(f))
			if f < 8 {
				kind, condition = append(kind, "0"), append(condition, fmt.Sprint(rng.IntN(100)))
				continue
			}
			kind, condition = append(kind, "1"), append(condition, "0")
			at, begins = append(at, fmt.Sprint(i)), append(begins, fmt.Sprint(len(codes)))
			sizes, codes = append(sizes, "1"), append(codes, fmt.Sprint(rng.IntN(12)))
		}
		list := func(values []string) string { return "[" + strings.Join(values, ",") + "]" }
		if id > 0 {
			trees.WriteByte(',')
		}
		fmt.Fprintf(&trees, `{"id":%d,"left_children":%s,"right_children":%s,"split_indices":%s,"split_conditions":%s,"default_left":%s,"split_type":%s,
"categories_nodes":%s,"categories_segments":%s,"categories_sizes":%s,"categories":%s,"sum_hessian":%s}`, id, list(left), list(right), list(feature), list(condition), list(kind), list(kind),
			list(at), list(begins), list(sizes), list(codes), list(cover))
	}
	forest, err := tree.Parse(fmt.Appendf(nil, `{"learner":{"learner_model_param":{"base_score":"[5E-1]","num_feature":"%d"},"objective":{"name":"binary:logistic"},
"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"500"},"tree_info":[0%s],"trees":[%s]}}}}`, e.Width(), strings.Repeat(",0", 499), trees.String()))
	if err != nil {
		b.Fatal(err)
	}
	s := newServer(b, newShelf(b), b.TempDir())
	s.served.Store(&served{
		model:  &model.Model{Spec: e.Spec(), Encoder: e, Trees: forest, Serving: model.Serving{Threshold: 0.5}},
		frame:  frame{[]byte(`{"model":{"name":"wide","version":"1","run_id":"r"},"predictions":[`), ',', []byte("]}\n")},
		labels: [2]counter{s.metrics.Predicted("0"), s.metrics.Predicted("1")},
	})
	return s, string(record)
}
