package profile

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text writes the profile as a table for the terminal.
func (p *Profile) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rows", Count(p.Rows))
	if p.Labeled > 0 {
		fmt.Fprintf(&b, ", target %s: %.1f%% are %s", p.Target, 100*float64(p.Positive)/float64(p.Labeled), p.Words[0])
	}
	b.WriteString("\n\n")
	width := 6
	for _, c := range p.Columns {
		width = max(width, min(28, utf8.RuneCountInString(c.Name)))
	}
	fmt.Fprintf(&b, "  %-*s  %-8s  %-7s  %8s  %9s  %5s  %s\n", width, "column", "type", "use", "missing", "distinct", "AUC", "values")
	for _, c := range p.Columns {
		distinct := Count(c.Distinct)
		if c.More {
			distinct = ">" + distinct
		}
		alone := ""
		if !math.IsNaN(c.AUC) && c.Role == "feature" {
			alone = fmt.Sprintf("%.2f", c.AUC)
		}
		missing := ""
		if n := c.Missing + c.Present; c.Missing > 0 {
			missing = fmt.Sprintf("%.1f%%", 100*float64(c.Missing)/float64(n))
		}
		use := c.Role
		if use == "" {
			use = "-"
		}
		fmt.Fprintf(&b, "  %s  %-8s  %-7s  %8s  %9s  %5s  %s\n", pad(cut(c.Name, 28), width), c.Type, use, missing, distinct, alone, c.values())
	}
	for i, warning := range p.Warnings {
		if i == 0 {
			b.WriteString("\n")
		}
		if i == 20 {
			fmt.Fprintf(&b, "  ! and %d more\n", len(p.Warnings)-i)
			break
		}
		fmt.Fprintf(&b, "  ! %s\n", cut(warning, 160))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// values sums up what a column holds, in a few words.
func (c *Column) values() string {
	switch {
	case c.Present == 0:
		return ""
	case c.Numeric:
		return fmt.Sprintf("%s to %s, median %s", show(c.Type, c.Min), show(c.Type, c.Max), show(c.Type, c.Median))
	}
	var words []string
	for _, b := range c.Bars[:min(3, len(c.Bars))] {
		words = append(words, fmt.Sprintf("%s %.0f%%", cut(b.Label, 20), 100*float64(b.Rows)/float64(c.Present)))
	}
	return strings.Join(words, ", ")
}

// pad fills a text up to a width in characters.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// cut shortens a text to at most n characters, in one line.
func cut(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// Count writes a number with commas between its thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
