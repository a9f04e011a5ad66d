package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is the supervised program: it answers with its process ID and how often it
// was restarted, fails at once if it is told to, takes memory until it dies if it is asked
// to, and ends well on SIGTERM.
func TestMain(m *testing.M) {
	if !Supervised() {
		os.Exit(m.Run())
	}
	if code := os.Getenv("MLOPS_TEST_EXIT"); code != "" {
		n, _ := strconv.Atoi(code)
		os.Exit(n)
	}
	l, restarts, err := Listen("")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if limit, err := strconv.ParseInt(os.Getenv("MLOPS_TEST_MEMORY"), 10, 64); err == nil {
		if err := ConfineMemory(limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		http.HandleFunc("/grow", grow)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid(), " ", restarts) })
	server := &http.Server{}
	go server.Serve(l)
	<-ctx.Done()
	server.Shutdown(context.Background())
	os.Exit(0)
}

// grow takes memory without end, and says after each step how much it has.
func grow(w http.ResponseWriter, _ *http.Request) {
	for all := [][]byte{}; ; {
		step := make([]byte, 1<<20)
		for i := 0; i < len(step); i += 4096 {
			step[i] = 1
		}
		all = append(all, step)
		fmt.Fprintln(w, len(all)<<20)
		w.(http.Flusher).Flush()
	}
}

// supervised starts a supervised server, and returns its address and how it ended.
func supervised(t *testing.T, minUptime time.Duration) (address string, stop func(), done chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	done = make(chan error, 1)
	go func() { done <- supervise(ctx, slog.New(slog.DiscardHandler), address, minUptime) }()
	return address, stop, done
}

func TestSupervise(t *testing.T) {
	address, stop, done := supervised(t, 0)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	ask := func() (pid, restarts int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			resp, err := client.Get("http://" + address)
			if err != nil {
				if time.Now().After(end) {
					t.Fatal(err)
				}
				continue
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if _, err2 := fmt.Sscan(string(text), &pid, &restarts); err != nil || err2 != nil {
				t.Fatalf("%q: %v, %v", text, err, err2)
			}
			return pid, restarts
		}
	}
	for want := range 3 {
		pid, restarts := ask()
		if restarts != want {
			t.Errorf("%d restarts, want %d", restarts, want)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// From here on nothing is refused: what connects waits for the next process.
		for syscall.Kill(pid, 0) == nil {
			c, err := net.DialTimeout("tcp", address, time.Second)
			if err != nil {
				t.Fatalf("connecting while the server is dead: %v", err)
			}
			c.Close()
		}
	}
	pid, _ := ask()
	stop()
	if err := <-done; err != nil {
		t.Errorf("a server that was told to end: %v", err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the server still runs")
	}
}

// A server that is killed again and again, each time soon after its start, ends the program.
func TestSuperviseKilledSoon(t *testing.T) {
	address, stop, done := supervised(t, time.Minute)
	defer stop()
	for kill := range maxKilled {
		var pid, restarts int
		for pid == 0 {
			if resp, err := http.Get("http://" + address); err == nil {
				fmt.Fscan(resp.Body, &pid, &restarts)
				resp.Body.Close()
			}
			if err := syscall.Kill(pid, 0); pid != 0 && (err != nil || restarts != kill) {
				pid = 0
			}
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		if Code(err) != Failed || !strings.Contains(err.Error(), "killed") {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the program goes on")
	}
}

// A server that ends soon ends the program, with its exit code.
func TestSuperviseEndsSoon(t *testing.T) {
	for _, want := range []int{0, Failed, BadInput} {
		t.Setenv("MLOPS_TEST_EXIT", strconv.Itoa(want))
		_, stop, done := supervised(t, time.Minute)
		defer stop()
		err := <-done
		code := Code(err)
		if want == 0 {
			want = Failed // nobody told it to end
		}
		if code != want || err == nil || !strings.Contains(err.Error(), "the server ended after") {
			t.Errorf("exit code %d, want %d: %v", code, want, err)
		}
	}
}

// A server that takes too much memory dies before its container would, and its parent
// starts another one.
func TestSuperviseOutOfMemory(t *testing.T) {
	const limit = 256 << 20
	t.Setenv("MLOPS_TEST_MEMORY", strconv.Itoa(limit))
	address, stop, done := supervised(t, 0)
	var resp *http.Response
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var err error
		if resp, err = http.Get("http://" + address + "/grow"); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil {
		t.Error("the response ended well")
	}
	lines := strings.Fields(string(text))
	// The race detector's own memory is several times the program's.
	if last, _ := strconv.Atoi(lines[max(0, len(lines)-2)]); last < limit/16 || last > limit*31/32 {
		t.Errorf("the server died when it had %d of %d MiB", last>>20, limit>>20)
	} else {
		t.Logf("the server died when it had %d of %d MiB", last>>20, limit>>20)
	}
	if resp, err = http.Get("http://" + address); err != nil {
		t.Fatal(err)
	}
	var pid, restarts int
	fmt.Fscan(resp.Body, &pid, &restarts)
	resp.Body.Close()
	if restarts != 1 {
		t.Errorf("%d restarts, want 1", restarts)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
