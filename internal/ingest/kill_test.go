package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
)

// bigTable is a table with all that can go wrong with a row, and what of it has
// to be in clean at the end: each key once.
func bigTable(n int) (text string, clean []string) {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		switch {
		case i%100 == 7:
			fmt.Fprintf(&b, "%d,too few\n", i)
			continue
		case i%100 == 8:
			fmt.Fprintf(&b, "%d,bad,nonsense,no\n", i)
			continue
		case i%1000 == 999:
			fmt.Fprintf(&b, "%d,twice,1,no\n", i-1)
			continue
		}
		fmt.Fprintf(&b, "%d,p%d,%d,%s\n", i, i%50, i%300, []string{"yes", "no"}[i%2])
		clean = append(clean, fmt.Sprint(i))
	}
	return b.String(), clean
}

// stepFolder is where the first test that needs the three steps compiles them.
var stepFolder string

func TestMain(m *testing.M) {
	var err error
	if stepFolder, err = os.MkdirTemp("", "ingest-steps-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(stepFolder)
	os.Exit(code)
}

var compileSteps = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", stepFolder, "mlops/images/load-raw-data", "mlops/images/process-data", "mlops/images/load-val-test-data")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the steps: %w\n%s", err, out)
	}
	return nil
})

// programs returns the paths of the three steps, as they are shipped, by their names.
func programs(t *testing.T) map[string]string {
	t.Helper()
	if err := compileSteps(); err != nil {
		t.Fatal(err)
	}
	steps := map[string]string{}
	for _, name := range []string{"load-raw-data", "process-data", "load-val-test-data"} {
		steps[name] = filepath.Join(stepFolder, name)
	}
	return steps
}

// command is a step as a child process, with the databases of the test. The
// step itself knows only the databases raw and clean, so the test's stand on a
// proxy that names them anew.
func command(t *testing.T, cfg Config, addr, program string, args ...string) *exec.Cmd {
	t.Helper()
	pc, err := pgx.ParseConfig(cfg.Postgres.ConnString)
	if err != nil {
		t.Fatal(err)
	}
	specPath := filepath.Join(t.TempDir(), "things.yaml")
	if err := os.WriteFile(specPath, cfg.Spec.Text(), 0o644); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "MLOPS_SPEC="+specPath, "PGHOST="+host, "PGPORT="+port,
		"PGUSER="+pc.User, "PGPASSWORD="+pc.Password, "PGSSLMODE=disable")
	return cmd
}

// finish runs a step to its end.
func finish(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(cmd.Path), err, out.String())
	}
}

// killTimes kills a step at random moments until it has once come to its end,
// and returns how often it was killed.
func killTimes(t *testing.T, rng *rand.Rand, most time.Duration, start func() *exec.Cmd, check func()) int {
	t.Helper()
	for kills := 0; ; kills++ {
		if kills == 25 {
			finish(t, start())
			return kills
		}
		cmd := start()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(rng.Int64N(int64(most))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		check()
		var dead *exec.ExitError
		if errors.As(err, &dead) && dead.ExitCode() >= 0 {
			t.Fatalf("a step ended with %d after %d kills", dead.ExitCode(), kills)
		}
		if err == nil {
			return kills
		}
	}
}

func TestKilledSteps(t *testing.T) {
	t.Parallel()
	text, want := bigTable(20_000)
	cfg := setup(t, "key: id\ngroup: who").from(t, text)
	proxy := newProxy(t, cfg)
	steps := programs(t)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	load := func() *exec.Cmd {
		return command(t, cfg, proxy.addr, steps["load-raw-data"], "--all", "--batch=500", "--source="+cfg.Source)
	}
	// Each bound is less than the step takes from its start to its end.
	loads := killTimes(t, rng, 80*time.Millisecond, load, func() { checkRaw(t, cfg) })
	cleans := killTimes(t, rng, 80*time.Millisecond,
		func() *exec.Cmd { return command(t, cfg, proxy.addr, steps["process-data"]) }, func() { checkClean(t, cfg) })
	splits := killTimes(t, rng, 30*time.Millisecond,
		func() *exec.Cmd { return command(t, cfg, proxy.addr, steps["load-val-test-data"]) }, func() { checkClean(t, cfg) })
	t.Logf("kills: %d of load-raw-data, %d of process-data, %d of load-val-test-data", loads, cleans, splits)
	if loads == 0 || cleans == 0 || splits == 0 {
		t.Error("a step was never killed: this tests nothing")
	}
	checkAll(t, cfg, want)
}

// checkAll checks that everything arrived just once, and that every row has a
// split.
func checkAll(t *testing.T, cfg Config, want []string) {
	t.Helper()
	checkRaw(t, cfg)
	checkClean(t, cfg)
	raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
	if diff := cmp.Diff(want, query(t, clean, "SELECT id FROM things WHERE split IS NOT NULL ORDER BY id")); diff != "" {
		t.Errorf("keys in clean with a split (-want +got):\n%s", diff)
	}
	if got := query(t, raw, `SELECT (SELECT count(*) FROM things) + (SELECT count(*) FROM things_rejected),
		count(DISTINCT line) FROM (SELECT _line AS line FROM things UNION ALL SELECT line FROM things_rejected) l`); got[0] != "20000|20000" {
		t.Errorf("raw and rejected have %s lines, and different ones; want 20000|20000", got[0])
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	t.Parallel()
	text, want := bigTable(20_000)
	cfg := setup(t, "key: id\ngroup: who").from(t, text)
	proxy := newProxy(t, cfg)
	steps := programs(t)
	for _, args := range [][]string{{"load-raw-data", "--all", "--batch=500", "--source=" + cfg.Source}, {"process-data"}, {"load-val-test-data"}} {
		var wg sync.WaitGroup
		for range 3 {
			wg.Add(1)
			cmd := command(t, cfg, proxy.addr, steps[args[0]], args[1:]...)
			go func() {
				defer wg.Done()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", args[0], err, out)
				}
			}()
		}
		wg.Wait()
	}
	checkAll(t, cfg, want)
}

// TestLostConnections cuts every connection after a random number of bytes, and
// now and then stays away for a while.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	text, want := bigTable(20_000)
	cfg := setup(t, "key: id\ngroup: who").from(t, text)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	proxy := newProxy(t, cfg, func(p *proxy) { p.cutAfter = func() int { return 30_000 + rng.IntN(60_000) } })
	through := throughProxy(t, cfg, proxy)
	through.Batch, through.All = 1000, true
	through.Postgres.Tries = 50
	ctx := context.Background()
	if r, err := LoadRaw(ctx, through); err != nil || r.Taken+r.Rejected != 20_000 {
		t.Fatalf("LoadRaw: %+v, %v", r, err)
	}
	checkRaw(t, cfg)
	loads := proxy.cuts()
	if r, err := Process(ctx, through); err != nil || r.Taken != int64(len(want)) {
		t.Fatalf("Process: %+v, %v; want %d rows", r, err, len(want))
	}
	if _, err := Split(ctx, through); err != nil {
		t.Fatal(err)
	}
	checkAll(t, cfg, want)
	if loads < 2 || proxy.cuts() < loads+2 {
		t.Errorf("only %d and %d connections were lost: this tests nothing", loads, proxy.cuts()-loads)
	}
	t.Logf("%d connections lost", proxy.cuts())
}

// TestLostCommit cuts the connection after a COMMIT went to the server and
// before its answer came back, for every second COMMIT.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	text, want := bigTable(20_000)
	cfg := setup(t, "key: id\ngroup: who").from(t, text)
	proxy := newProxy(t, cfg, func(p *proxy) { p.cutCommits = true })
	through := throughProxy(t, cfg, proxy)
	through.Batch, through.All = 4000, true
	ctx := context.Background()
	r, err := LoadRaw(ctx, through)
	if err != nil || r.Batches != 5 || r.Taken+r.Rejected != 20_000 {
		t.Errorf("LoadRaw: %+v, %v; want 5 batches and 20000 lines", r, err)
	}
	if p, err := Process(ctx, through); err != nil || p.Batches != 5 || p.Taken != int64(len(want)) {
		t.Errorf("Process: %+v, %v; want 5 batches and %d rows", p, err, len(want))
	}
	if _, err := Split(ctx, through); err != nil {
		t.Error(err)
	}
	checkAll(t, cfg, want)
	if proxy.cuts() < 6 {
		t.Errorf("only %d commits were cut, of 5 batches in two steps", proxy.cuts())
	}
}

// TestPostgresStaysAway has the server gone for good in the middle.
func TestPostgresStaysAway(t *testing.T) {
	t.Parallel()
	text, _ := bigTable(20_000)
	cfg := setup(t, "key: id").from(t, text)
	proxy := newProxy(t, cfg, func(p *proxy) {
		p.cutAfter = func() int { return 300_000 }
		p.once = true
	})
	through := throughProxy(t, cfg, proxy)
	through.Batch, through.All = 1000, true
	through.Postgres.Patience = 300 * time.Millisecond
	_, err := LoadRaw(context.Background(), through)
	var gone *postgres.Unreachable
	if !errors.As(err, &gone) || ExitCode(err) != 1 {
		t.Errorf("got %v, want that Postgres could not be reached", err)
	}
	checkRaw(t, cfg)
	cfg.All = true
	if r := load(t, cfg); !r.UsedUp || r.Taken == 0 {
		t.Errorf("the next run: got %+v", r)
	}
}

func throughProxy(t *testing.T, cfg Config, p *proxy) Config {
	t.Helper()
	pc, err := pgx.ParseConfig(cfg.Postgres.ConnString)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(p.addr)
	cfg.Postgres.ConnString = postgres.ConnString(host, port, pc.User, pc.Password) + " sslmode=disable"
	cfg.Postgres.Raw, cfg.Postgres.Clean = "raw", "clean" // the proxy knows them by these names
	return cfg
}

// proxy stands before Postgres. It names the databases raw and clean anew, and
// loses connections when it is told to.
type proxy struct {
	addr       string
	cutAfter   func() int // bytes from the client; nil: never
	cutCommits bool
	once       bool // after the first cut nobody is let in any more

	mu      sync.Mutex
	lost    int
	commits int
	server  string
	names   map[string]string
}

func newProxy(t *testing.T, cfg Config, set ...func(*proxy)) *proxy {
	t.Helper()
	pc, err := pgx.ParseConfig(cfg.Postgres.ConnString)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{
		addr: l.Addr().String(), server: net.JoinHostPort(pc.Host, fmt.Sprint(pc.Port)),
		names: map[string]string{"raw": cfg.Postgres.Raw, "clean": cfg.Postgres.Clean},
	}
	for _, f := range set {
		f(p)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// everySecond counts a COMMIT and reports whether it is the first, third, fifth.
func (p *proxy) everySecond() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits++
	return p.commits%2 == 1
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	away := p.once && p.lost > 0
	left := -1
	if p.cutAfter != nil {
		left = p.cutAfter()
	}
	p.mu.Unlock()
	if away {
		return
	}
	s, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer s.Close()
	if !p.startup(c, s) {
		return
	}
	go func() {
		io.Copy(c, s)
		c.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		// pgx sends COMMIT as a simple query of its own.
		commit := p.cutCommits && bytes.HasPrefix(buf[:n], []byte("Q\x00\x00\x00\x0bcommit\x00")) && p.everySecond()
		if commit || left >= 0 && n > left {
			p.mu.Lock()
			p.lost++
			p.mu.Unlock()
			if commit {
				c.Close() // first, so that no answer gets through
				s.Write(buf[:n])
				// Until the server has done it: it closes when it reads the end.
				s.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, s)
			}
			return
		}
		if left >= 0 {
			left -= n
		}
		if n > 0 {
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// startup hands the client's first message on, with the database's true name
// (Postgres' documentation, "Message Formats", StartupMessage).
func (p *proxy) startup(c, s net.Conn) bool {
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return false
	}
	body := make([]byte, int(head[0])<<24|int(head[1])<<16|int(head[2])<<8|int(head[3])-8)
	if _, err := io.ReadFull(c, body); err != nil {
		return false
	}
	words := strings.Split(string(body), "\x00")
	for i := 0; i+1 < len(words); i += 2 {
		if name, ok := p.names[words[i+1]]; ok && words[i] == "database" {
			words[i+1] = name
		}
	}
	body = []byte(strings.Join(words, "\x00"))
	n := len(body) + 8
	_, err := s.Write(append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), head[4], head[5], head[6], head[7]}, body...))
	return err == nil
}
