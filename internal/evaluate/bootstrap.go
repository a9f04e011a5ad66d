package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Draws are bootstrap samples of rows: as many groups as there are, drawn with
// replacement, each with all of its rows, since rows of a group are alike. Where groups
// next to each other are alike too, blocks of them are drawn, the last one followed by
// the first. The same groups give the same draws.
type Draws struct {
	group  []int32 // of each row
	groups int
	block  int // groups that are drawn together
	n      int
}

// Bounds of how many draws there are: as many rows as fit the time are drawn.
const (
	mostDraws  = 1000
	leastDraws = 200
	drawnRows  = 200_000_000
)

// NewDraws returns the draws of rows whose groups these are, numbered from 0.
func NewDraws(group []int32) *Draws {
	d := &Draws{group: group, block: 1, n: min(mostDraws, max(leastDraws, drawnRows/max(len(group), 1)))}
	for _, g := range group {
		d.groups = max(d.groups, int(g)+1)
	}
	return d
}

// Count is how many draws there are, Groups how many groups are drawn from, Block how
// many of them are drawn together.
func (d *Draws) Count() int  { return d.n }
func (d *Draws) Groups() int { return d.groups }
func (d *Draws) Block() int  { return d.block }

// Each calls f once per draw with how often each row was drawn. The weights are good
// until f returns.
func (d *Draws) Each(f func(weights []int32)) {
	random := rand.NewPCG(20, 11)
	groups := uint64(d.groups)
	drawn, weights := make([]int32, d.groups), make([]int32, len(d.group))
	for range d.n {
		clear(drawn)
		for left := d.groups; d.block > 1 && left > 0; left -= d.block {
			first := int(random.Uint64() >> 32 * groups >> 32)
			for i := range min(d.block, left) {
				drawn[(first+i)%d.groups]++
			}
		}
		for i := 0; d.block == 1 && i < d.groups; i += 2 { // a number gives two draws: each half of its bits is scaled to the groups
			x := random.Uint64()
			drawn[(x>>32)*groups>>32]++
			if i+1 < d.groups {
				drawn[(x&math.MaxUint32)*groups>>32]++
			}
		}
		for i, g := range d.group {
			weights[i] = drawn[g]
		}
		f(weights)
	}
}

// Interval returns the bounds of the 95 % interval of a number that has this spread in the
// draws. Of few blocks it is wider than 95 % of the draws, as Student's distribution is than
// the normal one: Hesterberg (2015), "What teachers should know about the bootstrap", 5.3.
func (d *Draws) Interval(s Spread) (low, high float64) {
	const confidence, z = 0.95, 1.959964
	if d.block == 1 {
		return s.Interval(confidence)
	}
	blocks := float64(d.groups) / float64(d.block)
	free := blocks - 1
	// Student's quantile by Abramowitz and Stegun, 26.7.5.
	t := z + (z*z*z+z)/(4*free) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*free*free)
	return s.Interval(math.Erf(t * math.Sqrt(blocks/free) / math.Sqrt2))
}

// Confidence is how sure it is that a number is on that side of a bound on which it is in
// this share of the draws: the share itself, nearer to a half if few blocks are drawn, by
// the rule of Interval. Student's distribution is taken as normal by Wallace (1959).
func (d *Draws) Confidence(share float64) float64 {
	if d.block == 1 {
		return share
	}
	blocks := float64(d.groups) / float64(d.block)
	free := blocks - 1
	t := math.Sqrt2 * math.Erfinv(2*share-1) * math.Sqrt(free/blocks)
	z := math.Copysign(math.Sqrt(free*math.Log1p(t*t/free)), t) * (8*free + 1) / (8*free + 3)
	return (1 + math.Erf(z/math.Sqrt2)) / 2
}

// Spread is how a number varies between draws; those in which it is NaN are left out.
type Spread []float64

// NewSpread takes what the draws gave.
func NewSpread(values []float64) Spread {
	s := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(s)
	return s
}

// Interval returns bounds between which that share of the draws is, as many being
// below as above. Without any draw it is everything.
func (s Spread) Interval(share float64) (low, high float64) {
	if len(s) == 0 {
		return math.Inf(-1), math.Inf(1)
	}
	return s.quantile((1 - share) / 2), s.quantile((1 + share) / 2)
}

// quantile interpolates between the draws, as NumPy does.
func (s Spread) quantile(q float64) float64 {
	at := q * float64(len(s)-1)
	i := int(at)
	if i >= len(s)-1 {
		return s[len(s)-1]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}

// Above is the share of the draws that are above a number.
func (s Spread) Above(x float64) float64 {
	i, _ := slices.BinarySearchFunc(s, x, func(v, x float64) int {
		if v <= x {
			return -1
		}
		return 1
	})
	return share(len(s)-i, len(s))
}
