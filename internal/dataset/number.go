package dataset

import (
	"bytes"
	"math"
	"strconv"
)

// ParseNumber reads a finite decimal number: digits, a sign, a point and an
// exponent, but none of Go's other forms (hexadecimal, "inf", "nan", "1_000").
func ParseNumber(field []byte) (float64, bool) {
	x, _, ok := scanNumber(field)
	return x, ok
}

// maxExact is how many digits a decimal number may have to be read and written
// without loss: a float64 tells any two of them apart (DBL_DIG in C).
const maxExact = 15

var powersOfTen = [maxExact + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// scanNumber reads a number and reports whether its text is canonical, that is,
// what AppendNumber writes. It may say no of a text that is.
func scanNumber(text []byte) (x float64, canonical, ok bool) {
	start := 0
	if len(text) > 0 && text[0] == '-' {
		start = 1
	}
	var digits uint64
	point := -1
	for i := start; i < len(text); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			digits = digits*10 + uint64(c-'0')
		case c == '.' && point < 0:
			point = i
		default:
			return scanAnyNumber(text)
		}
	}
	n, fraction := len(text)-start, 0
	if point >= 0 {
		n--
		fraction = len(text) - 1 - point
	}
	if n == 0 || n > maxExact {
		return scanAnyNumber(text)
	}
	// Both are exact, so that the quotient is the nearest float64 (Clinger 1990).
	x = float64(digits) / powersOfTen[fraction]
	switch last := text[len(text)-1]; {
	case text[start] == '0' && n-fraction > 1, // 007
		n == fraction,                // .5
		point >= 0 && fraction == 0,  // 5.
		fraction > 0 && last == '0',  // 1.50
		digits == 0 && len(text) > 1, // -0
		digits > 0 && x < 1e-4:       // 0.00001, which is 1e-05
	default:
		canonical = true
	}
	if start > 0 {
		x = -x
	}
	return x, canonical, true
}

func scanAnyNumber(text []byte) (x float64, canonical, ok bool) {
	for _, b := range text {
		if (b < '0' || b > '9') && b != '.' && b != '-' && b != '+' && b != 'e' && b != 'E' {
			return 0, false, false
		}
	}
	x, err := strconv.ParseFloat(string(text), 64)
	return x, false, err == nil && !math.IsInf(x, 0)
}

// AppendNumber appends the canonical form of a finite number: the shortest
// digits that read as the same float64, with an exponent only below 0.0001 and
// from 1e15 on. Postgres writes a double precision alike, but for -0.
func AppendNumber(b []byte, x float64) []byte {
	switch size := math.Abs(x); {
	case x == 0:
		return append(b, '0')
	case size >= 1e-4 && size < 1e15:
		return strconv.AppendFloat(b, x, 'f', -1, 64)
	}
	return strconv.AppendFloat(b, x, 'e', -1, 64)
}

// scanInteger reads a whole number in any spelling (39, +39, 39.0, 3.9e1) and
// reports whether its text is canonical: digits, with a minus where it is
// negative and no zero in front.
func scanInteger(text []byte) (n int64, canonical, ok bool) {
	start := 0
	if len(text) > 0 && text[0] == '-' {
		start = 1
	}
	if size := len(text) - start; size > 0 && size <= 18 {
		for _, c := range text[start:] {
			if c < '0' || c > '9' {
				n, ok = scanAnyInteger(text)
				return n, false, ok
			}
			n = n*10 + int64(c-'0')
		}
		canonical = text[start] != '0' || len(text) == 1
		if start > 0 {
			n = -n
		}
		return n, canonical, true
	}
	n, ok = scanAnyInteger(text)
	return n, false, ok
}

func scanAnyInteger(text []byte) (int64, bool) {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, true
	}
	mantissa, exponent := text, 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		e, err := strconv.ParseInt(string(text[i+1:]), 10, 16)
		if err != nil {
			return 0, false
		}
		mantissa, exponent = text[:i], int(e)
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	digits := append(bytes.Clone(whole), fraction...)
	if len(bytes.TrimLeft(digits, "+-")) == 0 {
		return 0, false
	}
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	exponent -= len(fraction)
	for exponent < 0 && len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits, exponent = digits[:len(digits)-1], exponent+1
	}
	if n, err := strconv.ParseInt(string(digits), 10, 64); err == nil && n == 0 {
		return 0, true
	}
	if exponent < 0 || exponent > 18 {
		return 0, false
	}
	for ; exponent > 0; exponent-- {
		digits = append(digits, '0')
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}
