package serve

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"mlops/internal/api"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// signer makes a key and the keys that trust it.
func signer(t *testing.T) (*signature.Signer, signature.Trusted) {
	t.Helper()
	private, public, err := signature.Generate()
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.ReadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := signature.ReadTrusted(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, trusted
}

// putSigned puts a version on the shelf with a signature of its files.
func putSigned(t *testing.T, r *shelf, key *signature.Signer, number string, files map[string][]byte) registry.Version {
	t.Helper()
	v := r.put(t, number, files)
	subject, err := v.Subject(os.DirFS(r.dir + "/" + number))
	if err != nil {
		t.Fatal(err)
	}
	v.Signature = key.Sign(subject)
	r.point(v)
	return v
}

// A version that is not what promotion has signed is refused, and the last good one
// stays, also after a restart and while the registry is away.
func TestFalseModels(t *testing.T) {
	key, trusted := signer(t)
	stranger, _ := signer(t)
	for _, test := range []struct {
		reason string
		attack func(r *shelf)
		want   string
	}{
		{"a file changed in the store", func(r *shelf) {
			v := putSigned(t, r, key, "2", bundle(t, 2))
			r.store(t, "2", bundle(t, 3)) // whole, and gives the scores stored with it
			r.point(v)
		}, "not those that were signed"},
		{"no signature", func(r *shelf) { r.put(t, "2", bundle(t, 2)) }, "not signed"},
		{"another's signature", func(r *shelf) { putSigned(t, r, stranger, "2", bundle(t, 2)) }, "not trusted"},
		{"the good version's signature", func(r *shelf) {
			good := r.now
			v := r.put(t, "2", bundle(t, 1))
			v.Signature = good.Signature
			r.point(v)
		}, "not those that were signed"},
	} {
		r, cache := newShelf(t), t.TempDir()
		putSigned(t, r, key, "1", bundle(t, 1))
		start := func() *Server {
			s := newServer(t, r, cache)
			s.options.Trusted = trusted
			return s
		}
		s := start()
		poll(t, s)
		check := func(s *Server, when string) {
			t.Helper()
			d := describedAs(t, s)
			if d.Model.Number != "1" || d.Refused == nil || d.Refused.Version != "2" || !strings.Contains(d.Refused.Reason, test.want) {
				t.Errorf("%s, %s: serves %s, refused %+v, want version 1 and %q in the reason", test.reason, when, d.Model.Number, d.Refused, test.want)
			}
			if got := metric(t, s, "mlops_model_refusals_total"); got != "1" {
				t.Errorf("%s, %s: %s refused, want 1", test.reason, when, got)
			}
		}
		test.attack(r)
		poll(t, s)
		check(s, "at once")
		again := start()
		poll(t, again)
		check(again, "after a restart")
		r.goAway(errors.New("away"))
		alone := start()
		watch(t, alone)
		eventually(t, "the last good version", func() bool { return ask(alone, http.MethodPost, "/predict", "{}").Code == 200 })
	}
}

// The local copy is checked too: whoever can write there can't have it served.
func TestChangedLocalCopy(t *testing.T) {
	key, trusted := signer(t)
	r, cache := newShelf(t), t.TempDir()
	v := putSigned(t, r, key, "1", bundle(t, 1))
	first := newServer(t, r, cache)
	first.options.Trusted = trusted
	poll(t, first)
	other := bundle(t, 2)
	for _, name := range model.Files {
		if err := os.WriteFile(first.folder(v)+"/"+name, other[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.goAway(errors.New("away"))
	s := newServer(t, r, cache)
	s.options.Trusted = trusted
	watch(t, s)
	eventually(t, "polled", func() bool { asked, _ := r.counts(); return asked >= 3 })
	if s.served.Load() != nil {
		t.Error("the changed copy is served")
	}
	r.goAway(nil)
	eventually(t, "fetched again", func() bool { return s.served.Load() != nil })
}

// A new signature of the same version counts at once: the key was rotated, or
// promotion has signed what was in production before.
func TestSignedLater(t *testing.T) {
	key, trusted := signer(t)
	r := newShelf(t)
	v := r.put(t, "1", bundle(t, 1))
	s := newServer(t, r, t.TempDir())
	s.options.Trusted = trusted
	poll(t, s)
	if s.served.Load() != nil {
		t.Fatal("an unsigned version is served")
	}
	subject, err := v.Subject(os.DirFS(r.dir + "/1"))
	if err != nil {
		t.Fatal(err)
	}
	v.Signature = key.Sign(subject)
	r.point(v)
	poll(t, s)
	if s.served.Load() == nil {
		t.Error("it is not served once it is signed")
	}
}

// A version that doesn't fit into the memory there is does not kill the server.
func TestVersionTooLarge(t *testing.T) {
	s, r := serving(t, 1)
	s.options.Memory = taken() + 64<<20
	big := bundle(t, 2)
	big["MLmodel"] = make([]byte, 20<<20)
	r.put(t, "2", big)
	poll(t, s)
	d := describedAs(t, s)
	if d.Model.Number != "1" || d.Refused == nil || !strings.Contains(d.Refused.Reason, "too large") || !strings.Contains(d.Refused.Reason, "memory limit") {
		t.Errorf("serves %s, refused %+v", d.Model.Number, d.Refused)
	}
	r.put(t, "3", bundle(t, 3))
	poll(t, s)
	if got := describedAs(t, s).Model.Number; got != "3" {
		t.Errorf("a version that fits: %s is served", got)
	}
}

// A process that died over a version goes on with the one before after its restart,
// for good; without one before it tries again.
func TestDiedOverAVersion(t *testing.T) {
	r, cache := newShelf(t), t.TempDir()
	r.put(t, "1", bundle(t, 1))
	poll(t, newServer(t, r, cache))
	v := r.put(t, "2", bundle(t, 2))
	dying := newServer(t, r, cache)
	dying.attempt(v) // and no more is heard of it

	for restart := range 3 {
		s := newServer(t, r, cache)
		s.autopsy()
		poll(t, s)
		d := describedAs(t, s)
		if d.Model.Number != "1" || d.Refused == nil || !strings.Contains(d.Refused.Reason, "died") {
			t.Errorf("restart %d: serves %s, refused %+v", restart, d.Model.Number, d.Refused)
		}
		long := *s.refused.Load()
		long.checked = long.checked.Add(-recheckEvery)
		s.refused.Store(&long)
		poll(t, s)
		if got := describedAs(t, s).Model.Number; got != "1" {
			t.Errorf("restart %d, a minute later: version %s is served", restart, got)
		}
	}
	r.put(t, "3", bundle(t, 3))
	s := newServer(t, r, cache)
	s.autopsy()
	poll(t, s)
	if got := describedAs(t, s).Model.Number; got != "3" {
		t.Errorf("another version: %s is served", got)
	}

	alone, empty := newShelf(t), t.TempDir()
	v = alone.put(t, "1", bundle(t, 1))
	newServer(t, alone, empty).attempt(v)
	s = newServer(t, alone, empty)
	s.autopsy()
	poll(t, s)
	if s.served.Load() == nil {
		t.Error("the only version is not tried again")
	}
}

// The list of versions that a process died of is bounded.
func TestDiedIsBounded(t *testing.T) {
	r := newShelf(t)
	s := newServer(t, r, t.TempDir())
	for i := range maxDied + 20 {
		s.attempt(registry.Version{Name: "tiny", Number: i})
		s.autopsy()
	}
	var all []api.Version
	if !readJSON(s.died(), &all) || len(all) != maxDied || all[maxDied-1].Number != strconv.Itoa(maxDied+19) {
		t.Errorf("%d versions are noted, the last %v", len(all), all[len(all)-1])
	}
}
