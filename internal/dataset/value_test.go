package dataset

import (
	"strings"
	"testing"
)

func TestValue(t *testing.T) {
	s, err := Parse([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason, column, field, want, wantErr string
	}{
		{"integer", "id", "41", "41", ""},
		{"spaces go", "id", " 41\t", "41", ""},
		{"empty is missing", "id", "", "", ""},
		{"blank is missing", "kind", "  ", "", ""},
		{"marker is missing", "size", "?", "", ""},
		{"number", "size", "1.5e3", "1500", ""},
		{"category is taken as it is", "kind", "anything", "anything", ""},
		{"NaN is no number", "size", "nan", "", "not a number"},
		{"infinity is no number", "size", "inf", "", "not a number"},
		{"hexadecimal is no number", "size", "0x10", "", "not a number"},
		{"too large for a float64", "size", "1e999", "", "not a number"},
		{"below min", "size", "-1", "", "below 0"},
		{"fraction in an integer column", "id", "1.5", "", "not an integer"},
		{"too large for an int64", "id", "9223372036854775808", "", "too large for an integer"},
		{"long text is cut", "id", strings.Repeat("x", 1000), "", `..."`[:3]},
	}
	for _, test := range tests {
		got, err := s.Value(s.Column(test.column), []byte(test.field))
		if test.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), test.wantErr) || len(err.Error()) > 200 {
				t.Errorf("%s: error %v, want %q in it", test.reason, err, test.wantErr)
			}
			continue
		}
		if err != nil || string(got) != test.want || (test.want == "") != (got == nil) {
			t.Errorf("%s: got %q, %v, want %q", test.reason, got, err, test.want)
		}
	}
}
