package serve

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mlops/internal/api"
	"mlops/internal/model"
	"mlops/loadtest"
)

func TestLimitsHaveDefaults(t *testing.T) {
	if got, want := (Limits{}).defaults(), (Limits{32 * runtime.GOMAXPROCS(0), 2048, 128 << 20, 4096, 0}); got != want {
		t.Errorf("defaults are %+v, want %+v", got, want)
	}
	if got, want := (Limits{3, 2, 1, 4, 5}).defaults(), (Limits{3, 2, 1, 4, 5}); got != want {
		t.Errorf("%+v became %+v", want, got)
	}
}

// acquires starts a request and returns whether it gets a slot.
func acquires(l *slots) <-chan bool {
	was := l.waiting()
	got := make(chan bool, 1)
	go func() { got <- l.acquire() }()
	for len(got) == 0 && l.waiting() == was {
		runtime.Gosched()
	}
	return got
}

func TestSlotsTakeTurns(t *testing.T) {
	l := newSlots(1, 1, 3)
	if !l.acquire() {
		t.Fatal("none of the slots is free at the start")
	}
	let := make(chan bool, 3)
	for range 3 {
		turn := acquires(l)
		go func() { let <- <-turn }()
	}
	if l.acquire() {
		t.Error("a fourth may wait")
	}
	for i := range 3 {
		if len(let) > 0 {
			t.Error("granted before a slot was free")
		}
		l.release()
		if !<-let {
			t.Error("a waiting request was refused although a slot was free")
		}
		if l.busy() != 1 || l.waiting() != int64(2-i) {
			t.Errorf("after turn %d there are %d busy and %d waiting", i, l.busy(), l.waiting())
		}
	}
	l.release()
	if l.busy() != 0 || l.waiting() != 0 || l.refused.Load() != 1 {
		t.Errorf("in the end %d busy, %d waiting, %d refused, want 0, 0, 1", l.busy(), l.waiting(), l.refused.Load())
	}
}

// A queue may be long for a short time only.
func TestSlotsKeepAQueueShort(t *testing.T) {
	l := newSlots(2, 2, 100)
	l.acquire()
	l.acquire()
	var turns []<-chan bool
	for range 5 { // a burst
		turns = append(turns, acquires(l))
	}
	l.start = l.start.Add(-2 * queueGrace) // as if time had passed
	for range 3 {
		if l.acquire() {
			t.Fatal("a further request may wait in a queue that has been long for too long")
		}
	}
	for range 4 { // until fewer than two wait
		l.release()
	}
	turns = append(turns, acquires(l))
	if l.waiting() != 2 {
		t.Fatalf("a short queue accepts no request: %d wait", l.waiting())
	}
	for range 4 {
		l.release()
	}
	for i, turn := range turns {
		if !<-turn {
			t.Errorf("request %d was refused although a slot was free", i)
		}
	}
	if l.busy() != 0 || l.refused.Load() != 3 {
		t.Errorf("%d busy, %d refused, want 0 and 3", l.busy(), l.refused.Load())
	}
	// The next burst is one again.
	l.acquire()
	l.acquire()
	for range 5 {
		if len(acquires(l)) > 0 {
			t.Fatal("a new burst is refused")
		}
	}
}

func TestSlotsBoundTheWait(t *testing.T) {
	l := newSlots(1, 1, 1)
	l.acquire()
	start := time.Now()
	if l.acquire() {
		t.Error("two requests have the only slot")
	}
	if time.Since(start) < maxWait {
		t.Error("refused too early")
	}
	if l.release(); l.busy() != 0 || l.waiting() != 0 || len(l.turn) != 0 {
		t.Errorf("%d busy, %d waiting, %d tokens are left", l.busy(), l.waiting(), len(l.turn))
	}
}

// However many requests come and go, never more are let in than there are slots, and
// no slot is lost.
func TestSlotsUnderStress(t *testing.T) {
	const total = 3
	l := newSlots(total, 2, 10)
	var inside, most, passed, refused atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 2000 {
				if !l.acquire() {
					refused.Add(1)
					runtime.Gosched()
					continue
				}
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				passed.Add(1)
				inside.Add(-1)
				l.release()
			}
		})
	}
	all.Wait()
	if most.Load() > total || passed.Load()+refused.Load() != 50*2000 || refused.Load() != l.refused.Load() {
		t.Errorf("%d at a time with %d slots; %d passed, %d refused, %d counted", most.Load(), total, passed.Load(), refused.Load(), l.refused.Load())
	}
	if passed.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d passed and %d were refused: nothing was tried", passed.Load(), refused.Load())
	}
	if l.free.Load() != total || len(l.turn) != 0 {
		t.Errorf("%d slots and %d tokens are left, want %d and 0", l.free.Load(), len(l.turn), total)
	}
}

// limited is a server with limits whose scoring takes some time, at an address.
func limited(t *testing.T, l Limits, takes time.Duration) (*Server, string) {
	t.Helper()
	r := newShelf(t)
	r.put(t, "1", bundle(t, 1))
	s := New(Options{Model: "tiny", Cache: t.TempDir(), Registry: r, Limits: l, Log: slog.New(slog.DiscardHandler)})
	poll(t, s)
	if takes > 0 {
		s.score = func(x *exchange, m *model.Model) (int, error) {
			time.Sleep(takes)
			return score(x, m)
		}
	}
	address, stop, wait := run(t, s)
	t.Cleanup(func() {
		stop()
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
	return s, address
}

// At twice the rate that the server can sustain, it still answers as many requests
// as it can, none of them after a long wait; the others are told at once to try again
// later. Scoring takes a fixed time here, so that the sustainable rate is known and
// does not depend on the machine.
func TestOverload(t *testing.T) {
	notShort(t)
	const takes = 40 * time.Millisecond
	const slots = 4
	capacity := slots / takes.Seconds()
	s, address := limited(t, Limits{Concurrency: slots}, takes)
	body := []loadtest.Body{{JSON: []byte(`{"size":1}`), Records: 1}}
	over := make(chan struct{})
	var asked int
	var others sync.WaitGroup
	others.Go(func() { // probes and metrics still get through
		for {
			for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
				res, err := http.Get("http://" + address + path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				if res.Body.Close(); res.StatusCode != 200 {
					t.Errorf("%s of an overloaded server: %s", path, res.Status)
				}
				asked++
			}
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	report, err := loadtest.Run(t.Context(), loadtest.Config{Target: "http://" + address, Rates: []float64{2 * capacity}, Most: 400, Duration: 4 * time.Second, Bodies: body})
	close(over)
	others.Wait()
	if err != nil {
		t.Fatal(err)
	}
	stage := report.Stages[0]
	well, refused := stage.Requests-stage.Failed, stage.Errors["status 5xx"]
	t.Logf("of %d requests %d were answered, %d refused; %.0f/s, capacity %.0f/s; %+v, missed %+v", stage.Requests, well, refused, stage.PerSecond, capacity, stage.Latency, *stage.Missed)
	if stage.Failed != refused {
		t.Errorf("%d failed, of which only %d were refused: %v", stage.Failed, refused, stage.Failures)
	}
	for _, f := range stage.Failures {
		if !strings.Contains(f.Text, "503") || !strings.Contains(f.Text, "later") {
			t.Errorf("refused with %q", f.Text)
		}
	}
	// Far from the figures of a machine with time, which are near 1 and 2.
	if stage.PerSecond < capacity/2 {
		t.Errorf("%.0f answers a second, the capacity is %.0f", stage.PerSecond, capacity)
	}
	if refused < stage.Requests/8 {
		t.Errorf("only %d of %d were refused", refused, stage.Requests)
	}
	if limit := 10 * float64(takes.Milliseconds()); stage.Latency.P99 > limit {
		t.Errorf("99 %% of the answers took up to %v ms, more than %v ms", stage.Latency.P99, limit)
	}
	if asked < 9 {
		t.Errorf("only %d other requests meanwhile", asked)
	}
	for name, want := range map[string]int64{
		`mlops_predict_rejected_requests_total{reason="queue"}`:     refused,
		`mlops_predict_rejected_requests_total{reason="memory"}`:    0,
		`mlops_problems_total{handler="predict",type="overloaded"}`: refused,
		`mlops_requests_total{code="503",handler="predict"}`:        refused,
		`mlops_requests_total{code="200",handler="predict"}`:        well,
		`mlops_predict_scoring_requests{size="small"}`:              0,
		`mlops_predict_queued_requests{size="small"}`:               0,
		`mlops_predict_body_memory_bytes`:                           0,
	} {
		if got := metric(t, s, name); got != fmt.Sprint(want) {
			t.Errorf("%s is %s, want %d", name, got, want)
		}
	}
}

// Many connections alone are no overload.
func TestManyConnections(t *testing.T) {
	notShort(t)
	_, address := limited(t, Limits{}, 0)
	report, err := loadtest.Run(t.Context(), loadtest.Config{
		Target: "http://" + address, Users: []int{1000}, Duration: 2 * time.Second, Timeout: time.Minute,
		Bodies: []loadtest.Body{{JSON: []byte(`{"size":1}`), Records: 1}, {JSON: []byte("[" + strings.Repeat("{},", 30) + "{}]"), Records: 31}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Failed > 0 || report.Requests < 1000 {
		t.Errorf("%d of %d requests failed: %v", report.Failed, report.Requests, report.Stages[0].Failures)
	}
	t.Logf("%.0f answers a second", report.Stages[0].PerSecond)
}

// Large requests have slots of their own and do not keep small ones out.
func TestLargeRequestsDoNotKeepOutSmallOnes(t *testing.T) {
	s, address := limited(t, Limits{Concurrency: 8, Queue: 1}, 0)
	hold := make(chan struct{})
	s.score = func(x *exchange, m *model.Model) (int, error) {
		if len(x.body) > smallBody {
			<-hold
		}
		return score(x, m)
	}
	large := "[" + strings.Repeat("{},", smallBody/3+1) + "{}]"
	post := func(body string) int {
		res, err := http.Post("http://"+address+"/predict", "application/json", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		if res.StatusCode == 503 && res.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", res.Header.Get("Retry-After"))
		}
		return res.StatusCode
	}
	answers := make(chan int, 2)
	for range 2 {
		go func() { answers <- post(large) }()
	}
	eventually(t, "one large request with a slot and one that waits", func() bool { return s.large.busy() == 1 && s.large.waiting() == 1 })
	if got := post(large); got != 503 {
		t.Errorf("a third large request: status %d", got)
	}
	for range 5 {
		if got := post("{}"); got != 200 {
			t.Errorf("a small request: status %d", got)
		}
	}
	close(hold)
	if got := []int{<-answers, <-answers}; !slices.Equal(got, []int{200, 200}) {
		t.Errorf("the large requests: status %v", got)
	}
}

// All bodies together take no more memory than allowed; a small request finds room
// beside large ones that never end.
func TestBodiesInMemory(t *testing.T) {
	const most = 16 << 20
	s, address := limited(t, Limits{BodyMemory: most}, 0)
	const length = 5 << 20
	var open []net.Conn
	for range 2 {
		open = append(open, dial(t, address, length, strings.Repeat(" ", length-10)))
	}
	eventually(t, "two bodies", func() bool { return s.memory.used.Load() > 2*(length-10) })
	if status, text := read(t, dial(t, address, length, " ")); status != 503 || !strings.Contains(text, api.Overloaded) {
		t.Errorf("a body for which there is no room: status %d: %s", status, text)
	}
	if used := s.memory.used.Load(); used > most {
		t.Errorf("%d bytes are taken of %d", used, most)
	}
	if status, text := read(t, dial(t, address, 2, "{}")); status != 200 {
		t.Errorf("a small request: status %d: %s", status, text)
	}
	for _, c := range open[:2] {
		io.WriteString(c, "        {}")
		if status, text := read(t, c); status != 200 {
			t.Errorf("a large request: status %d: %.200s", status, text)
		}
	}
	eventually(t, "all memory back", func() bool { return s.memory.used.Load() == 0 })
	// A request that can never have room is not told to try again.
	if status, text := read(t, dial(t, address, most, "{}")); status != 413 {
		t.Errorf("a body as large as all the memory: status %d: %s", status, text)
	}
	if got := metric(t, s, `mlops_predict_rejected_requests_total{reason="memory"}`); got != "1" {
		t.Errorf("%s requests were rejected for memory, want 1", got)
	}
}

// notShort leaves tests that load the whole machine to make test.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a load on the whole machine; make test runs it")
	}
}

// What a request left in an exchange is not the next one's.
func TestExchangeBeginsEmpty(t *testing.T) {
	t.Parallel()
	m := &memory{total: 1 << 20}
	for range 20 { // the pool may give another one
		x := newExchange(m)
		if len(x.scores)+len(x.warnings)+len(x.excluded) > 0 {
			t.Fatalf("begins with %d scores, %d warnings, %d excluded records", len(x.scores), len(x.warnings), len(x.excluded))
		}
		x.scores, x.warnings, x.excluded = append(x.scores, 1), append(x.warnings, warning{}), append(x.excluded, exclusion{})
		x.free()
	}
}

// The buffer of a response grows only by what the request holds. Where others have the
// memory, the response goes out in smaller pieces, and is the same.
func TestResponsesInMemory(t *testing.T) {
	t.Parallel()
	record := bytes.Repeat([]byte("w"), 400) // with warnings
	for _, total := range []int64{16 << 10, 64 << 10, 1 << 20} {
		x := newExchange(&memory{total: total})
		var sent, out []byte
		pieces, full := 0, false
		for range 3000 {
			if out, full = x.room(out); full {
				pieces++
				sent, out = append(sent, out...), out[:0]
			}
			out = append(out, record...)
			if uncounted := int64(cap(out)) - x.held; uncounted > 2*firstSize {
				t.Fatalf("of a buffer of %d bytes only %d are held", cap(out), x.held)
			}
		}
		if sent = append(sent, out...); !bytes.Equal(sent, bytes.Repeat(record, 3000)) {
			t.Errorf("with %d bytes of memory the response has %d bytes, want %d", total, len(sent), 3000*len(record))
		}
		if least := 3000 * len(record) / (flushSize + roomy); pieces < least || total > flushSize+roomy && pieces > least+1 {
			t.Errorf("with %d bytes of memory there are %d pieces", total, pieces)
		}
		x.free()
		if used := x.memory; used != nil && used.used.Load() != 0 {
			t.Errorf("%d bytes are still held", used.used.Load())
		}
	}
	body := "[" + strings.Repeat("{},", 2999) + "{}]"
	var want string
	for _, most := range []int64{1 << 20, 256 << 10} {
		_, address := limited(t, Limits{BodyMemory: most}, 0)
		status, text := read(t, dial(t, address, len(body), body))
		if status != 200 {
			t.Fatalf("with %d bytes of memory: status %d: %.200s", most, status, text)
		}
		if want == "" {
			want = text
		} else if text != want {
			t.Errorf("with %d bytes of memory the response has %d bytes, want %d", most, len(text), len(want))
		}
	}
}
