package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"mlops/internal/local"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/program"
	"mlops/internal/registry"
)

// check asks the running demo of one data set whether what it serves is right:
// the version in production, the stored scores, the page, the row counts. All
// that is wrong is in the error.
func check(ctx context.Context, c *config, out io.Writer, wantRows int64, wantAUC float64) error {
	spec, err := loadSpec(c.spec)
	if err != nil {
		return err
	}
	running := map[string]*local.Record{}
	for _, name := range []string{"postgres", "mlflow", "inference-" + spec.Name, "ui-" + spec.Name} {
		r, err := c.state.Record(name)
		if err != nil {
			return err
		}
		if r == nil || !r.Alive() {
			return program.Inputf("%s does not run; make demo starts it", name)
		}
		running[name] = r
	}
	inference, ui := running["inference-"+spec.Name], running["ui-"+spec.Name]
	var view modelView
	if err := errors.Join(getJSON(ctx, inference.URL()+"/readyz", nil), getJSON(ctx, inference.URL()+"/model", &view)); err != nil {
		return err
	}
	var errs []error
	ok := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return
		}
		fmt.Fprintln(out, "ok  ", what)
	}
	ok("MLflow's alias and tag name the version that is served", checkVersion(ctx, running["mlflow"], spec.Model, view))
	ok(fmt.Sprintf("/predict gives the stored scores of %d records", len(view.Samples)), checkScores(ctx, inference, view))
	ok("the page answers, with a form for the version that is served", checkPage(ctx, ui, view))
	ok("the rows add up", checkRows(ctx, c.state, running["postgres"], spec.Name, wantRows))
	if wantAUC > 0 {
		var err error
		if got := view.Metrics["test_auc"]; !(got >= wantAUC) {
			err = fmt.Errorf("got %.4f", got)
		}
		ok(fmt.Sprintf("AUC on the test rows is at least %.4f", wantAUC), err)
	}
	return errors.Join(errs...)
}

func checkVersion(ctx context.Context, ml *local.Record, name string, view modelView) error {
	client, err := mlflow.New(ml.URL(), mlflow.Options{UserAgent: "mlops-demo"})
	if err != nil {
		return err
	}
	v, err := client.GetAlias(ctx, name, registry.Production)
	if err != nil {
		return err
	}
	if got := view.Model; got.Name != name || got.Number != fmt.Sprint(v.Number) || got.RunID != v.RunID {
		return fmt.Errorf("the server serves %s version %s of run %s, the alias says version %d of run %s", got.Name, got.Number, got.RunID, v.Number, v.RunID)
	}
	if got := v.Tags[registry.TagBest]; got != "true" {
		return fmt.Errorf("tag %s of version %d is %q", registry.TagBest, v.Number, got)
	}
	return nil
}

func checkScores(ctx context.Context, inference *local.Record, view modelView) error {
	if len(view.Samples) == 0 {
		return errors.New("the version holds no samples")
	}
	records := make([]map[string]string, len(view.Samples))
	for i, s := range view.Samples {
		records[i] = s.Record
	}
	body, err := json.Marshal(records)
	if err != nil {
		return err
	}
	var got predictions
	if err := call(ctx, http.MethodPost, inference.URL()+"/predict", body, &got); err != nil {
		return err
	}
	return compareScores(view, got)
}

// compareScores holds predictions against the samples that they are of.
func compareScores(view modelView, got predictions) error {
	if got.Model.RunID != view.Model.RunID {
		return fmt.Errorf("version %s answered, /model said %s", got.Model.Number, view.Model.Number)
	}
	if len(got.Predictions) != len(view.Samples) {
		return fmt.Errorf("%d records, %d predictions", len(view.Samples), len(got.Predictions))
	}
	for i, p := range got.Predictions {
		want := view.Samples[i].Probability
		if !(math.Abs(p.Probability-want) <= model.Tolerance) {
			return fmt.Errorf("record %d: probability %v, stored %v", i, p.Probability, want)
		}
		label := 0
		if p.Probability >= view.Threshold {
			label = 1
		}
		if p.Label != label {
			return fmt.Errorf("record %d: label %d at probability %v, want %d", i, p.Label, p.Probability, label)
		}
	}
	return nil
}

func checkPage(ctx context.Context, ui *local.Record, view modelView) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ui.URL()+"/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /: %s", resp.Status)
	}
	for _, want := range []string{view.Dataset.Title, "<form", view.Model.RunID} {
		if !strings.Contains(string(text), want) {
			return fmt.Errorf("the page does not hold %q", want)
		}
	}
	return nil
}

func checkRows(ctx context.Context, s *local.State, pg *local.Record, name string, want int64) error {
	n, err := countRows(ctx, s, pg, name)
	if err != nil {
		return err
	}
	return n.add(want)
}

// add checks that no row is lost or doubled: source lines = raw + raw rejected
// (of a first load), raw = clean + clean rejected, clean = the three splits.
func (n counts) add(want int64) error {
	var errs []error
	if want > 0 && n.raw+n.rawRejected != want {
		errs = append(errs, fmt.Errorf("%d raw and %d rejected rows make %d, want %d", n.raw, n.rawRejected, n.raw+n.rawRejected, want))
	}
	if n.raw == 0 || n.clean+n.cleanRejected != n.raw {
		errs = append(errs, fmt.Errorf("%d clean and %d rejected rows make %d, want the %d raw ones", n.clean, n.cleanRejected, n.clean+n.cleanRejected, n.raw))
	}
	if sum := n.split["train"] + n.split["validation"] + n.split["test"]; sum != n.clean {
		errs = append(errs, fmt.Errorf("the splits hold %d rows, want the %d clean ones", sum, n.clean))
	}
	return errors.Join(errs...)
}
