package dataset

import (
	"cmp"
	"slices"
)

// Ascending sorts values as numbers if all of them are numbers, else as text.
func Ascending(values []string) {
	numbers := make(map[string]float64, len(values))
	for _, v := range values {
		x, ok := ParseNumber([]byte(v))
		if !ok {
			slices.Sort(values)
			return
		}
		numbers[v] = x
	}
	slices.SortFunc(values, func(a, b string) int {
		return cmp.Or(cmp.Compare(numbers[a], numbers[b]), cmp.Compare(a, b))
	})
}
