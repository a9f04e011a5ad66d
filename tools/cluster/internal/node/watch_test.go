package node

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0) }
	var b backoff
	for _, c := range []struct {
		now  int
		want bool
	}{
		{0, true},    // the first end
		{0, false},   // it ended at once: wait a second
		{1, true},    // now
		{2, false},   // two seconds
		{3, true},    //
		{6, false},   // four
		{7, true},    //
		{14, false},  // eight
		{15, true},   //
		{400, true},  // long calm: at once
		{400, false}, // and a second again
		{401, true},
	} {
		if got := b.allows(at(c.now), at(-10)); got != c.want {
			t.Errorf("at second %d allowed %v, want %v", c.now, got, c.want)
		}
	}
	for range 20 {
		b.allows(b.next, at(-10))
	}
	if b.pause != maxBackoff {
		t.Errorf("the longest pause is %v, want %v", b.pause, maxBackoff)
	}
}
