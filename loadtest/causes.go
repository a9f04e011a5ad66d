package loadtest

import (
	"cmp"
	"errors"
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
	mu   sync.Mutex
	list map[[3]string]*Cause
}

func (c *causes) add(target string, err error, at time.Time) {
	key := [3]string{target, Broken, err.Error()}
	if f, ok := errors.AsType[*failure](err); ok {
		key[1], key[2] = f.kind, f.text
	}
	key[2] = ownAddress.ReplaceAllString(key[2], "")
	c.mu.Lock()
	defer c.mu.Unlock()
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
