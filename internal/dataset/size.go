package dataset

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What a table may have at most where the spec does not say: more than any honest
// table that one machine trains on, less than what fills it.
const (
	DefaultMaxLines      = 200_000_000
	DefaultMaxSize  Size = 32 << 30
	DefaultMaxRatio      = 500
)

// Size is a number of bytes, written with its unit: 32GiB, 500MB.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// String writes the size in the largest unit that keeps it a round number, or else
// with one decimal.
func (s Size) String() string {
	for _, u := range units[:4] {
		if int64(s) >= u.bytes {
			if int64(s)%u.bytes == 0 {
				return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
			}
			return strconv.FormatFloat(float64(s)/float64(u.bytes), 'f', 1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// UnmarshalYAML reads a size such as 32GiB.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(n.Value, u.name)
		if !ok || n.Kind != yaml.ScalarNode {
			continue
		}
		x, ok := ParseNumber([]byte(strings.TrimSpace(number)))
		if !ok || x < 0 || x*float64(u.bytes) < 1 || x*float64(u.bytes) > 1<<60 {
			break
		}
		*s = Size(x * float64(u.bytes))
		return nil
	}
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is not a size; write it with its unit, as 500MB or 32GiB", n.Line, n.Value)}}
}
