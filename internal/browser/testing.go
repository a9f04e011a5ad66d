package browser

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/prepare"
)

// OpenFor opens a tab of a browser that ends with the test. It skips the test where
// there is no browser.
func OpenFor(t testing.TB, width, height int) *Page {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Skip(err)
	}
	b, err := Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	p, err := b.Open(t.Context(), width, height)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// AxeFor returns the script of axe-core for a test, cached in that folder: the demo's,
// if it is empty one for temporary files. python may name an interpreter.
func AxeFor(t testing.TB, python, cache string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("axe-core is downloaded, once")
	}
	cache = filepath.Join(cmp.Or(cache, filepath.Join(os.TempDir(), "mlops-cache")), "axe")
	script, err := Axe(t.Context(), prepare.Pythons(python), cache)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// Do evaluates steps in order, and ends the test at one that fails. One that begins
// with "until " is a condition to wait for.
func (p *Page) Do(t testing.TB, steps ...string) {
	t.Helper()
	for _, step := range steps {
		var err error
		if condition, ok := strings.CutPrefix(step, "until "); ok {
			err = p.Until(t.Context(), condition)
		} else {
			err = p.Eval(t.Context(), step, nil)
		}
		if err != nil {
			t.Fatalf("%v; the browser says %q", err, p.Complaints())
		}
	}
}

// Look finds what axe-core, of that script, finds in the page, and whether it scrolls
// sideways. It writes a picture into the folder, unless that is empty.
func (p *Page) Look(t testing.TB, script, pictures, name string) {
	t.Helper()
	found, err := p.Violations(t.Context(), script)
	if err != nil {
		t.Fatal(name, err)
	}
	for _, v := range found {
		t.Errorf("%s: %s", name, v)
	}
	var wide bool
	if err := p.Eval(t.Context(), `document.documentElement.scrollWidth > innerWidth`, &wide); err != nil || wide {
		t.Errorf("%s: it scrolls sideways (%v)", name, err)
	}
	p.Picture(t, pictures, name, true)
}

// Picture writes a picture of the page into a folder, unless that is empty.
func (p *Page) Picture(t testing.TB, dir, name string, whole bool) {
	t.Helper()
	if dir == "" {
		return
	}
	picture, err := p.Screenshot(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
