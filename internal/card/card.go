// Package card is a version's model card: what a model is of, how good it is and where
// it is not, after Mitchell et al. 2019, "Model cards for model reporting". Training
// writes it once as blocks; whoever shows it renders these.
package card

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"mlops/internal/headers"
)

// Card is a model card, and the body of GET /model/card in JSON.
type Card struct {
	Title  string  `json:"title"`
	Blocks []Block `json:"blocks"`
}

// Block is a part of a card: a heading, then paragraphs, items and a table.
type Block struct {
	Heading string     `json:"heading"`
	Texts   []string   `json:"texts,omitempty"`
	Items   []string   `json:"items,omitempty"`
	Head    []string   `json:"head,omitempty"` // of the table; empty: there is none
	Rows    [][]string `json:"rows,omitempty"`
}

// Read reads a card in JSON.
func Read(text []byte) (Card, error) {
	var c Card
	if err := json.Unmarshal(text, &c); err != nil {
		return Card{}, fmt.Errorf("reading the model card: %w", err)
	}
	return c, nil
}

// JSON returns what Read reads.
func (c Card) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing the model card: %w", err)
	}
	return append(text, '\n'), nil
}

// Markdown renders the card.
func (c Card) Markdown() []byte {
	var b bytes.Buffer
	clean := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", `\`, `\\`, "[", `\[`) // no element, link or picture comes of a text
	fmt.Fprintf(&b, "# %s\n", clean.Replace(c.Title))
	line := func(cells []string) {
		b.WriteString("|")
		for _, cell := range cells {
			b.WriteString(" " + clean.Replace(cell) + " |")
		}
		b.WriteString("\n")
	}
	for _, p := range c.Blocks {
		fmt.Fprintf(&b, "\n## %s\n", clean.Replace(p.Heading))
		for _, t := range p.Texts {
			fmt.Fprintf(&b, "%s\n\n", clean.Replace(t))
		}
		for _, i := range p.Items {
			fmt.Fprintf(&b, "- %s\n", clean.Replace(i))
		}
		if len(p.Head) > 0 {
			line(p.Head)
			line(slices.Repeat([]string{"---"}, len(p.Head)))
			for _, row := range p.Rows {
				line(row)
			}
		}
	}
	return b.Bytes()
}

//go:embed card.html
var page string

//go:embed card.css
var style string

var pageTemplate = template.Must(template.New("card").Parse(page))

// Policy is a Content-Security-Policy under which HTML's page looks as it should: it may
// use its own style and nothing else.
var Policy = headers.API + "; style-src " + headers.Digest(style)

// HTML renders the card as one page that loads nothing.
func (c Card) HTML() ([]byte, error) {
	var b bytes.Buffer
	view := struct {
		Card
		Style template.CSS
	}{c, template.CSS(style)} // #nosec G203 -- our own file
	if err := pageTemplate.Execute(&b, view); err != nil {
		return nil, fmt.Errorf("writing the model card: %w", err)
	}
	return b.Bytes(), nil
}
