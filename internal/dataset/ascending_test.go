package dataset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAscending(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ values, want []string }{
		{[]string{"1", "10", "11", "12", "2"}, []string{"1", "2", "10", "11", "12"}},
		{[]string{"10", "-1.5", "2", "02"}, []string{"-1.5", "02", "2", "10"}},
		{[]string{"10", "2", "b", "a"}, []string{"10", "2", "a", "b"}},
		{nil, nil},
	} {
		got := append([]string(nil), test.values...)
		Ascending(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.values, diff)
		}
	}
}
