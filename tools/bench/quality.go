package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/prepare"
	"mlops/internal/train"
	"mlops/internal/xgboost"
)

// qualityFiles is the folder of the peers' program and of their own lock.
var qualityFiles = filepath.Join("tools", "bench", "quality")

// qualityPeers are the peers, the quickest first.
var qualityPeers = []string{"LightGBM", "HistGradientBoosting", "XGBoost", "CatBoost"}

// Sets of features that the peers are given: those of the row alone, or ours with the
// columns of earlier rows.
const (
	oneRowSet  = "one"
	historySet = "history"
)

// quality compares the shipped spec's model with Python's on the same rows and splits:
// five salts, without those whom the cohort leaves out. All choices are made by the
// validation AUC; the test rows are measured once, after the choices are written down.
func quality(ctx context.Context, log *slog.Logger) ([]figure, error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	venv, err := venvOf(ctx, log, filepath.Join(qualityFiles, "requirements.txt"))
	if err != nil {
		return nil, err
	}
	salts := b.spec.Split.Salts
	if only := strings.Fields(os.Getenv("ONLY")); len(only) > 0 {
		salts = slices.DeleteFunc(slices.Clone(salts), func(s string) bool { return !slices.Contains(only, s) })
	}
	var all []*trial
	for i, salt := range salts {
		fmt.Fprintf(os.Stderr, "  split %d of %d: %s\n", i+1, len(salts), salt)
		t, err := b.try(ctx, lib, venv, salt)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	declared, err := declare(all)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "  chosen by validation, before the test rows are measured: %s\n", declared)
	for _, t := range all {
		if err := t.measure(); err != nil {
			return nil, err
		}
	}
	figures := qualityFigures(all)
	more, err := b.otherTasks(ctx, lib, venv)
	return append(figures, more...), err
}

// choice is one setting that was fitted.
type choice struct {
	Number     int     `json:"setting"`
	Rounds     int     `json:"rounds"`
	Validation float64 `json:"validation"`
	Seconds    float64 `json:"seconds"`
}

// trial is what was fitted on the splits of a salt. Contenders are named by library
// and set of features.
type trial struct {
	salt   string
	dir    string
	labels []float32 // of the test rows
	chosen map[string]choice
	test   map[string]float64 // AUC, once measured
}

func contender(peer, set string) string { return peer + "." + set }

// try fits ours and the peers on the splits of a salt.
func (b *bench) try(ctx context.Context, lib *xgboost.Library, venv *prepare.Venv, salt string) (*trial, error) {
	data, err := train.Prepare(ctx, b.spec, b.rows(salt))
	if err != nil {
		return nil, err
	}
	t := &trial{salt: salt, dir: filepath.Join(b.dir, salt), labels: data.Parts[dataset.Test].Y, chosen: map[string]choice{}, test: map[string]float64{}}
	if err := exportFit(t.dir, b.spec, data, b.spec.Candidates); err != nil {
		return nil, err
	}
	for i := range b.spec.Candidates {
		start := time.Now()
		f, err := train.Fit(ctx, lib, b.spec, &b.spec.Candidates[i], data, train.Options{Threads: runtime.GOMAXPROCS(0), NoReport: true})
		if err != nil {
			return nil, err
		}
		if err := writeFloats(filepath.Join(t.dir, fmt.Sprintf("ours.%s.%d.test", historySet, i)), f.Test); err != nil {
			return nil, err
		}
		t.choose(contender("ours", historySet), choice{i, f.Trees, f.Metrics["validation_auc"], time.Since(start).Seconds()})
	}
	for _, set := range []string{oneRowSet, historySet} {
		for _, peer := range qualityPeers {
			err := qualityProgram(ctx, venv, func(line []byte) error {
				var c choice
				if err := json.Unmarshal(line, &c); err != nil {
					return fmt.Errorf("%s said %q: %w", peer, line, err)
				}
				t.choose(contender(peer, set), c)
				return nil
			}, "fit", t.dir, peer, set)
			if err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// choose keeps the setting with the best validation AUC.
func (t *trial) choose(name string, c choice) {
	fmt.Fprintf(os.Stderr, "    %-30s setting %d: %4d rounds, validation AUC %.4f, %.0f s\n", name, c.Number, c.Rounds, c.Validation, c.Seconds)
	if best, there := t.chosen[name]; !there || c.Validation > best.Validation {
		t.chosen[name] = c
	}
}

// declare writes down what was chosen, and returns the name of the file.
func declare(all []*trial) (string, error) {
	chosen := map[string]map[string]choice{}
	for _, t := range all {
		chosen[t.salt] = t.chosen
	}
	text, err := json.MarshalIndent(map[string]any{"declared": time.Now().UTC().Truncate(time.Second), "by": "validation AUC", "chosen": chosen}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("writing the choices: %w", err)
	}
	const file = "bench-quality.json"
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("writing the choices: %w", err)
	}
	return file, nil
}

// measure measures what was chosen on the test rows.
func (t *trial) measure() error {
	for name, c := range t.chosen {
		scores, err := readFloats(filepath.Join(t.dir, fmt.Sprintf("%s.%d.test", name, c.Number)))
		if err != nil {
			return err
		}
		if len(scores) != len(t.labels) {
			return fmt.Errorf("%s has %d scores for %d test rows", name, len(scores), len(t.labels))
		}
		r, err := evaluate.Rank(scores, t.labels)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", name, err)
		}
		t.test[name] = r.AUC()
	}
	return nil
}

// qualityFigures compares ours with the best peer of each set of features, and lists
// every contender. The best peer is the one with the best mean on the test rows, which
// favours the peers.
func qualityFigures(all []*trial) []figure {
	ours := contender("ours", historySet)
	tests := func(name string) (list []float64) {
		for _, t := range all {
			list = append(list, t.test[name])
		}
		return list
	}
	each := func(list []float64, format string) string {
		var texts []string
		for _, x := range list {
			texts = append(texts, fmt.Sprintf(format, x))
		}
		return strings.Join(texts, " ")
	}
	mine := tests(ours)
	how := fmt.Sprintf("%d splits, settings chosen by validation AUC", len(all))
	found := []figure{{Name: "test AUC with earlier stays, mean of the salts", Value: mean(mine), Reach: "at least 0.683", How: how + ": " + each(mine, "%.4f")}}
	for _, set := range []string{oneRowSet, historySet} {
		best, value := "", 0.0
		for _, peer := range qualityPeers {
			if m := mean(tests(contender(peer, set))); m > value {
				best, value = peer, m
			}
		}
		gain, spread := gap(mine, tests(contender(best, set)))
		var worst float64 = math.Inf(1)
		var differences []float64
		for i, x := range tests(contender(best, set)) {
			differences = append(differences, mine[i]-x)
			worst = min(worst, mine[i]-x)
		}
		name, reach := "against the best peer with the one-row features, test AUC", "at least 0.008"
		if set == historySet {
			name, reach = "against the best peer with the same columns, test AUC", "at least -0.001"
		}
		found = append(found, figure{Name: name, Value: gain, Reach: reach, How: fmt.Sprintf("%s, mean %.4f; by salt %s; standard error %.4f", best, value, each(differences, "%+.4f"), spread)})
		if set == oneRowSet {
			found = append(found, figure{Name: "the same, the worst salt", Value: worst, Reach: "at least 0", How: best})
		}
		for _, peer := range qualityPeers {
			list := tests(contender(peer, set))
			found = append(found, figure{Name: fmt.Sprintf("test AUC of %s, %s features", peer, set), Value: mean(list), How: how + ": " + each(list, "%.4f")})
		}
	}
	return found
}

// exportFit writes a fit's rows, labels and parameters into a folder for quality.py.
func exportFit(dir string, spec *dataset.Spec, d *train.Data, candidates []dataset.Candidate) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	for split, p := range d.Parts {
		if err := errors.Join(writeFloats(filepath.Join(dir, split+".x"), p.X), writeFloats(filepath.Join(dir, split+".y"), p.Y)); err != nil {
			return err
		}
	}
	type setting struct {
		Params        map[string]string `json:"params"`
		Rounds        int               `json:"rounds"`
		EarlyStopping int               `json:"early_stopping"`
	}
	job := struct {
		Names      []string  `json:"names"`
		Types      []string  `json:"types"`
		History    []bool    `json:"history"`
		Candidates []setting `json:"candidates"`
		Threads    int       `json:"threads"`
		Metric     string    `json:"metric"`
		Outputs    int       `json:"outputs"`
		Rows       int       `json:"rows"` // that are scored one by one
	}{Threads: runtime.GOMAXPROCS(0), Metric: spec.RoundMetric(), Outputs: max(1, len(spec.Target.Classes)), Rows: 2000}
	for i, f := range d.Encoder.Features {
		kind := "q"
		if f.Categorical {
			kind = "c"
		}
		job.Names, job.Types, job.History = append(job.Names, f.Name), append(job.Types, kind), append(job.History, spec.Features[i].Earlier != "")
	}
	for i := range candidates {
		params := map[string]string{}
		for _, p := range train.Parameters(spec, &candidates[i], job.Threads) {
			params[p[0]] = p[1]
		}
		job.Candidates = append(job.Candidates, setting{params, candidates[i].Rounds, candidates[i].EarlyStopping})
	}
	text, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("writing the parameters: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "fit.json"), text, 0o600)
}

// qualityProgram runs quality.py and passes on each line that it prints.
func qualityProgram(ctx context.Context, venv *prepare.Venv, line func([]byte) error, args ...string) error {
	cmd := exec.CommandContext(ctx, venv.Python(), append([]string{filepath.Join(qualityFiles, "quality.py")}, args...)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting quality.py: %w", err)
	}
	lines := bufio.NewScanner(out)
	var wrong error
	for lines.Scan() {
		if wrong == nil {
			wrong = line(lines.Bytes())
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("quality.py %s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	return wrong
}

// writeFloats writes little-endian float32.
func writeFloats(file string, values []float32) error {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return fmt.Errorf("writing numbers: %w", err)
	}
	return nil
}

func readFloats(file string) ([]float32, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading numbers: %w", err)
	}
	values := make([]float32, len(raw)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values, nil
}
