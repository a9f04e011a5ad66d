package feature

import (
	"math"
	"time"

	"mlops/internal/dataset"
)

// dayOf is the number of a date's day: 1 is 1 January of the year 1.
func dayOf(t time.Time) int {
	const untilEpoch = 719_162 // days from then to 1 January 1970
	seconds := t.Unix()
	days := seconds / 86400
	if seconds%86400 < 0 {
		days--
	}
	return int(days) + untilEpoch + 1
}

// A feature of two dates needs both, and a record's columns come one by one, in
// any order. Until the second one comes, the feature is missing, and its NaN holds
// the first one's day in the low bits, which nothing that takes NaN for missing
// looks at. Days go up to 3,652,059 and there are 22 bits.
const (
	quietNaN = 0x7FC00000
	dayBits  = 1<<22 - 1
)

func holdDay(day int) float32 { return math.Float32frombits(quietNaN | uint32(day)) }

// heldDay returns the day that a missing feature holds, and whether it holds one.
func heldDay(x float32) (int, bool) {
	bits := math.Float32bits(x)
	day := int(bits & dayBits)
	return day, bits&^dayBits == quietNaN && day > 0
}

// setDays adds one of the two dates of a days feature to the vector.
func (o *op) setDays(vector []float32, value []byte) {
	t, ok := dataset.ParseDate(value)
	if !ok {
		return
	}
	day, x := dayOf(t), &vector[o.feature]
	other := o.day
	if other == 0 {
		var held bool
		if other, held = heldDay(*x); !held {
			*x = holdDay(day)
			return
		}
	}
	if o.inverse {
		day, other = other, day
	}
	*x = float32(other - day)
}
