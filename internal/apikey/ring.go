package apikey

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mlops/internal/metrics"
)

// every is how often the file is read again.
const every = 2 * time.Second

// Ring is the keys that a server accepts: those of a file, which is read again when it
// changes.
type Ring struct {
	path    string
	metrics *metrics.Keys
	start   time.Time
	text    string // of the file, as it was accepted
	held    atomic.Pointer[map[string]*held]
}

// held is a key of the ring.
type held struct {
	Key
	limiter  *limiter
	admitted prometheus.Counter
	seen     atomic.Pointer[[keySize]byte] // the key itself, once its hash was right
}

// Open reads the keys of a file or of all files of a folder, or of several, separated as
// in PATH.
func Open(path string, m *metrics.Keys) (*Ring, error) {
	r := &Ring{path: path, metrics: m, start: time.Now()}
	r.held.Store(&map[string]*held{})
	_, err := r.load()
	return r, err
}

// Len is how many keys there are.
func (r *Ring) Len() int { return len(*r.held.Load()) }

// load reads the file and reports whether the keys have changed. If it fails, those
// that are known stay.
func (r *Ring) load() (changed bool, err error) {
	text, err := read(r.path)
	if err != nil {
		return false, fmt.Errorf("reading API keys: %w", err)
	}
	if text == r.text {
		return false, nil
	}
	keys, err := Parse(text)
	if err != nil {
		return false, fmt.Errorf("reading API keys: %s: all together: %w", r.path, err)
	}
	before, now := *r.held.Load(), map[string]*held{}
	for _, k := range keys {
		h := &held{Key: k, limiter: newLimiter(k.Rate), admitted: r.metrics.Requests.WithLabelValues(k.ID)}
		if old := before[k.ID]; old != nil && old.Rate == k.Rate {
			h.limiter = old.limiter // what it has used of its rate stays used
		}
		for _, reason := range []Reason{WrongScope, TooFast} { // from 0, or rates miss the first
			r.metrics.Refused.WithLabelValues(string(reason), k.ID)
		}
		now[k.ID] = h
	}
	r.held.Store(&now)
	r.text = text
	for id := range before {
		if now[id] == nil {
			r.metrics.Requests.DeleteLabelValues(id)
			r.metrics.Refused.DeletePartialMatch(prometheus.Labels{"key": id})
		}
	}
	r.metrics.Known.Set(float64(len(now)))
	return true, nil
}

// Watch reads the file again until the context ends. A file that can't be read or has
// a wrong line changes nothing; the log and a metric say so.
func (r *Ring) Watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := r.load()
		switch {
		case err != nil:
			r.metrics.ReloadErrors.Inc()
			if said != err.Error() {
				log.Error("can't read the API keys again: the ones from before stay in force", "path", r.path, "keys", r.Len(), "error", err)
				said = err.Error()
			}
		case changed:
			log.Info("API keys changed", "path", r.path, "keys", r.Len())
			said = ""
		}
	}
}

// Reason is why a request is refused.
type Reason string

// The reasons.
const (
	NoKey      Reason = "missing"
	BadKey     Reason = "malformed"
	UnknownKey Reason = "unknown"
	WrongScope Reason = "scope"
	TooFast    Reason = "rate"
)

// refusal is why a request is refused, and for how long.
type refusal struct {
	Reason Reason
	key    string // its id, if it is known
	wait   time.Duration
}

// check returns the known key with that text, if it may be used for the scope; no other
// side effect than that it has used up one request of its rate.
func (r *Ring) check(text string, want Scope) (*held, *refusal) {
	k := r.again(text)
	if k == nil {
		id, ok := split(text)
		if !ok {
			return nil, &refusal{Reason: BadKey}
		}
		var whole [keySize]byte
		copy(whole[:], text)
		sum := sha256.Sum256(whole[:])
		k = (*r.held.Load())[id]
		if k == nil || subtle.ConstantTimeCompare(sum[:], k.Hash[:]) != 1 {
			return nil, &refusal{Reason: UnknownKey}
		}
		k.seen.Store(&whole)
	}
	if !slices.Contains(k.Scopes, want) {
		return nil, &refusal{Reason: WrongScope, key: k.ID}
	}
	if k.limiter.pace > 0 {
		if wait := k.limiter.take(int64(time.Since(r.start))); wait > 0 {
			return nil, &refusal{Reason: TooFast, key: k.ID, wait: wait}
		}
	}
	return k, nil
}

// again returns the key with that text if it was presented before, which spares its hash.
// A key whose line has changed or gone was not: it is another held, or none.
func (r *Ring) again(text string) *held {
	if len(text) != keySize {
		return nil
	}
	k := (*r.held.Load())[text[len(prefix):len(prefix)+idSize]]
	if k == nil {
		return nil
	}
	seen := k.seen.Load()
	if seen == nil {
		return nil
	}
	var whole [keySize]byte
	copy(whole[:], text)
	if subtle.ConstantTimeCompare(whole[:], seen[:]) != 1 {
		return nil
	}
	return k
}

// presented returns the key that a request's header presents. X-API-Key comes first: a
// proxy may put something of its own into Authorization, such as a token of who has
// logged in. Any other scheme than Bearer there is somebody else's.
func presented(h http.Header) (text string, because Reason) {
	if v := h["X-Api-Key"]; len(v) > 0 {
		if len(v) > 1 {
			return "", BadKey
		}
		return v[0], ""
	}
	switch v := h["Authorization"]; len(v) {
	case 0:
		return "", NoKey
	case 1:
		const bearer = "Bearer "
		if len(v[0]) < len(bearer) || !strings.EqualFold(v[0][:len(bearer)], bearer) {
			return "", NoKey
		}
		return strings.Trim(v[0][len(bearer):], " "), ""
	}
	return "", BadKey
}

// split returns the id of a key's text, if that has the form of a key.
func split(text string) (id string, ok bool) {
	if len(text) != keySize || text[:len(prefix)] != prefix || text[len(prefix)+idSize] != '_' {
		return "", false
	}
	for i := len(prefix); i < len(text); i++ {
		if c := text[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return "", false
		}
	}
	return text[len(prefix) : len(prefix)+idSize], true
}
