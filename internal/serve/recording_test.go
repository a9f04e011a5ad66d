package serve

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"mlops/internal/headers"
	"mlops/internal/plainhttp"
	"mlops/loadtest"
)

// silent is a counter that counts nothing.
type silent struct{}

func (silent) Add(int) {}

// BenchmarkRecording is what metrics cost a server whose 100 connections are all in use: two
// servers of one model take turns, of which one times requests and counts them, their labels and
// scores, and the other does not. (Both add up the records of requests.) Client and server share this process,
// so its processor time counts both. Each iteration is a pair; -benchtime 30x makes medians of 30.
func BenchmarkRecording(b *testing.B) {
	var address [2]string
	var body string
	for i, recording := range []bool{true, false} {
		s, record := fullServer(b)
		body = record
		predict := s.guard("predict", s.predict)
		if recording {
			s.served.Load().scores = s.metrics.Scores("1")
			predict = s.observe("predict", s.predict)
		} else {
			s.served.Load().labels = [2]counter{silent{}, silent{}}
		}
		h := &http.Server{Handler: headers.Secure(headers.API, traced(predict)), ReadHeaderTimeout: time.Second}
		server := plainhttp.New(h, http.MethodPost, "/predict", slog.New(slog.DiscardHandler))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		address[i] = "http://" + l.Addr().String()
		go server.Serve(l)
		b.Cleanup(func() { server.Close() })
	}
	// load returns the processor time per request, in µs, and requests per second.
	load := func(i int) (cpu, rate float64) {
		var from, to syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &from)
		r, err := loadtest.Run(b.Context(), loadtest.Config{Target: address[i], Users: []int{100}, Duration: 500 * time.Millisecond, Bodies: []loadtest.Body{{JSON: []byte(body), Records: 1}}})
		syscall.Getrusage(syscall.RUSAGE_SELF, &to)
		if err != nil || r.Failed > 0 {
			b.Fatalf("%d of %d requests failed: %v", r.Failed, r.Requests, err)
		}
		used := to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano()
		return float64(used) / 1e3 / float64(r.Requests), r.Stages[0].PerSecond
	}
	load(0)
	load(1)
	var with, without, share, rates []float64
	for n := 0; b.Loop(); n++ {
		var cpu, rate [2]float64
		for k := range 2 {
			i := (n + k) % 2 // each begins every other pair
			cpu[i], rate[i] = load(i)
		}
		with, without = append(with, cpu[0]), append(without, cpu[1])
		share, rates = append(share, 100*(cpu[0]/cpu[1]-1)), append(rates, rate[0]/rate[1])
	}
	median := func(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(with), "µs/request")
	b.ReportMetric(median(without), "µs/unrecorded")
	b.ReportMetric(median(share), "%-more")
	b.ReportMetric(median(rates), "of-the-rate")
}
