package dataset

import (
	"strings"
	"testing"
)

// A table to be scored may spell numbers as the data set's tables do or with a decimal
// point. What could be either is never guessed.
func TestPlain(t *testing.T) {
	t.Parallel()
	spec := func(source string) *Spec {
		s, err := Parse([]byte(strings.Replace(united, `source: {decimal: ",", thousands: "."}`, source, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	german, comma, american := spec(`source: {decimal: ",", thousands: "."}`), spec(`source: {decimal: ","}`), spec(`source: {thousands: ","}`)
	price := german.Column("price")
	if price < 0 || german.Columns[price].Type != Number {
		t.Fatal("the spec has no number price")
	}
	tests := []struct {
		spec  *Spec
		field string
		as    Spelling
		want  string // "refused": neither reading is chosen
	}{
		{german, "8,5", EitherSpelling, "8.5"},
		{german, "8.5", EitherSpelling, "8.5"},
		{german, "1.461,94", EitherSpelling, "1461.94"},
		{german, "1461.94", EitherSpelling, "1461.94"},
		{german, "12", EitherSpelling, "12"},
		{german, "1.234", EitherSpelling, "refused"},
		{german, "1.234", TableSpelling, "1234"},
		{german, "1.234", PointSpelling, "1.234"},
		{german, "8.5", TableSpelling, "refused"},
		{german, "none", EitherSpelling, "none"}, // Value refuses it
		{german, "", EitherSpelling, ""},
		{comma, "8,5", EitherSpelling, "8.5"},
		{comma, "1.234", EitherSpelling, "1.234"},
		{american, "1,234.5", EitherSpelling, "1234.5"},
		{american, "1234.5", EitherSpelling, "1234.5"},
		{american, "1,234", EitherSpelling, "1234"},
	}
	for _, test := range tests {
		got, err := test.spec.Plain(price, []byte(test.field), test.as)
		text := string(got)
		if err != nil {
			text = "refused"
		}
		if text != test.want {
			t.Errorf("%+v: %q as %d is %q (%v), want %q", test.spec.Source, test.field, test.as, text, err, test.want)
		}
	}
}
