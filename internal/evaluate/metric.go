package evaluate

import "fmt"

// Metric returns the metric of that name, one of a binary task's; those of labels
// are taken at the threshold.
func (r *Ranking) Metric(name string, threshold float64) (float64, error) {
	switch name {
	case "auc":
		return r.AUC(), nil
	case "average_precision":
		return r.AveragePrecision(), nil
	case "log_loss":
		return r.LogLoss()
	case "precision":
		return r.At(threshold).Precision(), nil
	case "recall":
		return r.At(threshold).Recall(), nil
	case "accuracy":
		return r.At(threshold).Accuracy(), nil
	case "f1":
		return r.At(threshold).F1(), nil
	}
	return 0, fmt.Errorf("unknown metric %q", name)
}
