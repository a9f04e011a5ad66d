package serve

import (
	"fmt"
	"net/http/httptest"
	"os"
	"testing"

	"mlops/internal/browser"
)

// TestDocsInBrowser looks at /docs with axe-core, light and dark, on a telephone's and a
// desk's width, and sends a request from it. With MLOPS_TEST_PICTURES set to a folder,
// pictures go there.
func TestDocsInBrowser(t *testing.T) {
	tab, axe := browser.OpenFor(t, 1280, 900), browser.AxeFor(t, os.Getenv("PYTHON"), os.Getenv("MLOPS_CACHE_HOME"))
	r := newShelf(t)
	r.put(t, "1", bundle(t, 1))
	s := newServer(t, r, t.TempDir())
	poll(t, s)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	for _, scheme := range []string{"light", "dark"} {
		if err := tab.Media(t.Context(), map[string]string{"prefers-color-scheme": scheme}); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{390, 1280} {
			name := fmt.Sprintf("docs-%d-%s", width, scheme)
			if err := tab.Resize(t.Context(), width, 900); err != nil {
				t.Fatal(err)
			}
			if err := tab.Go(t.Context(), server.URL+"/docs"); err != nil {
				t.Fatal(err)
			}
			tab.Do(t, `document.querySelectorAll('details').forEach((d) => { d.open = true; })`, `document.querySelector('form button').click()`,
				`until document.querySelector('[role=status]').textContent.startsWith('200')`)
			found, err := tab.Violations(t.Context(), axe)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range found {
				t.Errorf("%s: %s", name, v)
			}
			var wide bool
			if err := tab.Eval(t.Context(), `document.documentElement.scrollWidth > innerWidth`, &wide); err != nil || wide {
				t.Errorf("%s: it scrolls sideways (%v)", name, err)
			}
			tab.Picture(t, os.Getenv("MLOPS_TEST_PICTURES"), name, false)
		}
	}
	for _, complaint := range tab.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
}
