package promote_test

import "testing"

// A champion that shows real rows is replaced once the spec no longer wants that, even
// by a candidate that is no better.
func TestRealSamplesAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := w.spec("threshold: ", "samples: real\nthreshold: ")
	w.trainAll(older)
	first := w.promote(older)
	newer := w.spec()
	w.trainAll(newer)
	second := w.promote(newer)
	if !second.Promoted || second.Version == first.Version {
		t.Errorf("%+v, want version %d replaced", second, first.Version)
	}
	contains(t, "reason", second.Reason, "real rows")
}
