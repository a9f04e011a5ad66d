package demo

import "testing"

// The load tester finds the server of a demo, whatever its data set is.
func TestChooseServer(t *testing.T) {
	t.Parallel()
	one, two := map[string]string{"diabetes": "http://d"}, map[string]string{"diabetes": "http://d", "penguins": "http://p"}
	for _, test := range []struct {
		alive     map[string]string
		own, want string
		err       string
	}{
		{one, "diabetes", "diabetes", ""},
		{one, "penguins", "diabetes", ""},
		{two, "penguins", "penguins", ""},
		{two, "iris", "", "demos of diabetes, penguins run, and none of iris: say which by its YAML, SPEC=my.yaml"},
		{nil, "diabetes", "", "no demo runs"},
	} {
		got, err := chooseServer(test.alive, test.own)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("of %v for %s: got %q, %v; want %q, %s", test.alive, test.own, got, err, test.want, test.err)
		}
	}
}
