package progress

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Count writes a number with commas between its thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Counted is a number of things in words: "1 row", "2,000 rows".
func Counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// Columns lists the names of columns, the first three of more than four.
func Columns(names []string) string {
	if n := len(names); n > 4 {
		return fmt.Sprintf("%s and %d more columns", strings.Join(names[:3], ", "), n-3)
	}
	return strings.Join(names, ", ")
}

// Figure is a model's figure as people read it: four decimals, fewer of a large one, and four
// digits of one so small that its decimals would be zeros, such as the RMSE of a target in tons.
func Figure(x float64) string {
	switch size := math.Abs(x); {
	case size >= 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case size < 0.01 && x != 0:
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	return strconv.FormatFloat(x, 'f', 4, 64)
}
