package card

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var example = Card{Title: "Stays & more", Blocks: []Block{
	{Heading: "Data", Texts: []string{"Two | three"}, Items: []string{"a <b>\nc", `![seen](http://x/y) of [0-10) \| d`}},
	{Heading: "Figures", Head: []string{"figure", "test"}, Rows: [][]string{{"auc", "0.7"}}},
}}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	want := `# Stays & more

## Data
Two \| three

- a &lt;b> c
- !\[seen](http://x/y) of \[0-10) \\\| d

## Figures
| figure | test |
| --- | --- |
| auc | 0.7 |
`
	if diff := cmp.Diff(want, string(example.Markdown())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	text, err := example.JSON()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(text)
	if diff := cmp.Diff(example, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := Read([]byte("{")); err == nil {
		t.Error("half a card was read")
	}
}

// The page's style is the one that the policy allows, and nothing is loaded.
func TestPageUnderItsPolicy(t *testing.T) {
	t.Parallel()
	page, err := example.HTML()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<style>")
	style, _, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if hash := base64.StdEncoding.EncodeToString(sum[:]); !found || !strings.Contains(Policy, "'sha256-"+hash+"'") {
		t.Errorf("the policy %s does not allow the style with the hash %s", Policy, hash)
	}
	for _, word := range []string{"src=", "href=", "style=", "<script"} {
		if strings.Contains(string(page), word) {
			t.Errorf("the page has %s", word)
		}
	}
	if !strings.Contains(string(page), "<li>a &lt;b&gt;") {
		t.Errorf("page %s", page)
	}
}
