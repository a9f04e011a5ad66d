package headers

import (
	"fmt"
	"strings"
)

// Quality is how much a client wants an encoding (RFC 9110, section 12.5.3), 0 if not at
// all. accept is its Accept-Encoding.
func Quality(accept, encoding string) float64 {
	for part := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(name) != encoding {
			continue
		}
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			if _, err := fmt.Sscan(text, &q); err != nil {
				return 0
			}
		}
		return q
	}
	return 0
}
