package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/fstest"

	"mlops/internal/api"
	"mlops/internal/model"
)

// seedBodies starts the fuzzers off with all forms that are taken and refused.
func seedBodies(f *testing.F) {
	for _, seed := range []string{
		`{"size":1,"kind":"\u00e9"}`, `[{},{"count":2}]`, `{"instances":[{"odd name":null}]}`, `{"size":1e5}`,
		`{"count":2.0,"kind":1e0}`, `[{"count":7},{"kind":98.0,"count":"+7"},{}]`, `[{"size":"big","sise":[{"a":"}"}]},{"count":1.5,"kind":tru}]`, `{"odd name":"\ud83d\ude00","id":7,"y":"x"}`, "\n[\t{\"size\" : -0.5e-3 } ]\r",
	} {
		f.Add([]byte(seed))
	}
	for _, m := range mistaken {
		f.Add([]byte(m.body))
	}
	for _, d := range refusedBodies {
		f.Add([]byte(d.body))
	}
}

// FuzzDecode checks that whatever comes is either refused with a reason or is
// JSON with as many records as were read.
func FuzzDecode(f *testing.F) {
	seedBodies(f)
	e := tinyEncoder(f)
	vector := make([]float32, e.Width())
	x := &exchange{memory: &memory{total: 1 << 30}}
	d := decoder{exchange: x}
	f.Fuzz(func(t *testing.T, body []byte) {
		records := 0
		err := d.decode(body, e, func() []float32 { records++; return vector })
		for _, e := range x.excluded {
			if int(e.record) >= records || e.rule < 0 || e.rule > 1 {
				t.Errorf("record %d of %d is left out by rule %d", e.record, records, e.rule)
			}
		}
		x.excluded, x.warnings = x.excluded[:0], x.warnings[:0]
		var bad *requestError
		if err != nil {
			if !errors.As(err, &bad) || bad.detail == "" || len(bad.errors) > maxErrors || !bad.notJSON && len(bad.errors) == 0 {
				t.Errorf("error %v is not a *requestError with a detail and its mistakes", err)
			}
			return
		}
		var list []json.RawMessage
		var one struct{ Instances []json.RawMessage }
		switch bytes.TrimLeft(body, " \t\r\n")[0] {
		case '[':
			err = json.Unmarshal(body, &list)
		default:
			err = json.Unmarshal(body, &one)
			if list = one.Instances; len(list) == 0 {
				list = []json.RawMessage{body}
			}
		}
		if err != nil || len(list) != records {
			t.Errorf("taken for %d records, encoding/json finds %d: %v", records, len(list), err)
		}
	})
}

// FuzzPredict sends bodies to the whole handler: no body is the server's fault,
// all that it held is given back, and what it says is JSON.
func FuzzPredict(f *testing.F) {
	seedBodies(f)
	s, _ := serving(f, 1)
	h := s.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/predict", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if len(body)%2 == 0 {
			r.ContentLength = -1
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200:
			var a api.Predictions
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || len(a.Predictions) == 0 {
				t.Errorf("answered %s: %v", w.Body, err)
			}
		case 400, 422:
			var p api.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Detail == "" || w.Code == 422 && len(p.Errors) == 0 {
				t.Errorf("refused with %s: %v", w.Body, err)
			}
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if held, busy := s.memory.used.Load(), s.small.busy()+s.large.busy(); held != 0 || busy != 0 {
			t.Errorf("%d bytes and %d slots are still taken", held, busy)
		}
	})
}

// FuzzVersion reads a version's files, as they might come out of a registry:
// each is refused or scores.
func FuzzVersion(f *testing.F) {
	good := bundle(f, 1)
	add := func(files map[string][]byte) {
		f.Add(files["model.ubj"], files["spec.yaml"], files["encoder.json"], files["serving.json"])
	}
	add(good)
	for name, text := range good {
		add(with(good, name, text[:len(text)/2]))
		add(with(good, name, nil))
	}
	f.Fuzz(func(t *testing.T, trees, spec, encoder, serving []byte) {
		files := fstest.MapFS{}
		for name, text := range map[string][]byte{"MLmodel": nil, "model.ubj": trees, "spec.yaml": spec, "encoder.json": encoder, "serving.json": serving} {
			files[name] = &fstest.MapFile{Data: text}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := model.Read(files)
		runtime.ReadMemStats(&after)
		size := len(trees) + len(spec) + len(encoder) + len(serving)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20+uint64(1000*size) {
			t.Errorf("reading %d bytes took %d bytes of memory", size, took)
		}
		if err != nil {
			return
		}
		x := newExchange(&memory{total: 1 << 30})
		defer x.free()
		x.body = append(x.body[:0], "[{},{}]"...)
		if err := x.reserve(1); err != nil {
			t.Fatal(err)
		}
		if _, err := score(x, m); err != nil || len(x.scores) != 2 || x.scores[0] != x.scores[1] && x.scores[0] == x.scores[0] {
			t.Errorf("two empty records score %v: %v", x.scores, err)
		}
	})
}
