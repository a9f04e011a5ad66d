package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/history"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/progress"
	"mlops/internal/registry"
)

// recorder logs one candidate's run in MLflow and registers its version.
type recorder struct {
	client   *mlflow.Client
	registry *registry.Registry
	spec     *dataset.Spec
	made     registry.Candidate
	config   Config
}

// leftovers looks for runs of the same training key that earlier attempts left. It
// marks unfinished ones as killed and returns one that was logged completely, and whose
// files the gate will accept.
func (r *recorder) leftovers(ctx context.Context) (*mlflow.Run, error) {
	experiment, err := r.client.EnsureExperiment(ctx, r.spec.Model)
	if err != nil {
		return nil, err
	}
	key, err := mlflow.Quote(registry.Key(r.made.Training, r.made.Name))
	if err != nil {
		return nil, err
	}
	runs, err := r.client.SearchRuns(ctx, []string{experiment.ID}, "tags."+registry.TagTrainingKey+" = "+key, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("looking for earlier runs: %w", err)
	}
	var whole *mlflow.Run
	for i := range runs {
		switch runs[i].Status {
		case mlflow.Finished:
			ok, err := r.noted(ctx, runs[i].ID)
			if err != nil {
				return nil, err
			}
			if ok {
				whole = &runs[i]
			}
		case mlflow.Running:
			if err := r.client.UpdateRun(ctx, runs[i].ID, mlflow.Killed, time.Now()); err != nil {
				return nil, fmt.Errorf("closing unfinished run %s: %w", runs[i].ID, err)
			}
			for _, id := range runs[i].LoggedModels {
				r.endModel(ctx, id, false)
			}
			r.config.Log.Info("closed an unfinished run of an earlier attempt", "run_id", runs[i].ID)
		}
	}
	return whole, nil
}

// noted reports whether the gate will find the files of a run noted, or will not look.
func (r *recorder) noted(ctx context.Context, runID string) (bool, error) {
	if r.config.History == nil {
		return true, nil
	}
	files, since, err := r.config.History.Trained(ctx, r.spec.Model, runID)
	if errors.Is(err, history.ErrNotAllowed) {
		return true, nil
	}
	return files != nil || since.IsZero(), err
}

// note keeps the digests of the version's files where nobody can change them who can
// write into MLflow.
func (r *recorder) note(ctx context.Context, runID string, files map[string]string) error {
	if r.config.History == nil {
		return nil
	}
	err := r.config.History.NoteTrained(ctx, r.spec.Model, runID, files)
	if errors.Is(err, history.ErrNotAllowed) {
		r.config.Log.Warn("the version's files can be changed in MLflow until it is promoted", "reason", err)
		return nil
	}
	return err
}

// record logs a complete run and returns its id. The run is marked as finished
// last; if that point is not reached, it is marked as failed, provided that MLflow
// still answers.
func (r *recorder) record(ctx context.Context, candidate *dataset.Candidate, d *Data, f *Fitted, found []inspect.Finding, took time.Duration) (id string, err error) {
	experiment, err := r.client.EnsureExperiment(ctx, r.spec.Model)
	if err != nil {
		return "", err
	}
	tags := r.made.Tags()
	tags["mlflow.source.name"], tags["mlflow.user"] = "train-model", "mlops"
	if c := r.config.Commit; c != "" {
		hash, changed := strings.CutSuffix(c, "-dirty")
		tags["mlflow.source.git.commit"], tags["mlflow.source.git.dirty"] = hash, strconv.FormatBool(changed)
	}
	tags["rows_rejected"] = strconv.FormatInt(rejected(r.config.Ledger), 10)
	if len(f.Report.Slices) > 0 {
		tags[tagTables] = `[{"path": "` + FileSlices + `", "type": "table"}]`
	}
	run, err := r.client.CreateRun(ctx, mlflow.NewRun{
		ExperimentID: experiment.ID,
		Name:         candidate.Name,
		Start:        time.Now().Add(-took),
		Tags:         tags,
	})
	if err != nil {
		return "", fmt.Errorf("starting a run: %w", err)
	}
	logged := ""
	defer func() {
		if err != nil {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			_ = r.client.UpdateRun(end, run.ID, mlflow.Failed, time.Now()) // the first error is the one that counts
			r.endModel(end, logged, false)
		}
	}()
	batch := r.batch(candidate, d, f, took)
	if logged = r.logModel(ctx, run, batch.Params); logged != "" {
		of := r.input(d)
		for i := range batch.Metrics {
			if m := &batch.Metrics[i]; strings.HasPrefix(m.Key, dataset.Test+"_") || strings.HasPrefix(m.Key, dataset.Validation+"_") {
				m.LoggedModel, m.Input, m.Digest = logged, of.Name, of.Digest
			}
		}
	}
	if err := r.client.LogBatch(ctx, run.ID, batch); err != nil {
		return "", fmt.Errorf("logging run %s: %w", run.ID, err)
	}
	if err := r.client.LogInput(ctx, run.ID, r.input(d)); err != nil {
		return "", fmt.Errorf("logging the rows of run %s: %w", run.ID, err)
	}
	root, err := r.client.ArtifactPath(run.ArtifactURI)
	if err != nil {
		return "", err
	}
	files, digests, err := r.files(candidate, d, f, found, run.ID)
	if err != nil {
		return "", err
	}
	if err := r.note(ctx, run.ID, digests); err != nil {
		return "", err
	}
	if err := r.reports(f, files); err != nil {
		return "", err
	}
	history, err := json.Marshal([]loggedModel{{
		Path: registry.Folder, RunID: run.ID, Flavors: map[string]any{"python_function": struct{}{}, "xgboost": struct{}{}},
		Created: time.Now().UTC().Format("2006-01-02 15:04:05.000000"),
	}})
	if err != nil {
		return "", fmt.Errorf("writing which model run %s logged: %w", run.ID, err)
	}
	if files["findings.json"], err = json.MarshalIndent(append([]inspect.Finding{}, found...), "", " "); err != nil {
		return "", fmt.Errorf("writing what was found in the rows: %w", err)
	}
	if files["rows.json"], err = json.MarshalIndent(r.config.Ledger, "", " "); err != nil {
		return "", fmt.Errorf("writing what became of the rows: %w", err)
	}
	files["rows.txt"] = []byte(ledgerText(r.config.Ledger))
	files["findings.txt"] = []byte(inspect.Table(found, 0))
	for name, content := range files {
		if err := r.client.UploadArtifact(ctx, path.Join(root, name), bytes.NewReader(content)); err != nil {
			return "", fmt.Errorf("storing %s of run %s: %w", name, run.ID, err)
		}
	}
	if err := r.client.LogBatch(ctx, run.ID, mlflow.Batch{Tags: map[string]string{tagModels: string(history)}}); err != nil {
		return "", fmt.Errorf("noting which model run %s logged: %w", run.ID, err)
	}
	if err := r.client.UpdateRun(ctx, run.ID, mlflow.Finished, time.Now()); err != nil {
		return "", fmt.Errorf("finishing run %s: %w", run.ID, err)
	}
	r.endModel(ctx, logged, true)
	return run.ID, nil
}

// whereFiles describes a logged model.
const whereFiles = "The files are with the run, in its folder `" + registry.Folder + "`."

// logModel lists the model on MLflow's page Models, with figures by data set. The files
// stay with the run, where every reader of the registry finds them. The page is for
// people, so training goes on without the entry.
func (r *recorder) logModel(ctx context.Context, run mlflow.Run, params map[string]string) (id string) {
	kind := "classifier"
	if r.spec.Task == dataset.Regression {
		kind = "regressor"
	}
	tags := maps.Clone(run.Tags)
	delete(tags, tagTables) // it is about files of the run
	tags[registry.TagRunDescription] = whereFiles
	id, err := r.client.LogModel(ctx, mlflow.NewLoggedModel{ExperimentID: run.ExperimentID, Name: r.made.Name, Type: kind, RunID: run.ID, Params: params, Tags: tags})
	if err != nil {
		r.config.Log.Warn("MLflow does not list the model on its page Models", "run_id", run.ID, "reason", err)
	}
	return id
}

func (r *recorder) endModel(ctx context.Context, id string, complete bool) {
	if id == "" {
		return
	}
	if err := r.client.EndLoggedModel(ctx, id, complete); err != nil {
		r.config.Log.Warn("MLflow shows the model as pending", "logged_model", id, "reason", err)
	}
}

// tagModels is the tag of a run by which MLflow's page finds its models.
const tagModels = "mlflow.log-model.history"

// loggedModel is an entry of tagModels.
type loggedModel struct {
	Path    string         `json:"artifact_path"`
	RunID   string         `json:"run_id"`
	Flavors map[string]any `json:"flavors"`
	Created string         `json:"utc_time_created"`
}

// input is the table, for MLflow's page.
func (r *recorder) input(d *Data) mlflow.Input {
	in := mlflow.Input{Name: r.spec.Name, Digest: r.config.DataDigest, Source: r.spec.Source.URL, Context: "training", Profile: map[string]int64{
		"rows_excluded": int64(d.Excluded), "rows_unlabeled": int64(d.Unlabeled),
	}}
	in.Digest = in.Digest[:min(len(in.Digest), 36)]
	for split, p := range d.Parts {
		in.Profile["rows_"+split] = int64(len(p.Y))
	}
	return in
}

// description says of a version what it is, with the spec's metrics on the test rows.
func description(spec *dataset.Spec, candidate string, run mlflow.Run) string {
	var figures []string
	for _, name := range spec.Metrics {
		value, ok := run.Metrics["test_"+name]
		if !ok {
			continue
		}
		figure := name + " " + progress.Figure(value)
		low, ok := run.Metrics["test_"+name+"_low"]
		if high, both := run.Metrics["test_"+name+"_high"]; ok && both {
			figure += fmt.Sprintf(" (%s to %s)", progress.Figure(low), progress.Figure(high))
		}
		figures = append(figures, figure)
	}
	text := fmt.Sprintf("Candidate %s for %s.", candidate, spec.Title)
	if len(figures) > 0 {
		text += " On the test rows: " + strings.Join(figures, ", ") + "."
	}
	return text
}

// maxSteps bounds how many points of the rounds' metric are logged.
const maxSteps = 300

// batch is everything logged of a run except its files.
func (r *recorder) batch(candidate *dataset.Candidate, d *Data, f *Fitted, took time.Duration) mlflow.Batch {
	b := mlflow.Batch{Params: map[string]string{
		"candidate":      candidate.Name,
		"rounds":         strconv.Itoa(candidate.Rounds),
		"early_stopping": strconv.Itoa(candidate.EarlyStopping),
		"trees":          strconv.Itoa(f.Trees),
		"features":       strconv.Itoa(d.Encoder.Width()),
		"data_digest":    r.config.DataDigest,
		"spec_digest":    r.spec.Digest(),
		"split":          r.spec.SplitRule(),
		"rows_excluded":  strconv.Itoa(d.Excluded),
		"rows_unlabeled": strconv.Itoa(d.Unlabeled),
		"xgboost":        r.config.Library.Version(),
		"model_digest":   digest(f.UBJ),
		"metrics":        strings.Join(r.spec.Metrics, ", "),
	}}
	if r.spec.ByTime() {
		b.Params["split_by"], b.Params["split_validation_from"], b.Params["split_test_from"] = r.spec.Split.By, r.spec.Split.ValidationFrom, r.spec.Split.TestFrom
	} else {
		b.Params["split_salt"] = r.spec.Split.Salts[0]
	}
	for _, p := range Parameters(r.spec, f.Candidate, r.config.Threads) {
		b.Params[p[0]] = p[1]
	}
	for split, p := range d.Parts {
		b.Params["rows_"+split] = strconv.Itoa(len(p.Y))
		if r.spec.Task == dataset.Binary {
			b.Params["positives_"+split] = strconv.Itoa(p.positives())
		}
	}
	metric := func(name string, value float64, step int) {
		b.Metrics = append(b.Metrics, mlflow.Metric{Key: name, Value: value, Step: int64(step)})
	}
	for name, value := range f.Metrics {
		metric(name, value, 0)
	}
	b.Metrics = append(b.Metrics, figures(f.Report, f.Metrics)...)
	for _, l := range r.config.Ledger {
		name := "rows_" + strings.ReplaceAll(l.Step, "-", "_")
		metric(name+"_taken", float64(l.Taken), 0)
		metric(name+"_rejected", float64(l.Rejected), 0)
		metric(name+"_known", float64(l.Known), 0)
		metric(name+"_replaced", float64(l.Replaced), 0)
	}
	switch {
	case f.Interval != nil:
		metric("interval_half_width", f.Interval.HalfWidth, 0)
		metric("test_interval_coverage", f.Interval.Test, 0)
	case r.spec.Task == dataset.Binary:
		metric("threshold", f.Threshold, 0)
	}
	metric("training_seconds", took.Seconds(), 0)
	every := max(1, len(f.Rounds)/maxSteps)
	for round := 0; round < len(f.Rounds); round += every {
		metric("round_validation_"+d.RoundMetric(r.spec, weighs(f.Candidate)), f.Rounds[round], round)
	}
	return b
}

// files are a run's artifacts by path: the version's own, read back as a check,
// the profile of the rows and the plots. The digests are those of the version's own, by
// name.
func (r *recorder) files(candidate *dataset.Candidate, d *Data, f *Fitted, found []inspect.Finding, runID string) (files map[string][]byte, digests map[string]string, err error) {
	papers, err := r.papers(d, f, found)
	if err != nil {
		return nil, nil, err
	}
	version, err := model.Write(model.Parts{
		Spec:           r.spec,
		Encoder:        d.Encoder,
		UBJ:            f.UBJ,
		Earlier:        d.Earlier,
		Papers:         papers,
		RunID:          runID,
		XGBoostVersion: r.config.Library.Version(),
		Serving: model.Serving{
			Candidate: candidate.Name,
			Created:   time.Now().UTC().Truncate(time.Second),
			Threshold: f.Threshold,
			Interval:  f.Interval,
			Metrics:   f.Metrics,
			Samples:   f.Samples,
			Synthetic: !r.spec.RealSamples(),

			TestOutputs: testOutputs(r.spec.Task, f.Test),
		},
	})
	if err != nil {
		return nil, nil, err
	}
	if digests, err = readBack(version); err != nil {
		return nil, nil, fmt.Errorf("the new version can't be served: %w", err)
	}
	files = map[string][]byte{}
	for name, content := range version {
		files[path.Join(registry.Folder, name)] = content
	}
	var page bytes.Buffer
	if err := d.Profile.HTML(&page); err != nil {
		return nil, nil, err
	}
	files["profile/"+r.spec.Name+".html"] = page.Bytes()
	var scores []byte
	for i, p := range f.Test {
		end := byte(' ')
		if outputs := len(f.Test) / len(d.Parts[dataset.Test].Y); (i+1)%outputs == 0 {
			end = '\n'
		}
		scores = append(strconv.AppendFloat(scores, float64(p), 'g', -1, 32), end)
	}
	files[registry.TestScores] = scores
	if r.config.NoPlots {
		return files, digests, nil
	}
	return files, digests, r.plots(f, files)
}

// testOutputs are 101 quantiles of the test rows' outputs, by which a page places a
// prediction among them; none if there are several classes.
func testOutputs(task string, outputs []float32) []float32 {
	if task == dataset.Multiclass || len(outputs) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(outputs))
	q := make([]float32, 101)
	for i := range q {
		q[i] = sorted[i*(len(sorted)-1)/100]
	}
	return q
}

// digest is the SHA-256 in hex.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// ledgerText is what became of the rows, for people.
func ledgerText(ledger []ingest.Report) string {
	var b strings.Builder
	for _, r := range ledger {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// rejected is how many rows the data steps have rejected.
func rejected(ledger []ingest.Report) int64 {
	var n int64
	for _, r := range ledger {
		n += r.Rejected
	}
	return n
}

// readBack checks a version the way the server does before serving it, and returns the
// digests of the files that are signed at its promotion.
func readBack(files map[string][]byte) (digests map[string]string, err error) {
	dir, err := os.MkdirTemp("", "version-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, fmt.Errorf("writing the version: %w", err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, fmt.Errorf("writing the version: %w", err)
		}
	}
	if _, err := model.Read(os.DirFS(dir)); err != nil {
		return nil, err
	}
	subject, err := registry.Version{}.Subject(os.DirFS(dir))
	return subject.Files, err
}

// register makes the version. It comes last, so that no version is made of an
// incomplete run. It first looks again whether there is one: the lock that keeps
// other runs away may have been lost with its connection meanwhile.
func (r *recorder) register(ctx context.Context, runID string) (int, error) {
	v, found, err := r.registry.Find(ctx, r.made.Training, r.made.Name)
	if err != nil {
		return 0, err
	}
	if found {
		r.config.Log.Info("another run registered this candidate first", "version", v.Number, "run_id", v.RunID)
		return v.Number, nil
	}
	run, err := r.client.GetRun(ctx, runID)
	if err != nil {
		return 0, fmt.Errorf("reading run %s: %w", runID, err)
	}
	r.made.Description = description(r.spec, r.made.Name, run)
	if err := r.client.LogBatch(ctx, runID, mlflow.Batch{Tags: map[string]string{registry.TagRunDescription: r.made.Description}}); err != nil {
		return 0, fmt.Errorf("describing run %s: %w", runID, err)
	}
	if v, err = r.registry.Register(ctx, r.made, runID); err != nil {
		return 0, err
	}
	for _, id := range run.LoggedModels {
		if err := r.client.LinkVersion(ctx, id, v.Name, v.Number, r.made.Description+" "+whereFiles); err != nil {
			r.config.Log.Warn("MLflow's page Models does not lead to the version", "logged_model", id, "version", v.Number, "reason", err)
		}
	}
	r.config.Log.Info("registered", "model", v.Name, "version", v.Number, "run_id", runID)
	return v.Number, nil
}
