package figures

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Soak watches a server that is loaded for long: what it holds has to stay flat. The zero value
// has seen nothing.
type Soak struct{ seen map[string][]float64 }

// soaked are the gauges that are watched, and how much more than a tenth they may grow from the
// middle third of the time to the last one.
var soaked = []struct {
	name, unit string
	per, more  float64 // per is of the unit, more in it
}{
	{"process_resident_memory_bytes", "MiB", 1 << 20, 16},
	{"go_goroutines", "", 1, 20},
	{"process_open_fds", "", 1, 20},
	{postgresConnections, "", 1, 5},
}

const (
	postgresConnections = "postgres_connections"
	processStart        = "process_start_time_seconds"
	minLooks            = 9
)

// Look reads the metrics of the server at base, and takes how many connections Postgres has. A
// server that was started again is an error.
func (s *Soak) Look(ctx context.Context, base string, connections float64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return fmt.Errorf("asking for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking for metrics: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading metrics: %w", err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			found[name] = number
		}
	}
	found[postgresConnections] = connections
	if s.seen == nil {
		s.seen = map[string][]float64{}
	}
	names := []string{processStart}
	for _, g := range soaked {
		names = append(names, g.name)
	}
	for _, name := range names {
		value, ok := found[name]
		if !ok {
			return fmt.Errorf("no %s among the metrics of %s", name, base)
		}
		s.seen[name] = append(s.seen[name], value)
	}
	if starts := s.seen[processStart]; starts[0] != starts[len(starts)-1] {
		return fmt.Errorf("the server at %s was started again", base)
	}
	return nil
}

// Gauge is how a gauge did: its medians in the middle third and the last third of the time, and
// the most that the latter may be.
type Gauge struct {
	Name, Unit         string
	Middle, Last, Most float64
}

// Gauges returns what was seen, at least nine times.
func (s *Soak) Gauges() ([]Gauge, error) {
	var list []Gauge
	for _, g := range soaked {
		all := s.seen[g.name]
		if len(all) < minLooks {
			return nil, fmt.Errorf("%s was seen %d times, want at least %d", g.name, len(all), minLooks)
		}
		middle, last := median(all[len(all)/3:2*len(all)/3])/g.per, median(all[2*len(all)/3:])/g.per
		list = append(list, Gauge{g.name, g.unit, middle, last, 1.1*middle + g.more})
	}
	return list, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
