package evaluate

import "math"

const normal = 1.959963984540054 // 97.5 % of the standard normal distribution

// AUCInterval returns the bounds of the AUC's 95 % confidence interval, cut to
// [0, 1]: the AUC with 1.96 times its standard error to either side, by DeLong,
// DeLong and Clarke-Pearson (1988), "Comparing the areas under two or more
// correlated receiver operating characteristic curves: a nonparametric
// approach". With fewer than two rows of a class the error is unknown, and the
// interval is [0, 1].
func (r *Ranking) AUCInterval() (low, high float64) {
	if r.positives < 2 || r.negatives < 2 {
		return 0, 1
	}
	auc, m, n := r.AUC(), float64(r.positives), float64(r.negatives)
	// A row's component is the share of the other class that it is ranked rightly
	// against, equal scores counting one half; the mean of either class is the AUC.
	var ofPositives, ofNegatives float64 // sums of squares about it
	for _, g := range r.groups {
		below := float64(r.negatives-g.fp) + float64(g.neg)/2
		above := float64(g.tp-g.pos) + float64(g.pos)/2
		ofPositives += float64(g.pos) * square(below/n-auc)
		ofNegatives += float64(g.neg) * square(above/m-auc)
	}
	margin := normal * math.Sqrt(ofPositives/(m-1)/m+ofNegatives/(n-1)/n)
	return max(auc-margin, 0), min(auc+margin, 1)
}

func square(x float64) float64 { return x * x }
