package dataset

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// Value cleans one field of a column, alike for a line of the table and for a
// record to predict: spaces around it go, and nil comes back where it stands
// for a missing value. The error says what is wrong with the value, not which
// column it stands in. The result is part of field.
func (s *Spec) Value(column int, field []byte) ([]byte, error) {
	field = bytes.TrimSpace(field)
	if len(field) == 0 {
		return nil, nil
	}
	for _, m := range s.Missing {
		if string(field) == m {
			return nil, nil
		}
	}
	c := &s.Columns[column]
	if c.Type == Category {
		return field, nil
	}
	x, err := c.parse(field)
	if err != nil {
		return nil, err
	}
	if c.Min != nil && x < *c.Min {
		return nil, fmt.Errorf("%s is below %g", clip(field), *c.Min)
	}
	if c.Max != nil && x > *c.Max {
		return nil, fmt.Errorf("%s is above %g", clip(field), *c.Max)
	}
	return field, nil
}

func (c *Column) parse(field []byte) (float64, error) {
	if c.Type == Integer {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s is not an integer", clip(field))
		}
		return float64(n), nil
	}
	x, ok := ParseNumber(field)
	if !ok {
		return 0, fmt.Errorf("%s is not a number", clip(field))
	}
	return x, nil
}

// ParseNumber reads a finite decimal number: digits, a sign, a point and an
// exponent, but none of Go's other forms (hexadecimal, "inf", "nan", "1_000").
func ParseNumber(field []byte) (float64, bool) {
	for _, b := range field {
		if (b < '0' || b > '9') && b != '.' && b != '-' && b != '+' && b != 'e' && b != 'E' {
			return 0, false
		}
	}
	x, err := strconv.ParseFloat(string(field), 64)
	return x, err == nil && !math.IsInf(x, 0)
}

// clip quotes a value for an error message and keeps it short.
func clip(field []byte) string {
	const most = 60
	if len(field) > most {
		return fmt.Sprintf("%.*q...", most, field)
	}
	return fmt.Sprintf("%q", field)
}
