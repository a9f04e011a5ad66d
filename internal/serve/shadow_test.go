package serve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// rivals names a challenger of a shelf.
type rivals struct{ now registry.Version }

func (r *rivals) Challenger(context.Context) (registry.Version, error) {
	if r.now.Name == "" {
		return registry.Version{}, registry.ErrNoChallenger
	}
	return r.now, nil
}

// shadowing is a server that serves version 1 and has that share scored by version 2.
func shadowing(t testing.TB, share float64, production, challenger map[string][]byte) (*Server, *shelf, *rivals) {
	t.Helper()
	r := newShelf(t)
	r.put(t, "1", production)
	r.store(t, "2", challenger)
	names := &rivals{registry.Version{Name: "tiny", Number: 2, RunID: "run2"}}
	s := New(Options{Model: "tiny", Cache: t.TempDir(), Registry: r, Challengers: names, Shadow: share, Log: newServer(t, r, "").log})
	poll(t, s)
	if err := s.shadow.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, r, names
}

// workOff scores all that waits for the challenger.
func workOff(s *Server) {
	for {
		select {
		case j := <-s.shadow.jobs:
			s.shadow.settle(j)
		default:
			return
		}
	}
}

// TestChallengerIsCompared sends records of which one is outside the cohort, and compares
// what /model says with what a server of either version answers.
func TestChallengerIsCompared(t *testing.T) {
	const records = `[{"size":1,"kind":"2"},{"size":3},{"count":-1},{"size":2.4,"odd name":"é\""},{}]`
	const table = "size,kind,count,odd name\n1,2,,\n3,,,\n,,-1,\n2.4,,,\"é\"\"\"\n"
	for _, test := range []struct {
		name  string
		files map[string][]byte
		alike bool
	}{
		{"same vectors", bundle(t, 3), true},
		{"features of its own", bundleOf(t, encoderOf(t, strings.Replace(tinySpec, "fold_below: 2", "fold_below: 3", 1)), 3), false},
	} {
		s, r, names := shadowing(t, 1, bundle(t, 0.1), test.files)
		alone, _ := serving(t, 0.1)
		shelf := newShelf(t)
		shelf.put(t, "1", test.files)
		other := newServer(t, shelf, t.TempDir())
		poll(t, other)

		before, after := predict(t, alone, records), predict(t, other, records)
		if got := predict(t, s, records); fmt.Sprint(got.Predictions) != fmt.Sprint(before.Predictions) || got.Model.Number != "1" {
			t.Errorf("%s: answers %+v, want those of production alone, %+v", test.name, got, before)
		}
		workOff(s)
		var sum, absolute float64
		n, agreed := 0, 0
		for i := range before.Predictions {
			p, q := before.Predictions[i], after.Predictions[i]
			if p.Excluded != "" {
				continue
			}
			n++
			sum += q.Probability - p.Probability
			absolute += math.Abs(q.Probability - p.Probability)
			if p.Label == q.Label {
				agreed++
			}
		}
		c := describedAs(t, s).Challenger
		if c == nil || c.Model == nil || c.Model.Number != "2" || c.Model.Candidate != "one" || c.SameVectors != test.alike || c.Share != 1 {
			t.Fatalf("%s: challenger %+v", test.name, c)
		}
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
		if int(c.Records) != n || n != 4 || c.Dropped+c.Failed+c.Skipped != 0 || !near(*c.Agreement, float64(agreed)/4) {
			t.Errorf("%s: %+v with agreement %g, want %d records and %d agreeing", test.name, c, *c.Agreement, n, agreed)
		}
		if d := c.Difference; !near(d.Mean, sum/4) || !near(d.Absolute, absolute/4) || !(d.Median <= d.P90 && d.P90 <= d.P99 && d.P99 <= d.Largest && d.Largest > 0) || c.Microseconds <= 0 {
			t.Errorf("%s: difference %+v, want mean %g and %g without signs", test.name, d, sum/4, absolute/4)
		}
		pairs := int64(0)
		for _, l := range c.Labels {
			pairs += l.Records
		}
		if pairs != 4 || c.Labels[0].Records < c.Labels[len(c.Labels)-1].Records {
			t.Errorf("%s: labels %+v, want 4 records, the most frequent pair first", test.name, c.Labels)
		}
		if got := metric(t, s, `mlops_challenger_records_total{outcome="compared"}`); got != "4" {
			t.Errorf("%s: %s records in the metrics, want 4", test.name, got)
		}
		if got := metric(t, s, `mlops_challenger_info{name="tiny",run_id="run2",version="2"}`); got != "1" {
			t.Errorf("%s: no challenger in the metrics", test.name)
		}

		// A table goes the same way.
		w := askAs(s, "text/csv", table)
		workOff(s)
		if c := describedAs(t, s).Challenger; w.Code != http.StatusOK || c.Records != 7 || c.Failed != 0 {
			t.Errorf("%s: after a table %+v (status %d: %s)", test.name, c, w.Code, w.Body)
		}

		// Once it is in production there is nothing to compare.
		r.point(names.now)
		poll(t, s)
		if err := s.shadow.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := describedAs(t, s).Challenger; c.Model != nil || c.Refused != nil {
			t.Errorf("%s: in production, and yet compared: %+v", test.name, c)
		}
		predict(t, s, records)
		if len(s.shadow.jobs) != 0 {
			t.Errorf("%s: a request was kept for no challenger", test.name)
		}
	}
}

func askAs(s *Server, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/predict", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// TestChallengerThatFails: what it can't score is counted with an example, and nobody's
// request suffers.
func TestChallengerThatFails(t *testing.T) {
	extra := strings.Replace(tinySpec, "  - {name: y, type: category}", "  - {name: extra, type: number}\n  - {name: y, type: category}", 1)
	stricter := strings.Replace(tinySpec, "because: not ours}", "because: not ours}\n  - {column: size, values: [5], because: too large}", 1)
	broken := bundle(t, 3)
	for _, test := range []struct {
		name             string
		production, with map[string][]byte
		body, want       string
	}{
		{"a column that it doesn't know", bundleOf(t, encoderOf(t, extra), 1), bundle(t, 3), `{"size":1,"extra":3}`, "extra"},
		{"a cohort that is smaller", bundle(t, 1), bundleOf(t, encoderOf(t, stricter), 3), `{"size":5}`, "too large"},
		{"a panic", bundle(t, 1), broken, `{"size":5}`, "panicked"},
	} {
		s, _, _ := shadowing(t, 1, test.production, test.with)
		if test.name == "a panic" {
			s.shadow.duel.Load().model.Trees = nil
		}
		d := s.shadow.duel.Load()
		if d == nil {
			t.Fatalf("%s: refused: %+v", test.name, s.shadow.refused.Load())
		}
		if d.model.Trees == nil { // send asks the trees
			x := &job{duel: d, vectors: make([]float32, 4), records: 1, scores: []float32{0.5}}
			s.shadow.settle(x)
		} else {
			predict(t, s, test.body)
			workOff(s)
		}
		c := describedAs(t, s).Challenger
		if c.Failed != 1 || c.Records != 0 || !strings.Contains(c.Failure, test.want) {
			t.Errorf("%s: %+v, want one failed record and %q", test.name, c, test.want)
		}
	}
}

// TestChallengerIsBounded: a queue that is full, waiting requests and long requests lose
// records for the comparison, and say so.
func TestChallengerIsBounded(t *testing.T) {
	s, _, _ := shadowing(t, 1, bundle(t, 1), bundle(t, 3))
	for range shadowQueue + 5 {
		predict(t, s, `[{},{}]`)
	}
	if c := describedAs(t, s).Challenger; c.Dropped != 10 || c.Records != 0 {
		t.Errorf("with a full queue %+v, want 10 records dropped", c)
	}
	workOff(s)
	long := "[" + strings.Repeat("{},", 1000) + `{"count":-1},{}]`
	predict(t, s, long)
	workOff(s)
	if c := describedAs(t, s).Challenger; c.Records != 2*shadowQueue+shadowRecords || c.Skipped != 1001-shadowRecords {
		t.Errorf("after a long request %+v, want %d records and %d skipped", c, 2*shadowQueue+shadowRecords, 1001-shadowRecords)
	}
	own, _, _ := shadowing(t, 1, bundle(t, 1), bundleOf(t, encoderOf(t, strings.Replace(tinySpec, "fold_below: 2", "fold_below: 3", 1)), 3))
	predict(t, own, long)
	predict(t, own, `[{"size":1}`+strings.Repeat(" ", smallBody)+`]`)
	workOff(own)
	if c := describedAs(t, own).Challenger; c.Records != shadowRecords || c.Skipped != 1001-shadowRecords+1 || c.Failed != 0 {
		t.Errorf("with features of its own %+v, want %d records and the rest skipped", c, shadowRecords)
	}
	some, _, _ := shadowing(t, 0.2, bundle(t, 1), bundle(t, 3))
	for range 500 {
		predict(t, some, `{}`)
		workOff(some)
	}
	if c := describedAs(t, some).Challenger; c.Records < 50 || c.Records > 160 {
		t.Errorf("%d of 500 requests were compared, want about 100", c.Records)
	}
	off, _ := serving(t, 1)
	if off.shadow != nil || describedAs(t, off).Challenger != nil {
		t.Error("a challenger is compared though nobody asked for it")
	}
}

// TestChallengerIsChecked: a challenger is loaded under the same checks as what is
// served, and one that is signed for comparing only is not served.
func TestChallengerIsChecked(t *testing.T) {
	key, trusted := signer(t)
	sign := func(r *shelf, v registry.Version, challenger bool) string {
		subject, err := v.Subject(os.DirFS(fmt.Sprint(r.dir, "/", v.Number)))
		if err != nil {
			t.Fatal(err)
		}
		subject.Challenger = challenger
		return key.Sign(subject)
	}
	other := strings.Replace(tinySpec, `positive: ["1"]`, `positive: ["0"]`, 1)
	for _, test := range []struct {
		name   string
		files  map[string][]byte
		change func(s *Server, r *shelf, names *rivals)
		want   string // in the reason; empty: it is compared
	}{
		{"signed for comparing", bundle(t, 3), func(_ *Server, r *shelf, names *rivals) { names.now.Compared = sign(r, names.now, true) }, ""},
		{"signed for production", bundle(t, 3), func(_ *Server, r *shelf, names *rivals) { names.now.Signature = sign(r, names.now, false) }, ""},
		{"not signed", bundle(t, 3), func(*Server, *shelf, *rivals) {}, "not signed"},
		{"a signature for comparing in the place of one for production", bundle(t, 3), func(_ *Server, r *shelf, names *rivals) { names.now.Signature = sign(r, names.now, true) }, "not signed"},
		{"files changed", bundle(t, 3), func(_ *Server, r *shelf, names *rivals) {
			names.now.Compared = sign(r, names.now, true)
			r.store(t, "2", bundle(t, 2))
		}, "not those that were signed"},
		{"other scores than in training", with(bundle(t, 3), "model.ubj", booster(1)), func(_ *Server, r *shelf, names *rivals) { names.now.Compared = sign(r, names.now, true) }, "does not reproduce its stored scores"},
		{"no memory", bundle(t, 3), func(s *Server, r *shelf, names *rivals) {
			names.now.Compared = sign(r, names.now, true)
			s.options.Memory = 1
		}, "raise the memory limit"},
		{"another target", bundleOf(t, encoderOf(t, other), 3), func(_ *Server, r *shelf, names *rivals) { names.now.Compared = sign(r, names.now, true) }, "positive values"},
		{"a process died of it", bundle(t, 3), func(s *Server, r *shelf, names *rivals) {
			names.now.Compared = sign(r, names.now, true)
			if err := writeJSON(s.died(), []api.Version{wireVersion(names.now)}); err != nil {
				t.Fatal(err)
			}
		}, "died"},
	} {
		r := newShelf(t)
		putSigned(t, r, key, "1", bundle(t, 1))
		r.store(t, "2", test.files)
		names := &rivals{registry.Version{Name: "tiny", Number: 2, RunID: "run2"}}
		s := New(Options{Model: "tiny", Cache: t.TempDir(), Registry: r, Challengers: names, Shadow: 1, Trusted: trusted, Log: newServer(t, r, "").log})
		poll(t, s)
		test.change(s, r, names)
		for range 3 {
			if err := s.shadow.poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c := describedAs(t, s).Challenger
		switch {
		case test.want == "" && (c.Refused != nil || c.Model == nil):
			t.Errorf("%s: refused: %+v", test.name, c.Refused)
		case test.want != "" && (c.Model != nil || c.Refused == nil || !strings.Contains(c.Refused.Reason, test.want)):
			t.Errorf("%s: %+v %+v, want it refused with %q", test.name, c, c.Refused, test.want)
		case test.want != "" && metric(t, s, "mlops_challenger_refused") != "1":
			t.Errorf("%s: the metrics don't say that it is refused", test.name)
		}
		if _, downloads := r.counts(); downloads > 2 {
			t.Errorf("%s: %d downloads in three polls", test.name, downloads)
		}
		// Whoever moves the alias production can't have it served.
		if test.name == "signed for comparing" {
			r.point(names.now)
			poll(t, s)
			if d := describedAs(t, s); d.Model.Number != "1" || d.Refused == nil || !strings.Contains(d.Refused.Reason, signature.ErrUnsigned.Error()) {
				t.Errorf("what may only be compared is served: %+v, refused %+v", d.Model, d.Refused)
			}
		}
	}
}

// TestChallengerGivesWay: where both versions don't fit, the one in production is loaded.
func TestChallengerGivesWay(t *testing.T) {
	s, r, _ := shadowing(t, 1, bundle(t, 1), bundle(t, 3))
	if s.shadow.duel.Load() == nil {
		t.Fatal("nothing is compared")
	}
	s.options.Memory = 1 // nothing fits
	r.put(t, "3", bundle(t, 2))
	poll(t, s)
	c := describedAs(t, s).Challenger
	if c.Model != nil || c.Refused == nil || !strings.Contains(c.Refused.Reason, "needed for the version in production") {
		t.Errorf("challenger %+v %+v, want it to have given way", c, c.Refused)
	}
}

// TestChallengerOfATask compares outputs of several classes, and values.
func TestChallengerOfATask(t *testing.T) {
	duelOf := func(spec *dataset.Spec, task *task) *duel {
		return &duel{served: &served{task: task, model: &model.Model{Spec: spec}}}
	}
	classes := duelOf(&dataset.Spec{Target: dataset.Target{Classes: []string{"a", "b", "c"}}}, &task{outputs: 3, classes: [][]byte{{'a'}, {'b'}, {'c'}}})
	got := classes.difference([]float32{0.5, 0.25, 0.25}, []float32{0.25, 0.5, 0.25})
	if want := (comparison{signed: 0.25, scaled: 0.25, labels: [2]int{0, 1}}); got != want {
		t.Errorf("classes: %+v, want %+v", got, want)
	}
	if classes.label(1) != "b" {
		t.Errorf("label 1 is %q", classes.label(1))
	}
	values := duelOf(&dataset.Spec{}, &task{outputs: 1, halfWidth: 2})
	for _, test := range []struct {
		before, after float32
		want          comparison
	}{
		{10, 9, comparison{-1, 0.5, true, [2]int{-1, -1}}},
		{10, 14, comparison{4, 2, false, [2]int{-1, -1}}},
	} {
		if got := values.difference([]float32{test.before}, []float32{test.after}); got != test.want {
			t.Errorf("values %g and %g: %+v, want %+v", test.before, test.after, got, test.want)
		}
	}
}

// TestChallengerIsFollowed runs the server's own loops.
func TestChallengerIsFollowed(t *testing.T) {
	s, _, _ := shadowing(t, 1, bundle(t, 1), bundle(t, 3))
	watch(t, s)
	predict(t, s, `{}`)
	eventually(t, "a record compared", func() bool { return describedAs(t, s).Challenger.Records == 1 })
}

// TestChallengerAway: a registry that can't be reached changes nothing.
func TestChallengerAway(t *testing.T) {
	s, r, names := shadowing(t, 1, bundle(t, 1), bundle(t, 3))
	before := s.shadow.duel.Load()
	r.goAway(errors.New("away"))
	names.now.Number, names.now.RunID = 3, "run3"
	if err := s.shadow.poll(t.Context()); err == nil {
		t.Error("no error though the files can't be had")
	}
	if before == nil || s.shadow.refused.Load() != nil {
		t.Errorf("refused %+v because the registry is away", s.shadow.refused.Load())
	}
}
