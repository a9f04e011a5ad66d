package recent

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Line is a series of an answer, with a value per time; NaN where there is none.
type Line struct {
	Labels Labels
	Values []float64
}

// sample is one value at one time.
type sample struct {
	labels Labels
	value  float64
}

// Range evaluates an expression at times, ascending ones.
func (h *History) Range(expr string, times []time.Time) ([]Line, error) {
	n, err := parse(expr)
	if err != nil {
		return nil, fmt.Errorf("expression %s: %w", expr, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	lines, index := []Line{}, map[string]int{}
	for i, at := range times {
		e := evaluation{h, at}
		v, err := e.vector(n)
		if err != nil {
			return nil, fmt.Errorf("expression %s: %w", expr, err)
		}
		for _, s := range v {
			key := s.labels.key()
			j, ok := index[key]
			if !ok {
				j = len(lines)
				index[key] = j
				values := make([]float64, len(times))
				for k := range values {
					values[k] = math.NaN()
				}
				lines = append(lines, Line{s.labels, values})
			}
			lines[j].Values[i] = s.value
		}
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(a.Labels.key(), b.Labels.key()) })
	return lines, nil
}

type evaluation struct {
	h  *History
	at time.Time
}

// stale is how old a sample may be and still be a series' value.
const stale = 30 * time.Second

func (e evaluation) vector(n *node) ([]sample, error) {
	switch n.kind {
	case "number":
		return []sample{{Labels{}, n.value}}, nil
	case "select":
		if n.window > 0 {
			return nil, fmt.Errorf("a range of %s without a function", n.text)
		}
		return e.now(n), nil
	case "call":
		return e.call(n)
	case "aggregate":
		return e.aggregate(n)
	}
	left, err := e.vector(n.args[0])
	if err != nil {
		return nil, err
	}
	right, err := e.vector(n.args[1])
	if err != nil {
		return nil, err
	}
	return binary(n, left, right), nil
}

// each calls see with the series that a selector names.
func (e evaluation) each(n *node, see func(*series)) {
	for _, s := range e.h.byName[n.text] {
		if !slices.ContainsFunc(n.match, func(m matcher) bool { return !m.holds(s.labels) }) {
			see(s)
		}
	}
}

// slots calls see with the slots from a time on up to now, the last first, until it
// says false.
func (e evaluation) slots(from time.Time, see func(slot int) bool) {
	for k := 1; k <= e.h.n; k++ {
		slot := (e.h.next - k + maxSamples) % maxSamples
		if e.h.times[slot].After(e.at) {
			continue
		}
		if e.h.times[slot].Before(from) || !see(slot) {
			return
		}
	}
}

func (e evaluation) now(n *node) []sample {
	var list []sample
	last := -1
	e.slots(e.at.Add(-stale), func(slot int) bool { last = slot; return false })
	if last < 0 {
		return nil
	}
	e.each(n, func(s *series) {
		if v := s.values[last]; !math.IsNaN(v) {
			list = append(list, sample{s.labels, v})
		}
	})
	return list
}

func (e evaluation) call(n *node) ([]sample, error) {
	switch n.text {
	case "time":
		return []sample{{Labels{}, float64(e.at.UnixMilli()) / 1e3}}, nil
	case "vector":
		return e.vector(n.args[0])
	case "histogram_quantile":
		q, err := e.vector(n.args[0])
		if err != nil {
			return nil, err
		}
		buckets, err := e.vector(n.args[1])
		if err != nil || len(q) != 1 {
			return nil, err
		}
		return quantiles(q[0].value, buckets), nil
	}
	if n.text == "ceil" || n.text == "round" {
		v, err := e.vector(n.args[0])
		if err != nil {
			return nil, err
		}
		whole := math.Ceil
		if n.text == "round" {
			whole = func(x float64) float64 { return math.Floor(x + 0.5) }
		}
		list := make([]sample, 0, len(v))
		for _, s := range v {
			list = append(list, sample{s.labels.only([]string{nameLabel}, true), whole(s.value)})
		}
		return list, nil
	}
	slots := e.window(n.args[0].window)
	if len(slots) < 2 {
		return nil, nil
	}
	covered := e.h.times[slots[len(slots)-1]].Sub(e.h.times[slots[0]]).Seconds()
	var list []sample
	e.each(n.args[0], func(s *series) {
		total, changes, before, seen := 0.0, 0.0, math.NaN(), 0
		for i, slot := range slots {
			v := s.values[slot]
			if math.IsNaN(v) {
				continue
			}
			switch seen++; {
			case seen > 1 && v < before: // the server started again
				total += v
			case seen > 1:
				total += v - before
			case i > 0: // was not there one scrape before: a counter begins at 0
				total, seen = v, 2
			}
			if seen > 1 && !math.IsNaN(before) && v != before {
				changes++
			}
			before = v
		}
		value := changes
		switch {
		case seen == 0 || seen == 1 && n.text != "changes":
			return
		case n.text == "rate":
			value = total / covered
		case n.text == "increase":
			value = total
		}
		list = append(list, sample{s.labels.only([]string{nameLabel}, true), value})
	})
	return list, nil
}

// window are the slots that a range looks at, the first one first: from the last scrape back to
// the one that was a window before. So what a counter grew by is a whole number, which
// Prometheus' extrapolation would make a fraction.
func (e evaluation) window(length time.Duration) (slots []int) {
	var from time.Time
	e.slots(time.Time{}, func(slot int) bool {
		if slots == nil {
			if e.at.Sub(e.h.times[slot]) > stale {
				return false
			}
			from = e.h.times[slot].Add(-length - length/30) // scrapes are not quite regular
		}
		if e.h.times[slot].Before(from) {
			return false
		}
		slots = append(slots, slot)
		return true
	})
	slices.Reverse(slots)
	return slots
}

// quantiles are those of histograms by their cumulative buckets, as Prometheus
// estimates them: linearly within a bucket.
func quantiles(q float64, buckets []sample) []sample {
	type bucket struct{ bound, count float64 }
	groups, labels := map[string][]bucket{}, map[string]Labels{}
	for _, s := range buckets {
		bound, err := strconv.ParseFloat(s.labels["le"], 64)
		if err != nil {
			continue
		}
		rest := s.labels.only([]string{"le", nameLabel}, true)
		key := rest.key()
		groups[key], labels[key] = append(groups[key], bucket{bound, s.value}), rest
	}
	var list []sample
	for key, all := range groups {
		slices.SortFunc(all, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
		last := all[len(all)-1]
		value := math.NaN()
		if len(all) > 1 && math.IsInf(last.bound, 1) && last.count > 0 {
			rank := q * last.count
			i := sort.Search(len(all)-1, func(i int) bool { return all[i].count >= rank })
			switch {
			case i == len(all)-1:
				value = all[len(all)-2].bound
			case i == 0 && all[0].bound <= 0:
				value = all[0].bound
			default:
				low, below := 0.0, 0.0
				if i > 0 {
					low, below = all[i-1].bound, all[i-1].count
				}
				value = low + (all[i].bound-low)*(rank-below)/(all[i].count-below)
			}
		}
		list = append(list, sample{labels[key], value})
	}
	return list
}

func (e evaluation) aggregate(n *node) ([]sample, error) {
	v, err := e.vector(n.args[len(n.args)-1])
	if err != nil {
		return nil, err
	}
	if n.text == "topk" {
		k, err := e.vector(n.args[0])
		if err != nil || len(k) != 1 {
			return nil, fmt.Errorf("topk of no number: %v", err)
		}
		slices.SortFunc(v, func(a, b sample) int { return cmp.Compare(b.value, a.value) })
		return v[:min(len(v), int(k[0].value))], nil
	}
	groups := map[string]*sample{}
	for _, s := range v {
		labels := s.labels.only(n.by, false)
		key := labels.key()
		g := groups[key]
		if g == nil {
			first := sample{labels, s.value}
			if n.text == "count" {
				first.value = 1
			}
			groups[key] = &first
			continue
		}
		switch n.text {
		case "sum":
			g.value += s.value
		case "count":
			g.value++
		case "max":
			g.value = max(g.value, s.value)
		case "min":
			g.value = min(g.value, s.value)
		}
	}
	list := make([]sample, 0, len(groups))
	for _, g := range groups {
		list = append(list, *g)
	}
	return list, nil
}

// scalar says that a side is a number, which is combined with each element of the other.
func scalar(n *node) bool {
	switch n.kind {
	case "number":
		return true
	case "call":
		return n.text == "time"
	case "binary":
		return scalar(n.args[0]) && scalar(n.args[1])
	}
	return false
}

func binary(n *node, left, right []sample) []sample {
	key := func(l Labels) string {
		if n.onSet {
			return l.only(n.on, false).key()
		}
		return l.only([]string{nameLabel}, true).key()
	}
	there := map[string]sample{}
	for _, s := range right {
		there[key(s.labels)] = s
	}
	var list []sample
	switch n.text {
	case "or":
		seen := map[string]bool{}
		for _, s := range left {
			seen[key(s.labels)] = true
			list = append(list, s)
		}
		for _, s := range right {
			if !seen[key(s.labels)] {
				list = append(list, s)
			}
		}
		return list
	case "and", "unless":
		for _, s := range left {
			if _, ok := there[key(s.labels)]; ok == (n.text == "and") {
				list = append(list, s)
			}
		}
		return list
	}
	leftScalar, rightScalar := scalar(n.args[0]), scalar(n.args[1])
	combine := func(labels Labels, a, b float64) {
		if v, keep := operate(n.text, a, b); keep {
			list = append(list, sample{labels, v})
		}
	}
	drop := func(l Labels) Labels {
		if slices.Contains(levels[2], n.text) {
			return l
		}
		return l.only([]string{nameLabel}, true)
	}
	switch {
	case rightScalar && len(right) == 1:
		for _, s := range left {
			combine(drop(s.labels), s.value, right[0].value)
		}
	case leftScalar && len(left) == 1:
		for _, s := range right {
			combine(drop(s.labels), left[0].value, s.value)
		}
	case n.many == "right":
		one := map[string]sample{}
		for _, s := range left {
			one[key(s.labels)] = s
		}
		for _, s := range right {
			if l, ok := one[key(s.labels)]; ok {
				combine(drop(s.labels), l.value, s.value)
			}
		}
	default:
		for _, s := range left {
			if r, ok := there[key(s.labels)]; ok {
				combine(drop(s.labels), s.value, r.value)
			}
		}
	}
	return list
}

// operate computes; comparisons keep the left side where they hold.
func operate(op string, a, b float64) (float64, bool) {
	switch op {
	case "+":
		return a + b, true
	case "-":
		return a - b, true
	case "*":
		return a * b, true
	case "/":
		return a / b, true
	case ">":
		return a, a > b
	case "<":
		return a, a < b
	case ">=":
		return a, a >= b
	case "<=":
		return a, a <= b
	case "==":
		return a, a == b
	}
	return a, a != b
}
