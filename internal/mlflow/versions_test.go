package mlflow

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServerVersions(t *testing.T) {
	f := newFixture(t, server(t))
	ctx := t.Context()
	one := f.version(t, map[string]string{"candidate": "a", "training_key": "k1"})
	two := f.version(t, nil)
	if one.Number != 1 || two.Number != 2 {
		t.Fatalf("got versions %d and %d, want 1 and 2", one.Number, two.Number)
	}

	if _, err := f.GetAlias(ctx, f.model, "production"); !errors.Is(err, ErrNotFound) {
		t.Errorf("alias not set: got %v", err)
	}
	for _, n := range []int{1, 1, 2} {
		if err := f.SetAlias(ctx, f.model, "production", n); err != nil {
			t.Fatal(err)
		}
		if v, err := f.GetAlias(ctx, f.model, "production"); err != nil || v.Number != n {
			t.Errorf("alias set to %d is %d, %v", n, v.Number, err)
		}
	}
	if err := f.SetAlias(ctx, f.model, "previous", 1); err != nil {
		t.Fatal(err)
	}
	if err := f.SetAlias(ctx, f.model, "production", 9); !errors.Is(err, ErrNotFound) {
		t.Errorf("alias to a version that isn't there: got %v", err)
	}
	for range 2 {
		if err := errors.Join(
			f.SetVersionTag(ctx, f.model, 1, "best_model", "true"),
			f.DeleteVersionTag(ctx, f.model, 2, "best_model"),
		); err != nil {
			t.Fatal(err)
		}
	}

	got, err := f.GetVersion(ctx, f.model, 1)
	if err != nil || time.Since(got.Created) > time.Hour || got.Created.IsZero() {
		t.Errorf("got %v, created %v", err, got.Created)
	}
	got.Created = time.Time{}
	want := Version{
		Name: f.model, Number: 1, Source: "runs:/" + f.run.ID + "/model", RunID: f.run.ID, Status: "READY", Description: "d",
		Tags: map[string]string{"candidate": "a", "training_key": "k1", "best_model": "true"}, Aliases: []string{"previous"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for filter, want := range map[string][]int{
		"":                               {2, 1},
		" AND tags.best_model = 'true'":  {1},
		" AND tags.training_key = 'k1'":  {1},
		" AND tags.best_model = 'false'": nil,
	} {
		versions, err := f.SearchVersions(ctx, "name = '"+f.model+"'"+filter, []string{"version_number DESC"}, 0)
		var numbers []int
		for _, v := range versions {
			numbers = append(numbers, v.Number)
		}
		if diff := cmp.Diff(want, numbers); err != nil || diff != "" {
			t.Error(filter, err, diff)
		}
	}
	if v, err := f.SearchVersions(ctx, "name = '"+f.model+"'", []string{"version_number ASC"}, 1); err != nil || len(v) != 1 || v[0].Number != 1 {
		t.Errorf("limit 1: got %v, %v", v, err)
	}
	for range 2 {
		if err := f.DeleteAlias(ctx, f.model, "previous"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.GetAlias(ctx, f.model, "previous"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted alias: got %v", err)
	}
}

func TestServerResolve(t *testing.T) {
	f := newFixture(t, server(t))
	ctx := t.Context()
	var logged struct {
		Model struct {
			Info struct {
				ID string `json:"model_id"`
			}
		}
	}
	in := map[string]any{"experiment_id": f.run.ExperimentID, "name": "lm", "source_run_id": f.run.ID}
	if err := f.post(ctx, "logged-models", in, &logged); err != nil {
		t.Fatal(err)
	}
	id := logged.Model.Info.ID
	inModel := f.run.ExperimentID + "/models/" + id + "/artifacts"
	tests := []struct {
		reason string
		n      NewVersion
		want   string // "! ..." is an error
	}{
		{"as we register", NewVersion{Source: "runs:/" + f.run.ID + "/model", RunID: f.run.ID}, f.root + "/model"},
		{"a run's root", NewVersion{Source: "runs:/" + f.run.ID, RunID: f.run.ID}, f.root},
		{"the artifact's own address", NewVersion{Source: f.run.ArtifactURI + "/model", RunID: f.run.ID}, f.root + "/model"},
		{"a logged model of MLflow 3", NewVersion{Source: "models:/" + id, ModelID: id}, inModel},
		{"a copy of version 1", NewVersion{Source: "models:/" + f.model + "/1"}, f.root + "/model"},
		{"a copy of the copy", NewVersion{Source: "models:/" + f.model + "/5"}, f.root + "/model"},
		{"a bucket", NewVersion{Source: "s3://bucket/model", RunID: f.run.ID}, `! artifacts at "s3://bucket/model" can't be read`},
		{"a run that isn't there", NewVersion{Source: "runs:/0123/model", RunID: "0123"}, "! Run with id=0123 not found"},
	}
	for i, test := range tests {
		test.n.Name = f.model
		v, err := f.CreateVersion(ctx, test.n)
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		if v.Number != i+1 {
			t.Fatalf("%s: version %d, want %d", test.reason, v.Number, i+1)
		}
		got, err := f.ResolveArtifacts(ctx, v)
		if part, bad := strings.CutPrefix(test.want, "! "); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %q, %v, want an error with %q", test.reason, got, err, part)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.reason, got, err, test.want)
		}
	}
}

func TestServerLoggedModel(t *testing.T) {
	f := newFixture(t, server(t))
	ctx := t.Context()
	id, err := f.LogModel(ctx, NewLoggedModel{ExperimentID: f.run.ExperimentID, Name: "one", Type: "classifier", RunID: f.run.ID, Params: map[string]string{"eta": "0.1"}, Tags: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.LogBatch(ctx, f.run.ID, Batch{Metrics: []Metric{{Key: "test_auc", Value: 0.7, LoggedModel: id, Input: "things", Digest: "d"}}}); err != nil {
		t.Fatal(err)
	}
	if run, err := f.GetRun(ctx, f.run.ID); err != nil || !slices.Equal(run.LoggedModels, []string{id}) || run.Metrics["test_auc"] != 0.7 {
		t.Errorf("the run %+v, %v; want the model %s and its figure", run, err, id)
	}
	if runs, err := f.SearchRuns(ctx, []string{f.run.ExperimentID}, "", nil, 0); err != nil || len(runs) != 1 || !slices.Equal(runs[0].LoggedModels, []string{id}) {
		t.Errorf("found %+v, %v", runs, err)
	}
	// A version of the run's files and the entry know of each other; the entry's name is
	// not that of the files' folder, where MLflow would look for them with the entry.
	v := f.version(t, nil)
	for range 2 {
		if err := f.EndLoggedModel(ctx, id, true); err != nil {
			t.Fatal(err)
		}
		if err := f.LinkVersion(ctx, id, v.Name, v.Number, "what it is"); err != nil {
			t.Fatal(err)
		}
	}
	if root, err := f.ResolveArtifacts(ctx, v); err != nil || root != f.root+"/model" {
		t.Errorf("the version's files are at %s, %v; want %s/model", root, err, f.root)
	}
	for range 2 {
		if err := f.DeleteLoggedModel(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if run, err := f.GetRun(ctx, f.run.ID); err != nil || run.Status != Running {
		t.Errorf("the run of a deleted model: %+v, %v", run, err)
	}
}
