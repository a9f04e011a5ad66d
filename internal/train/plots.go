package train

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"mlops/internal/dataset"
	"mlops/internal/plot"
)

// plots adds the pictures of what was measured: what the model goes by; ROC,
// precision-recall and calibration curves and the confusion matrix of a binary task, the
// confusion matrix of several classes, predicted against true values and residuals of a
// regression.
func (r *recorder) plots(f *Fitted, files map[string][]byte) error {
	draw := func(name string, plotTo func(io.Writer) error) error {
		var b bytes.Buffer
		if err := plotTo(&b); err != nil {
			return fmt.Errorf("drawing %s: %w", name, err)
		}
		files["plots/"+name+".png"] = b.Bytes()
		return nil
	}
	title := r.spec.Title + ", " + r.config.Candidate
	test := f.Rated[dataset.Test]
	if i := f.Report.Importance; len(i.Gain) > 0 && len(i.Permutation.Columns) > 0 {
		err := errors.Join(
			draw("importance_gain", func(w io.Writer) error {
				return plot.Bars(w, "png", title+", gain", "Share of the features' mean gain", i.Gain)
			}),
			draw("importance_contributions", func(w io.Writer) error {
				x := fmt.Sprintf("Mean absolute contribution to the %s, %d validation rows", margin(i.Contributions.Scale), i.Contributions.Rows)
				return plot.Bars(w, "png", title+", contributions", x, i.Contributions.Columns)
			}),
			draw("importance_permutation", func(w io.Writer) error {
				x := fmt.Sprintf("%s worse by, %d validation rows", i.Permutation.Metric, i.Permutation.Rows)
				return plot.Bars(w, "png", title+", permutation", x, i.Permutation.Columns)
			}),
		)
		if err != nil {
			return err
		}
	}
	switch r.spec.Task {
	case dataset.Multiclass:
		return draw("confusion", func(w io.Writer) error {
			return plot.Confusion(w, "png", title+", test rows", r.spec.Target.Classes, test.Classes.Confusion())
		})
	case dataset.Regression:
		column := r.spec.Target.Column
		return errors.Join(
			draw("predicted_actual", func(w io.Writer) error {
				return plot.Predicted(w, "png", title+", test rows", column, f.Interval.HalfWidth, test.Values.Points())
			}),
			draw("residuals", func(w io.Writer) error {
				return plot.Residuals(w, "png", title+", test rows", column, f.Interval.HalfWidth, test.Values.Points())
			}),
		)
	}
	var curves []plot.Curve
	for _, split := range []string{dataset.Validation, dataset.Test} {
		curves = append(curves, plot.Curve{Name: split, Rows: f.Rated[split].Ranking})
	}
	return errors.Join(
		draw("roc", func(w io.Writer) error { return plot.ROC(w, "png", title, f.Threshold, curves...) }),
		draw("precision_recall", func(w io.Writer) error { return plot.PrecisionRecall(w, "png", title, f.Threshold, curves...) }),
		draw("confusion", func(w io.Writer) error {
			counts := f.Report.Splits[len(f.Report.Splits)-1].Confusion
			return plot.Confusion(w, "png", title+", test rows", f.Report.Classes, counts)
		}),
		draw("calibration", func(w io.Writer) error { return plot.Calibration(w, "png", title, curves...) }),
	)
}
