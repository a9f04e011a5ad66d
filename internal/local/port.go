package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mlops/internal/host"
)

// ports remembers the port of each service, so that the service keeps it across
// runs and a second data set doesn't take the first one's.
type ports struct {
	path string
	has  map[string]int
}

func (s *State) ports() (*ports, error) {
	p := &ports{path: s.Path("ports.json"), has: map[string]int{}}
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ports: %w", err)
	}
	if err := json.Unmarshal(text, &p.has); err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.path, err)
	}
	return p, nil
}

func (s *State) pickPort(service string, base int, avoid map[int]bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps, err := s.ports()
	if err != nil {
		return 0, err
	}
	return ps.pick(service, base, avoid)
}

// pick returns the service's remembered port if it is free, otherwise the first
// free one from base on that belongs to no other service. It skips the ports in
// avoid, which other programs took while the service started.
func (p *ports) pick(service string, base int, avoid map[int]bool) (int, error) {
	if n := p.has[service]; n != 0 && !avoid[n] && host.PortFree(n) {
		return n, nil
	}
	taken := map[int]bool{}
	for name, n := range p.has {
		taken[n] = name != service
	}
	for n := base; n < base+200 && n < 65536; n++ {
		if !taken[n] && !avoid[n] && host.PortFree(n) {
			p.has[service] = n
			return n, writeJSON(p.path, p.has)
		}
	}
	return 0, fmt.Errorf("finding a port for %s: none from %d to %d is free", service, base, base+199)
}
