package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBroken(t *testing.T) {
	root := t.TempDir()
	page := "# A page\n## What is in it, and `why`\n## Twice\n## Twice\n```\n# no heading\n```\n"
	if err := os.MkdirAll(filepath.Join(root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"README.md": "# Top\n", "docs/page.md": page} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, want := range map[string]string{
		"page.md":                        "",
		"../README.md#top":               "",
		"#what-is-in-it-and-why":         "",
		"page.md#twice-1":                "",
		"../docs":                        "",
		"other.md":                       "there is no such file",
		"#twice-2":                       "there is no such heading",
		"../README.md#no-heading":        "there is no such heading",
		"page.md#what-is-in-it-and-why-": "there is no such heading",
	} {
		if got := broken(root, "docs/page.md", link); got != want {
			t.Errorf("%s: %q, want %q", link, got, want)
		}
	}
	got := links("[a](b.md) ![c](d.png) [e](https://f) `x`\n```\n[g](h.md)\n```\n")
	if len(got) != 2 || got[0] != "b.md" || got[1] != "d.png" {
		t.Errorf("links %q, want b.md and d.png", got)
	}
}
