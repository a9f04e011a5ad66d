package dataset

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func (c *checker) source(s *Spec) {
	if s.Source.SHA256 != "" && !digest.MatchString(s.Source.SHA256) {
		c.bad(at("source", "sha256"), "sha256 must be 64 small hex digits")
	}
	if d := s.Source.Decimal; d != "" && d != "." && d != "," {
		c.bad(at("source", "decimal"), "decimal is %q; it can be \".\" or \",\"", d)
	}
	if t := s.Source.Thousands; t != "" && (utf8.RuneCountInString(t) != 1 || strings.ContainsAny(t, "0123456789+-eE") || t == s.Source.Decimal || t == "." && s.Source.Decimal == "") {
		c.bad(at("source", "thousands"), "thousands is %q; it has to be one character, another than decimal's", t)
	}
	if _, ok := separators[s.Source.Separator]; !ok {
		c.bad(at("source", "separator"), "separator is %q; it can be \",\", \";\", \"|\" or tab", s.Source.Separator)
	}
	if _, ok := Encoding(s.Source.Encoding); !ok {
		c.bad(at("source", "encoding"), "encoding %q is not known; it can be: %s%s", s.Source.Encoding, strings.Join(Encodings(), ", "), meant(s.Source.Encoding, slices.Collect(maps.Keys(encodings))))
	}
	for _, bound := range []struct {
		key string
		n   int
	}{{"max_lines", s.Source.MaxLines}, {"max_ratio", s.Source.MaxRatio}} {
		if bound.n < 0 {
			c.bad(at("source", bound.key), "%s is %d; it has to be at least 1", bound.key, bound.n)
		}
	}
	if n := s.Source.Skip; n < 0 || n > maxSkip {
		c.bad(at("source", "skip"), "skip is %d; it can be 0 to %d lines before the header", n, maxSkip)
	}
	if h := s.Source.Header; h != "" && h != NoHeader {
		c.bad(at("source", "header"), "header is %q; it can be none, for a table whose first line is a record", h)
	}
	if s.Source.Header == NoHeader && (s.Source.Ignore.All || len(s.Source.Ignore.Names) > 0) {
		c.bad(at("source", "ignore"), "without a header no column can be ignored: list all of the table's, in its order; a feature names those that are used")
	}
	for i, name := range s.Source.Ignore.Names {
		for j := range s.Columns {
			if s.Columns[j].Header() == name {
				c.bad(at("source", "ignore", i), "column %q is listed under columns: it can't be ignored too", name)
			}
		}
	}
}

// trimAll takes the blanks around texts away, as a field's blanks go.
func trimAll(texts []string) {
	for i, t := range texts {
		texts[i] = strings.TrimSpace(t)
	}
}

func (c *checker) columns(s *Spec) {
	s.columns = make(map[string]int, len(s.Columns))
	if len(s.Columns) == 0 {
		c.bad(at("columns"), "columns is empty")
	}
	if len(s.Columns) > 1000 {
		c.bad(at("columns"), "%d columns, more than 1000", len(s.Columns))
	}
	headers := map[string]string{}
	for i := range s.Columns {
		col := &s.Columns[i]
		here := at("columns", i)
		if !c.isName(col.Name) {
			c.bad(append(slices.Clone(here), "name"), "column name %q: at most 63 letters, digits, spaces, _, . and -, a letter first; the table may call it otherwise: {name: %s, from: %q}", col.Name, PlainName(col.Name), col.Name)
		}
		if _, twice := s.columns[col.Name]; twice {
			c.bad(here, "column %q is there twice", col.Name)
		}
		s.columns[col.Name] = i
		if col.From != nil {
			*col.From = strings.TrimSpace(*col.From)
		}
		if other, twice := headers[col.Header()]; twice && other != col.Name {
			c.bad(here, "columns %q and %q are both read from %q", other, col.Name, col.Header())
		}
		headers[col.Header()] = col.Name
		col.member = `"` + col.Name + `":` // no name needs an escape
		c.columnType(s, here, col)
		if col.Label == "" {
			col.Label = col.Name
			if col.From != nil && *col.From != "" {
				col.Label = *col.From
			}
		}
	}
	for i := range s.Columns {
		if !s.Columns[i].Required {
			continue
		}
		if s.Ignored(i) {
			c.bad(at("columns", i), "column %q can't be required: as the key, the group or the target it is not looked at in a record to predict", s.Columns[i].Name)
		}
		s.required = append(s.required, i)
	}
	if s.Key != "" {
		c.column(s, at("key"), s.Key)
	}
	if s.Group != "" {
		c.column(s, at("group"), s.Group)
	}
	for _, is := range []struct{ what, name string }{{"key", s.Key}, {"group", s.Group}} {
		if is.name != "" && is.name == s.Target.Column {
			c.bad(at(is.what), "column %q is the target: it can't be the %s too", is.name, is.what)
		}
	}
}

// columnType checks what depends on the column's type, and takes in its markers.
func (c *checker) columnType(s *Spec, here []any, col *Column) {
	if !slices.Contains(Types, col.Type) {
		c.bad(append(slices.Clone(here), "type"), "column %q has type %q; it can be: %s%s", col.Name, col.Type, typeNames(), meantType(string(col.Type)))
		col.markers = slices.Concat(s.Missing, col.Missing)
		return // what else is wrong depends on it
	}
	numeric := col.Type == Integer || col.Type == Number
	switch {
	case numeric || col.Min == nil && col.Max == nil:
	case col.Type == Date:
		c.bad(here, "column %q is a date: min and max are for numbers, earliest and latest for dates", col.Name)
	default:
		c.bad(here, "column %q is a %s: min and max are for numbers", col.Name, col.Type)
	}
	if col.Type != Category && (len(col.Values) > 0 || len(col.Codes) > 0 || len(col.Names) > 0) {
		c.bad(here, "column %q is a %s: values, codes and names are for categories", col.Name, col.Type)
	}
	for i, r := range col.Names {
		c.rangeEntry(append(slices.Clone(here), "names", i), r)
	}
	if len(col.Values) > 0 && len(col.Codes) > 0 {
		c.bad(here, "column %q has both values and codes", col.Name)
	}
	if col.Min != nil && col.Max != nil && *col.Min > *col.Max && c.sound(here, "min", "max") {
		c.bad(here, "column %q: min %g is above max %g", col.Name, *col.Min, *col.Max)
	}
	switch col.Unit = strings.TrimSpace(col.Unit); {
	case col.Unit == "":
	case !numeric:
		c.bad(here, "column %q is a %s: a unit is for numbers", col.Name, col.Type)
	case len(col.Unit) > 16 || strings.ContainsAny(col.Unit, "0123456789.,+-") || strings.EqualFold(col.Unit, "e"):
		c.bad(here, "column %q has the unit %q: at most 16 bytes without digits, signs, points and commas", col.Name, col.Unit)
	}
	if col.Type != Date && (col.Format != "" || col.Earliest != "" || col.Latest != "") {
		c.bad(here, "column %q is a %s: format, earliest and latest are for dates", col.Name, col.Type)
		return
	}
	if col.Format != "" {
		var err error
		if col.layout, err = newLayout(col.Format); err != nil {
			c.bad(here, "column %q: %v", col.Name, err)
		}
	}
	trimAll(col.Missing)
	col.markers = slices.Concat(s.Missing, col.Missing)
	for _, m := range col.markers {
		if x, ok := ParseNumber([]byte(m)); ok && (numeric || col.Type == Boolean) {
			col.missing = append(col.missing, x)
		}
		if t, ok := col.scanDate([]byte(m)); ok && col.Type == Date {
			col.missingDates = append(col.missingDates, string(AppendDate(nil, t)))
		}
		if col.Type == Boolean && scanBoolean([]byte(m)) != nil && slices.Contains(col.Missing, m) {
			c.bad(here, "column %q: %q is a boolean, so it can't mark a missing value too", col.Name, m)
		}
	}
	for _, bound := range []*string{&col.Earliest, &col.Latest} {
		if *bound == "" {
			continue
		}
		t, ok := col.scanDate([]byte(*bound))
		if !ok {
			c.bad(here, "column %q: %q is not a date; write it as 2024-01-31", col.Name, *bound)
			continue
		}
		*bound = string(AppendDate(nil, t))
	}
	if col.Earliest != "" && col.Latest != "" && col.Earliest > col.Latest {
		c.bad(here, "column %q: earliest %s is after latest %s", col.Name, col.Earliest, col.Latest)
	}
}

func typeNames() string {
	names := make([]string, len(Types))
	for i, t := range Types {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

// PlainName makes a name that a column may have of any other.
func PlainName(name string) string {
	if columnName.MatchString(name) {
		return name
	}
	name = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss").Replace(strings.ToLower(norm.NFC.String(name)))
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1 // é is e
		}
		return r
	}, norm.NFD.String(name))
	words := strings.FieldsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	plain := strings.Join(words, "_")
	if plain == "" || plain[0] < 'a' {
		plain = strings.TrimSuffix("column_"+plain, "_")
	}
	return plain[:min(len(plain), 63)]
}
