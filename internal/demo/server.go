package demo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/program"
)

// ErrNoDemo is the error of Server where no inference server runs.
var ErrNoDemo = errors.New("no demo runs")

// Server finds the inference server of a demo that runs: that of the spec in c, else the
// only one. It returns its data set and its address.
func Server(c *Config) (name, address string, err error) {
	alive, err := c.State.Running("inference-")
	if err != nil {
		return "", "", err
	}
	own := ""
	if spec, err := dataset.Read(c.Spec); err == nil {
		own = spec.Name
	}
	name, err = chooseServer(alive, own)
	if err != nil {
		if errors.Is(err, ErrNoDemo) {
			return "", "", program.Inputf("%w in %s; make demo starts one", err, c.State.Dir)
		}
		return "", "", program.Input(err)
	}
	return name, alive[name], nil
}

// chooseServer returns which of the servers that run, by their data sets, is meant: that of
// the data set asked for, else the only one.
func chooseServer(alive map[string]string, own string) (name string, err error) {
	if alive[own] != "" {
		return own, nil
	}
	switch names := slices.Sorted(maps.Keys(alive)); len(names) {
	case 0:
		return "", ErrNoDemo
	case 1:
		return names[0], nil
	default:
		return "", fmt.Errorf("demos of %s run, and none of %s: say which by its YAML, SPEC=my.yaml", strings.Join(names, ", "), own)
	}
}
