package dataset

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestScanNumber(t *testing.T) {
	tests := []struct {
		text      string
		want      string // canonical form; empty: not a number
		canonical bool   // recognised at once
	}{
		{"0", "0", true}, {"1", "1", true}, {"-1", "-1", true}, {"27.33", "27.33", true}, {"0.5", "0.5", true},
		{"100", "100", true}, {"1000000", "1000000", true}, {"999999999999999", "999999999999999", true},
		{"0.0001", "0.0001", true}, {"-0.25", "-0.25", true}, {"10.05", "10.05", true},
		{"27.330", "27.33", false}, {"1.0", "1", false}, {"01", "1", false}, {"+1", "1", false}, {"1e3", "1000", false},
		{"1E+3", "1000", false}, {".5", "0.5", false}, {"5.", "5", false}, {"-0", "0", false}, {"-0.0", "0", false},
		{"00.5", "0.5", false}, {"0.00001", "1e-05", false}, {"1000000000000000", "1e+15", false},
		{"123456789012345678", "1.2345678901234568e+17", false}, {"1e-400", "0", false}, {"0.10000000000000001", "0.1", false},
		{"", "", false}, {"-", "", false}, {".", "", false}, {"1e400", "", false}, {"1_000", "", false}, {"0x10", "", false},
		{"nan", "", false}, {"inf", "", false}, {"1.2.3", "", false}, {"1-2", "", false}, {"1,461.94", "", false}, {"--1", "", false},
	}
	for _, test := range tests {
		x, canonical, ok := scanNumber([]byte(test.text))
		got := ""
		if ok {
			got = string(AppendNumber(nil, x))
		}
		if got != test.want || ok && canonical != test.canonical {
			t.Errorf("%q: got %q, canonical %v; want %q, %v", test.text, got, canonical, test.want, test.canonical)
		}
	}
}

// TestScanNumberAgreesWithStrconv draws texts of numbers: the value is that of
// strconv, and a text called canonical is what AppendNumber writes.
func TestScanNumberAgreesWithStrconv(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var text string
		switch rng.IntN(4) {
		case 0:
			text = strconv.FormatFloat(math.Float64frombits(rng.Uint64()), 'g', -1, 64)
		case 1:
			text = strconv.FormatFloat(rng.NormFloat64()*math.Pow10(rng.IntN(20)-10), 'f', rng.IntN(12), 64)
		case 2:
			text = strconv.Itoa(rng.IntN(1000)) + "." + strings.Repeat("0", rng.IntN(4)) + strconv.Itoa(rng.IntN(1000))
		case 3:
			text = strconv.FormatInt(rng.Int64N(1<<62)>>rng.IntN(62), 10)
		}
		want, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(want, 0) || math.IsNaN(want) {
			continue
		}
		x, canonical, ok := scanNumber([]byte(text))
		if !ok || x != want {
			t.Fatalf("%s: got %v, %v; want %v", text, x, ok, want)
		}
		if written := string(AppendNumber(nil, x)); canonical && written != text {
			t.Fatalf("%s is called canonical and written as %s", text, written)
		}
	}
}

func TestScanInteger(t *testing.T) {
	tests := []struct{ text, want string }{
		{"39", "39"}, {"39.0", "39"}, {"39.000", "39"}, {"39.", "39"}, {"+39", "39"}, {"-39.0", "-39"}, {"007", "7"},
		{"3.9e1", "39"}, {"390e-1", "39"}, {"1e18", "1000000000000000000"}, {"0", "0"}, {"-0", "0"}, {"0.0", "0"}, {"-0.0", "0"},
		{"0e5", "0"}, {".0", "0"}, {"0.0e99", "0"}, {"9007199254740993.0", "9007199254740993"}, {"9223372036854775807", "9223372036854775807"},
		{"9223372036854775807.00", "9223372036854775807"}, {"-9223372036854775808.0", "-9223372036854775808"},
		{"39.5", ""}, {"1e-1", ""}, {"9223372036854775808", ""}, {"1e19", ""}, {"1e999999", ""}, {"", ""}, {"-", ""}, {".", ""},
		{"e5", ""}, {"1e", ""}, {"1_000", ""}, {"0x10", ""}, {"1.0.0", ""}, {"1.-0", ""}, {"nan", ""}, {"1,000", ""}, {"+-1", ""},
	}
	for _, test := range tests {
		n, canonical, ok := scanInteger([]byte(test.text))
		got := ""
		if ok {
			got = strconv.FormatInt(n, 10)
		}
		if got != test.want || canonical && test.text != got {
			t.Errorf("%q: got %q, canonical %v; want %q", test.text, got, canonical, test.want)
		}
	}
}

func BenchmarkValue(b *testing.B) {
	s, err := Parse([]byte(tiny))
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{"41", "27.33", "27.330", "1e3"} {
		b.Run(text, func(b *testing.B) {
			field, column := []byte(text), s.Column("size")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Value(column, field); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
