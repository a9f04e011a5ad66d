package headers

import (
	"net/http"
	"testing"
)

func TestUnmodified(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{`"a"`}, true},
		{[]string{`W/"a"`}, true},
		{[]string{`"b"`}, false},
		{[]string{`a`}, false},
		{[]string{`"b", W/"a"`}, true},
		{[]string{`"b","c"`, `"a"`}, true},
		{[]string{` * `}, true},
		{[]string{`"*"`}, false},
	} {
		r := &http.Request{Header: http.Header{"If-None-Match": test.lines}}
		if got := Unmodified(r, `"a"`); got != test.want {
			t.Errorf("If-None-Match: %q is %v, want %v", test.lines, got, test.want)
		}
	}
}
