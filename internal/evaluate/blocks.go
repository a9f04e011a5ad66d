package evaluate

import (
	"math"
	"slices"

	"mlops/internal/dataset"
)

// leastTimes is how many different times make blocks; of fewer nothing can be said.
const leastTimes = 16

// leastBlocks bounds a block's length: fewer blocks say little of how much they differ.
const leastBlocks = 8

// NewBlockDraws returns draws of blocks of consecutive times, each time with all of its
// rows, for rows that are alike where they are near in time. times are those of the rows,
// in any unit and order. A block is as long as the rows are alike, see blockLength, by any
// of the series, which have a number per row. Nil if the rows are of too few times.
func NewBlockDraws(times []float64, series ...[]float64) *Draws {
	order := slices.Clone(times)
	slices.Sort(order)
	order = slices.Compact(order)
	if len(order) < leastTimes {
		return nil
	}
	of := make([]int32, len(times))
	for i, t := range times {
		at, _ := slices.BinarySearch(order, t)
		of[i] = int32(at)
	}
	d := NewDraws(of)
	d.block = int(math.Ceil(math.Cbrt(float64(d.groups))))
	for _, values := range series {
		mean := 0.0
		for _, v := range values {
			mean += v / float64(len(values))
		}
		sums := make([]float64, d.groups)
		for i, v := range values {
			sums[of[i]] += v - mean
		}
		d.block = max(d.block, int(math.Round(blockLength(sums))))
	}
	d.block = min(d.block, d.groups/leastBlocks)
	return d
}

// blockLength is the length of the blocks by which a circular block bootstrap estimates the
// variance of a series' mean best: Politis and White (2004), "Automatic block-length
// selection for the dependent bootstrap", with the correction of Patton, Politis and White
// (2009). x has mean 0.
func blockLength(x []float64) float64 {
	n := float64(len(x))
	near := max(5, int(math.Sqrt(math.Log10(n)))) // lags in a row that have to be small
	most := int(math.Ceil(math.Sqrt(n))) + near
	variance := autocovariance(x, 0)
	if variance == 0 {
		return 1
	}
	bound := 2 * math.Sqrt(math.Log10(n)/n) * variance
	lag, small := most, 0 // lag: the last one that isn't small
	for k := 1; k <= most; k++ {
		if math.Abs(autocovariance(x, k)) >= bound {
			small = 0
		} else if small++; small == near {
			lag = k - near
			break
		}
	}
	window := min(2*max(lag, 1), most, len(x)-1)
	sum, moment := variance, 0.0
	for k := 1; k <= window; k++ {
		c := autocovariance(x, k) * min(1, 2*(1-float64(k)/float64(window)))
		sum, moment = sum+2*c, moment+2*float64(k)*c
	}
	if sum <= 0 {
		return 1
	}
	return math.Cbrt(2 * moment * moment / (4.0 / 3 * sum * sum) * n)
}

func autocovariance(x []float64, lag int) float64 {
	sum := 0.0
	for i := lag; i < len(x); i++ {
		sum += x[i] * x[i-lag]
	}
	return sum / float64(len(x))
}

// Likeness returns, per row, how wrong a model is and in which direction: the series by
// whose likeness in time NewBlockDraws chooses the length of its blocks. Outputs and labels
// are as Rate takes them.
func Likeness(spec *dataset.Spec, outputs, labels []float32) [][]float64 {
	loss, second := make([]float64, len(labels)), make([]float64, len(labels))
	each := len(outputs) / max(len(labels), 1)
	for i, y := range labels {
		switch out := outputs[i*each : (i+1)*each]; spec.Task {
		case dataset.Regression:
			second[i] = float64(y) - float64(out[0])
			loss[i] = second[i] * second[i]
		case dataset.Multiclass:
			loss[i] = -math.Log(max(float64(out[int(y)]), leastProbability))
			second[i] = float64(y)
		default:
			p := float64(out[0])
			if y == 0 {
				p = 1 - p
			}
			loss[i] = -math.Log(max(p, leastProbability))
			second[i] = float64(y)
		}
	}
	return [][]float64{loss, second}
}

// leastProbability bounds the loss of a row that a model was sure of, and wrong.
const leastProbability = 1e-7
