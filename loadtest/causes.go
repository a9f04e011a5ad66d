package loadtest

import (
	"cmp"
	"errors"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"
)

// NotSent is the kind of failure of a request at a rate that found no connection free.
const NotSent = "not sent"

// maxCauses is how many causes are told apart; further ones are counted together.
const maxCauses = 50

// ownAddress is the near end of a connection in an error's text, which differs with each.
var ownAddress = regexp.MustCompile(`(\[[0-9a-f:]+\]|[0-9.]+):[0-9]+->`)

// Cause is a reason for which requests failed.
type Cause struct {
	Target string    `json:"target"`
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
	Count  int64     `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// causes groups failures by target, kind and text.
type causes struct {
	mu    sync.Mutex
	list  map[[3]string]*Cause
	kinds map[string]int64
	first []Failure
}

// maxFailures is how many failures are kept with their time and text.
const maxFailures = 10

// add counts a request that was due at a time and failed at another.
func (c *causes) add(target string, err error, due, at time.Time) {
	f := Failure{At: at.UTC(), Milliseconds: milliseconds(at.Sub(due)), Kind: Broken, Text: err.Error()}
	if known, ok := errors.AsType[*failure](err); ok {
		f.Kind, f.Text = known.kind, known.text
	}
	key := [3]string{target, f.Kind, ownAddress.ReplaceAllString(f.Text, "")}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.first) < maxFailures {
		c.first = append(c.first, f)
	}
	if c.kinds == nil {
		c.kinds = map[string]int64{}
	}
	c.kinds[f.Kind]++
	if c.list == nil {
		c.list = map[[3]string]*Cause{}
	}
	found := c.list[key]
	if found == nil && len(c.list) >= maxCauses {
		key = [3]string{"", "other", "causes beyond the first " + digits(maxCauses)}
		found = c.list[key]
	}
	if found == nil {
		found = &Cause{Target: key[0], Kind: key[1], Text: key[2], First: at}
		c.list[key] = found
	}
	found.Count++
	found.Last = at
}

// all returns the causes, the most frequent first.
func (c *causes) all() []Cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []Cause{}
	for _, f := range c.list {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// byKind returns how many requests failed by kind, and the first ones that did.
func (c *causes) byKind() (map[string]int64, []Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.kinds), slices.Clone(c.first)
}

// versions counts successful requests by the model version that answered.
type versions struct {
	mu sync.Mutex
	of map[string]int64
}

const maxVersions = 100 // counted apart; servers have no reason to name more

func (v *versions) add(version string, n int64) {
	if n == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[string]int64{}
	}
	if _, known := v.of[version]; !known && len(v.of) >= maxVersions {
		version = "other"
	}
	v.of[version] += n
}

// all returns the counts of the users and workers that have ended, or seen another version.
func (v *versions) all() map[string]int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		return map[string]int64{}
	}
	return maps.Clone(v.of)
}
