package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"mlops/internal/api"
)

// run starts a server with Run on an address of its own; stop ends its context
// and wait returns what Run did.
func run(t *testing.T, s *Server) (address string, stop func(), wait func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	return l.Addr().String(), cancel, func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("Run did not return")
			return nil
		}
	}
}

// askAll sends requests of many records over and over until stop is called, and
// checks that each is answered by one version, with that version's score; want
// has the probability of {} by version. answered says how often one has answered.
func askAll(t *testing.T, address string, want map[string]float32) (answered func(version string) int64, stop func()) {
	counts := map[string]*atomic.Int64{}
	for version := range want {
		counts[version] = new(atomic.Int64)
	}
	body := "[" + strings.Repeat("{},", 500) + "{}]"
	var clients sync.WaitGroup
	over := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				res, err := http.Post("http://"+address+"/predict", "application/json", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				var a api.Predictions
				err = json.NewDecoder(res.Body).Decode(&a)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || len(a.Predictions) != 501 {
					t.Errorf("status %d, %d predictions, error %v", res.StatusCode, len(a.Predictions), err)
					return
				}
				for _, p := range a.Predictions {
					if float32(p.Probability) != want[a.Model.Number] {
						t.Errorf("version %s with probability %v, its own is %v", a.Model.Number, p.Probability, want[a.Model.Number])
						return
					}
				}
				counts[a.Model.Number].Add(1)
			}
		})
	}
	return func(version string) int64 { return counts[version].Load() }, func() { close(over); clients.Wait() }
}

// versions stores some versions and returns their files and what each says to {}.
func versions(t *testing.T, r *shelf, count int) (files map[string]map[string][]byte, want map[string]float32) {
	files, want = map[string]map[string][]byte{}, map[string]float32{}
	for i := 1; i <= count; i++ {
		number := fmt.Sprint(i)
		files[number] = bundle(t, float64(i)/8)
		r.put(t, number, files[number])
		s := newServer(t, r, t.TempDir())
		poll(t, s)
		want[number] = float32(predict(t, s, "{}").Predictions[0].Probability)
	}
	return files, want
}

// Versions change under load: every request is answered, each by one version
// with that version's score.
func TestSwapUnderLoad(t *testing.T) {
	notShort(t)
	r := newShelf(t)
	files, want := versions(t, r, 4)
	r.put(t, "1", files["1"])
	s := newServer(t, r, t.TempDir())
	poll(t, s)
	address, stop, wait := run(t, s)
	answered, over := askAll(t, address, want)
	eventually(t, "version 1", func() bool { return answered("1") > 0 })
	for _, number := range []string{"2", "3", "4"} {
		r.put(t, number, files[number])
		start := time.Now()
		eventually(t, "version "+number, func() bool { return answered(number) > 0 })
		t.Logf("version %s answered after %v", number, time.Since(start).Round(time.Millisecond))
	}
	over()
	if got := metric(t, s, "mlops_model_loads_total"); got != "4" {
		t.Errorf("%s swaps, want 4", got)
	}
	stop()
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// The same in quick succession, with all that can go wrong in between: a version
// that is refused, the store away, the registry away, a restart meanwhile. What
// was served before does not stay in memory.
func TestEverythingUnderLoad(t *testing.T) {
	r, cache := newShelf(t), t.TempDir()
	const count = 24
	files, want := versions(t, r, count)
	r.put(t, "1", files["1"])
	s := newServer(t, r, cache)
	var log strings.Builder
	s.log = textLog(&log)
	poll(t, s)
	answered, over := askAll(t, listen(t, s, func(*http.Server) {}), want)
	var stays []func() bool // by version: whether it is still in memory
	for i := 2; i < count; i++ {
		number := fmt.Sprint(i)
		encoder, trees := weak.Make(s.served.Load().model.Encoder), weak.Make(s.served.Load().model.Trees)
		stays = append(stays, func() bool { return encoder.Value() != nil || trees.Value() != nil })
		switch before := fmt.Sprint(i - 1); i % 4 {
		case 0:
			r.put(t, "666", with(files[number], "model.ubj", nil))
			poll(t, s)
			d := describedAs(t, s)
			if d.Model.Number != before || d.Refused == nil || d.Refused.Version != "666" {
				t.Errorf("serves %s, refused %+v, want %s and a refused one", d.Model.Number, d.Refused, before)
			}
		case 1:
			v := r.put(t, number, files[number])
			r.lose(errors.New("the store is away"))
			if err := s.poll(t.Context()); err == nil {
				t.Errorf("version %d was taken though the store is away", v.Number)
			}
			r.lose(nil)
		case 2:
			r.goAway(errors.New("the registry is away"))
			if err := s.poll(t.Context()); err == nil {
				t.Error("a registry that is away has answered")
			}
			restarted := newServer(t, r, cache)
			restarted.fromCache()
			if got := predict(t, restarted, "{}"); got.Model.Number != before || float32(got.Predictions[0].Probability) != want[before] {
				t.Errorf("a server that starts now answers %+v, want version %s", got, before)
			}
			r.goAway(nil)
		}
		if i%4 != 3 { // whatever it was, the version before answers on
			since := answered(fmt.Sprint(i - 1))
			eventually(t, "the version before", func() bool { return answered(fmt.Sprint(i-1)) > since })
		}
		r.put(t, number, files[number])
		poll(t, s)
		eventually(t, "version "+number, func() bool { return answered(number) > 0 })
	}
	eventually(t, "all old versions gone from memory, under load", func() bool {
		runtime.GC()
		return !slices.ContainsFunc(stays, func(stays func() bool) bool { return stays() })
	})
	over()
	if got := metric(t, s, "mlops_model_loads_total"); got != fmt.Sprint(count-1) {
		t.Errorf("%s swaps, want %d", got, count-1)
	}
	if got := metric(t, s, "mlops_model_refusals_total"); got != fmt.Sprint(count/4-1) || strings.Count(log.String(), "version refused") != count/4-1 {
		t.Errorf("%s refused, want %d, all in the log:\n%s", got, count/4-1, log.String())
	}
}

// dial sends the head of a request with a body of length bytes, of which sent come.
func dial(t *testing.T, address string, length int, sent string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, sent); err != nil {
		t.Fatal(err)
	}
	return c
}

// read returns the status and the body of the answer on a connection.
func read(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// Requests being served when the context ends are answered; new connections are
// refused.
func TestDrain(t *testing.T) {
	s, _ := serving(t, 1)
	address, stop, wait := run(t, s)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	// The server says so once the handler begins to read the body.
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusContinue {
		t.Fatalf("%v, error %v", res, err)
	}
	stop()
	eventually(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(c, `{"size":1}`); err != nil {
		t.Fatal(err)
	}
	if status, text := read(t, c); status != 200 || !strings.Contains(text, `"label":0`) {
		t.Errorf("status %d: %s", status, text)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// A server that starts again answers its first request from its local copy, whether
// the registry responds or not.
func TestRunServesItsCopyAtOnce(t *testing.T) {
	r, cache := newShelf(t), t.TempDir()
	r.put(t, "1", bundle(t, 1))
	poll(t, newServer(t, r, cache))
	for _, away := range []error{nil, errors.New("no route to host")} {
		r.goAway(away)
		s := newServer(t, r, cache)
		address, stop, wait := run(t, s)
		resp, err := http.Post("http://"+address+"/predict", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"version":"1"`) {
			t.Errorf("registry away: %v: %s: %s", away, resp.Status, text)
		}
		stop()
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestSlowBodies(t *testing.T) {
	s, _ := serving(t, 1)
	address := listen(t, s, func(srv *http.Server) { srv.ReadTimeout, srv.ReadHeaderTimeout = time.Second, time.Second })
	silent := dial(t, address, 10, `{"size`)
	half := dial(t, address, 10, `{"size`)
	half.(*net.TCPConn).CloseWrite()
	gone := dial(t, address, 10, `{"size`)
	gone.Close()
	pieces := dial(t, address, 10, "")
	for _, b := range `{"size":3}` {
		io.WriteString(pieces, string(b))
	}
	if status, text := read(t, pieces); status != 200 {
		t.Errorf("byte by byte: status %d: %s", status, text)
	}
	if status, text := read(t, half); status != 400 || !strings.Contains(text, "after 6 bytes") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("half a body: status %d: %s", status, text)
	}
	if status, text := read(t, silent); status != 408 || !strings.Contains(text, "only 6 bytes") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("a body that never comes whole: status %d: %s", status, text)
	}
	// The answer to a body that is too large arrives though the body was not read.
	large := dial(t, address, maxBody+1, strings.Repeat(" ", 1000))
	if status, text := read(t, large); status != 413 {
		t.Errorf("too large: status %d: %s", status, text)
	}
}

// A client that sends all of a body before it reads is told that it is too large.
func TestTooLargeIsTold(t *testing.T) {
	s, _ := serving(t, 1)
	address := listen(t, s, func(*http.Server) {})
	for name, head := range map[string]string{"announced": fmt.Sprintf("Content-Length: %d\r\n\r\n", maxBody+8<<20), "in chunks": "Transfer-Encoding: chunked\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			body := strings.Repeat(" ", maxBody+8<<20)
			if name == "in chunks" {
				body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
			}
			if _, err := io.WriteString(c, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+head+body); err != nil {
				t.Fatalf("sending: %v", err)
			}
			if status, text := read(t, c); status != 413 {
				t.Errorf("status %d: %s", status, text)
			}
		})
	}
}

// Busy connections are closed now and then with a response that says so, whichever
// way a request is read, and no request fails of it.
func TestConnectionsMove(t *testing.T) {
	const requests, each = 400, 20
	for name, test := range map[string]struct {
		each        uint32
		netHTTPOnly bool
	}{"never": {}, "read without net/http": {each: each}, "read by net/http": {each: each, netHTTPOnly: true}} {
		t.Run(name, func(t *testing.T) {
			r := newShelf(t)
			r.put(t, "1", bundle(t, 1))
			s := newServer(t, r, t.TempDir())
			s.options.Limits.ConnectionRequests, s.options.NetHTTPOnly = test.each, test.netHTTPOnly
			poll(t, s)
			address, stop, wait := run(t, s)
			opened := 0
			var dialer net.Dialer
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				opened++ // one request at a time
				return dialer.DialContext(ctx, network, address)
			}}}
			for range requests {
				res, err := client.Post("http://"+address+"/predict", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
					t.Fatalf("got %s, %v", res.Status, err)
				}
				res.Body.Close()
			}
			// 20 are to be expected, with a standard deviation of 4.4.
			if test.each == 0 && opened != 1 || test.each > 0 && (opened < 3 || opened > 60) {
				t.Errorf("%d connections for %d requests", opened, requests)
			}
			client.CloseIdleConnections()
			stop()
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that is draining takes requests, and closes each connection after a
// response: none of a closed loop's requests fails.
func TestDrainTakesMore(t *testing.T) {
	r := newShelf(t)
	r.put(t, "1", bundle(t, 1))
	s := newServer(t, r, t.TempDir())
	s.options.Drain = time.Second
	poll(t, s)
	address, stop, wait := run(t, s)

	client := &http.Client{Transport: &http.Transport{}}
	ask := func() (closing bool) {
		t.Helper()
		res, err := client.Post("http://"+address+"/predict", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("got %s, %v", res.Status, err)
		}
		return res.Close
	}
	if ask() {
		t.Error("the server closes a connection although it is not stopping")
	}
	stop()
	for !ask() {
	}
	res, err := client.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz of a server that stops: %s", res.Status)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}
