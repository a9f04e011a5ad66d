package apikey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func made(t testing.TB, name string, rate Rate, scopes ...Scope) (string, Key) {
	t.Helper()
	text, k, err := New(name, scopes, rate)
	if err != nil {
		t.Fatal(err)
	}
	return text, k
}

func TestNew(t *testing.T) {
	t.Parallel()
	text, k := made(t, "partner-a", Rate{100, time.Second}, Predict, Read)
	if id, ok := split(text); !ok || id != k.ID || len(text) != keySize {
		t.Errorf("%d characters, id %q of key %s", len(text), id, k.ID)
	}
	if strings.Contains(k.String(), text[len(prefix)+idSize+1:]) {
		t.Errorf("the line %q holds the secret", k)
	}
	again, err := Parse("# keys\n\n" + k.String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Key{k}, again); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	other, k2 := made(t, "partner-a", Rate{}, Predict)
	if other == text || k2.ID == k.ID || !strings.Contains(k2.String(), " predict - sha256:") {
		t.Errorf("a second key: %s", k2)
	}
	for _, name := range []string{"", "a b", text, "-", strings.Repeat("a", 65)} {
		_, _, err := New(name, Scopes, Rate{})
		if err == nil || len(name) > 20 && strings.Contains(err.Error(), text) {
			t.Errorf("the name %q: error %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	hash := "sha256:" + strings.Repeat("0a", 32)
	for _, test := range []struct{ text, want string }{
		{"0011aabb predict 1/s " + hash, "line 1: 4 fields, want 5"},
		{"\n0011aabb predict 1/s " + hash + " a b", "line 2: 6 fields, want 5"},
		{"0011AABB predict 1/s " + hash + " a", "lower-case hexadecimal"},
		{"0011aab predict 1/s " + hash + " a", "lower-case hexadecimal"},
		{"0011aabb write 1/s " + hash + " a", `scope "write" is unknown`},
		{"0011aabb predict, 1/s " + hash + " a", `scope "" is unknown`},
		{"0011aabb predict 0/s " + hash + " a", `rate "0/s"`},
		{"0011aabb predict 1/d " + hash + " a", `rate "1/d"`},
		{"0011aabb predict 5 " + hash + " a", `rate "5"`},
		{"0011aabb predict 1/s " + hash[:60] + " a", "64 hexadecimal digits"},
		{"0011aabb predict 1/s md5:" + hash[7:] + " a", "64 hexadecimal digits"},
		{"0011aabb predict 1/s " + hash + " /", `name "/"`},
		{"0011aabb predict 1/s " + hash + " a\n0011aabb read - " + hash + " b", "line 2: there is another key 0011aabb"},
	} {
		if _, err := Parse(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %q", test.text, err, test.want)
		}
	}
	var many strings.Builder
	for range maxKeys + 1 {
		_, k := made(t, "a", Rate{}, Read)
		many.WriteString(k.String() + "\n")
	}
	if _, err := Parse(many.String()); err == nil || !strings.Contains(err.Error(), "maximum of 1000") {
		t.Errorf("%d keys: %v", maxKeys+1, err)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	text, a := made(t, "a", Rate{}, Read)
	_, b := made(t, "b", Rate{}, Read)
	_, b2 := made(t, "b", Rate{}, Predict)
	file := "# ours" // without a line end
	var err error
	for _, k := range []Key{a, b, b2} {
		if file, err = Add(file, k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Add(file, a); err == nil {
		t.Error("a key is added twice")
	}
	for _, test := range []struct{ what, want string }{
		{"b", "2 keys are named b"}, {"c", `no key "c"`}, {text, "and not by the key itself"},
	} {
		if _, _, err := Revoke(file, test.what); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), text) {
			t.Errorf("revoking %s: error %v, want %q", test.what, err, test.want)
		}
	}
	for _, what := range []string{b2.ID, "a"} {
		if file, _, err = Revoke(file, what); err != nil {
			t.Fatal(err)
		}
	}
	if want := "# ours\n" + b.String() + "\n"; file != want {
		t.Errorf("left %q, want %q", file, want)
	}
}

// A folder holds files, as Secrets are mounted: names that begin with a dot are links.
func TestReadFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, a := made(t, "a", Rate{}, Read)
	_, b := made(t, "b", Rate{}, Read)
	for name, text := range map[string]string{"one": a.String(), "two": b.String(), "..data": "not a line"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := Parse(text)
	if diff := cmp.Diff([]Key{a, b}, keys); err != nil || diff != "" {
		t.Errorf("%v; keys (-want +got):\n%s", err, diff)
	}
	file := filepath.Join(t.TempDir(), "three")
	_, c := made(t, "c", Rate{}, Read)
	os.WriteFile(file, []byte(c.String()), 0o600)
	text, err = read(file + string(filepath.ListSeparator) + dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err = Parse(text)
	if diff := cmp.Diff([]Key{c, a, b}, keys); err != nil || diff != "" {
		t.Errorf("a file and a folder: %v; keys (-want +got):\n%s", err, diff)
	}
	os.WriteFile(filepath.Join(dir, "two"), []byte("\n0011"), 0o600)
	if _, err := read(dir); err == nil || !strings.Contains(err.Error(), "two: line 2: ") {
		t.Errorf("a wrong line in the second file: %v", err)
	}
}

// At most a rate's requests pass at once, and as many in each period after that.
func TestLimiter(t *testing.T) {
	t.Parallel()
	for _, r := range []Rate{{1, time.Second}, {100, time.Second}, {7, time.Minute}, {1000, time.Hour}, {1_000_000, time.Second}} {
		l := newLimiter(r)
		now := int64(5 * time.Hour)
		burst := 0
		var wait time.Duration
		for wait == 0 {
			if wait = l.take(now); wait == 0 {
				burst++
			}
		}
		if burst != r.Requests {
			t.Errorf("%s: %d requests at once", r, burst)
		}
		if l.take(now+int64(wait)-1) == 0 || l.take(now+int64(wait)) != 0 {
			t.Errorf("%s: the wait of %v is not exact", r, wait)
		}
		passed, from := 0, now+int64(wait)+1
		for i := range int64(3 * r.Requests) {
			if l.take(from+i*int64(r.Period)/int64(r.Requests)) == 0 {
				passed++
			}
		}
		if passed < 3*r.Requests-1 {
			t.Errorf("%s: %d of %d evenly spaced requests passed", r, passed, 3*r.Requests)
		}
	}
}
