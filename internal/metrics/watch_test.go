package metrics

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A schedule is due only from when its follower was made.
func TestSchedules(t *testing.T) {
	t.Parallel()
	now := time.Unix(90, 0)
	hourly := func(after time.Time) time.Time { return after.Truncate(time.Hour).Add(time.Hour) }
	s := newSet()
	list := []Schedule{{"pipeline", "hourly", hourly}, {"never", "", func(time.Time) time.Time { return time.Time{} }}}
	c := &scheduleCollector{read: func() []Schedule { return list }, now: func() time.Time { return now }}
	s.registry.MustRegister(c)
	for _, tt := range []struct{ now, next, due int64 }{{90, 3600, 0}, {3599, 3600, 0}, {3600, 7200, 3600}, {3700, 7200, 3600}, {20000, 21600, 18000}} {
		now = time.Unix(tt.now, 0)
		_, text := scrape(t, s, "text/plain")
		for _, want := range []string{
			fmt.Sprintf("mlops_schedule_next_timestamp_seconds{workflow=\"pipeline\"} %d\n", tt.next),
			fmt.Sprintf("mlops_schedule_due_timestamp_seconds{workflow=\"pipeline\"} %d\n", tt.due),
			"mlops_schedule_due_timestamp_seconds{workflow=\"never\"} 0\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("at %d: no %s in\n%s", tt.now, want, text)
			}
		}
		if strings.Contains(text, `next_timestamp_seconds{workflow="never"}`) {
			t.Errorf("at %d: what is never due has a next time", tt.now)
		}
	}
	list = []Schedule{{"pipeline", "half past", func(after time.Time) time.Time { return after.Truncate(time.Hour).Add(90 * time.Minute) }}}
	if _, text := scrape(t, s, "text/plain"); !strings.Contains(text, `mlops_schedule_due_timestamp_seconds{workflow="pipeline"} 0`) {
		t.Errorf("a new schedule was due before it was there:\n%s", text)
	}
}

// The earliest end of a chain counts, a file that can't be read is at its end, and what
// is renewed is seen.
func TestCertificates(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(end int64) string {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(end, 0)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "tls.crt"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := NewPage()
	m.WatchCertificates(dir, slog.New(slog.DiscardHandler))
	see := func(want ...string) {
		t.Helper()
		_, text := scrape(t, m.set, "text/plain")
		for _, w := range want {
			if !strings.Contains(text, "mlops_certificate_end_timestamp_seconds{certificate="+w+"\n") {
				t.Errorf("no %s in\n%s", w, text)
			}
		}
		if n := strings.Count(text, "mlops_certificate_end_timestamp_seconds{"); n != len(want) {
			t.Errorf("%d certificates, want %d", n, len(want))
		}
	}
	see()
	write("postgres", certificate(2e9)+certificate(1.9e9))
	write("broken", "no certificate")
	see(`"postgres"} 1.9e+09`, `"broken"} 0`)
	write("postgres", certificate(2.1e9))
	see(`"postgres"} 2.1e+09`, `"broken"} 0`)
}
