package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/mlflow"
)

// recorded is an MLflow that has one version in production and writes down what
// is changed.
type recorded struct {
	production string // the response to a question for the alias; empty: none
	previous   string // the same for the alias previous
	best       string // the versions with the tag best_model
	changes    []string
}

func (s *recorded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := strings.TrimPrefix(r.URL.Path, "/api/2.0/mlflow/")
	switch {
	case r.Method == http.MethodGet && call == "registered-models/alias":
		version := map[string]string{Production: s.production, Previous: s.previous}[r.URL.Query().Get("alias")]
		if version == "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error_code":"INVALID_PARAMETER_VALUE","message":"not found"}`)
			return
		}
		fmt.Fprintf(w, `{"model_version":%s}`, version)
	case call == "model-versions/search":
		fmt.Fprintf(w, `{"model_versions":[%s]}`, s.best)
	default:
		var in map[string]any
		json.NewDecoder(r.Body).Decode(&in)
		change := r.Method + " " + call
		for _, k := range []string{"run_id", "alias", "version", "key", "value", "tags"} {
			if v, ok := in[k]; ok {
				change += fmt.Sprint(" ", v)
			}
		}
		s.changes = append(s.changes, change)
		fmt.Fprint(w, `{}`)
	}
}

func (s *recorded) registry(t *testing.T) *Registry {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := mlflow.New(server.URL, mlflow.Options{Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return New(client, "m")
}

// mlflowVersion is MLflow's JSON of a version with tags by turns of key and value.
func mlflowVersion(number int, tags ...string) string {
	var list []string
	for i := 0; i < len(tags); i += 2 {
		list = append(list, fmt.Sprintf(`{"key":%q,"value":%q}`, tags[i], tags[i+1]))
	}
	return fmt.Sprintf(`{"name":"m","version":"%d","run_id":"r%d","tags":[%s]}`, number, number, strings.Join(list, ","))
}

func TestRepair(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, production, best string
		want                   []string
	}{
		{"nothing in production", "", "", nil},
		{"nothing in production but a tag", "", mlflowVersion(1, TagBest, "true"), []string{
			"POST model-versions/set-tag 1 outcome replaced", "DELETE model-versions/delete-tag 1 best_model"}},
		{"all agrees", mlflowVersion(2, TagBest, "true"), mlflowVersion(2, TagBest, "true"), nil},
		{"a promotion that was killed after the alias", mlflowVersion(2, TagReplaces, "1"), mlflowVersion(1, TagBest, "true"), []string{
			"POST model-versions/set-tag 1 outcome replaced", "DELETE model-versions/delete-tag 1 best_model",
			"POST model-versions/set-tag 2 best_model true", "POST registered-models/alias previous 1"}},
	} {
		s := &recorded{production: test.production, best: test.best}
		v, err := s.registry(t).Repair(t.Context())
		if test.production == "" && !errors.Is(err, ErrNoVersion) || test.production != "" && (err != nil || v.Number != 2 || !v.Best) {
			t.Errorf("%s: version %+v, %v", test.name, v, err)
		}
		if diff := cmp.Diff(test.want, s.changes); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", test.name, diff)
		}
	}
}

// The first version replaced none: after a rollback to it, previous names nothing.
func TestRepairRemovesPrevious(t *testing.T) {
	t.Parallel()
	for previous, want := range map[string][]string{
		"":               nil,
		mlflowVersion(1): nil,
		mlflowVersion(2): {"DELETE registered-models/alias previous"},
	} {
		s := &recorded{production: mlflowVersion(2, TagBest, "true"), previous: previous, best: mlflowVersion(2, TagBest, "true")}
		if _, err := s.registry(t).Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, s.changes); diff != "" {
			t.Errorf("previous %q: changes (-want +got):\n%s", previous, diff)
		}
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	next := Version{Name: "m", Number: 2, RunID: "r2"}
	s := &recorded{production: mlflowVersion(1, TagBest, "true")}
	if err := s.registry(t).Promote(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	want := []string{"POST model-versions/set-tag 2 replaces 1", "POST registered-models/alias production 2"}
	if diff := cmp.Diff(want, s.changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	s = &recorded{production: mlflowVersion(2)}
	if err := s.registry(t).Promote(t.Context(), next); err != nil || len(s.changes) > 0 {
		t.Errorf("the one in production again: %v, changes %v, want none", err, s.changes)
	}
}

func TestNote(t *testing.T) {
	t.Parallel()
	why := "not promoted: 0.6"
	full := []string{
		"POST runs/log-batch r2 [map[key:mlflow.note.content value:**Decision:** not promoted: 0.6.] map[key:outcome value:lost] map[key:promotion value:not promoted: 0.6]]",
		"PATCH model-versions/update 2",
		"POST model-versions/set-tag 2 promotion not promoted: 0.6",
		"POST model-versions/set-tag 2 outcome lost",
	}
	for _, test := range []struct {
		name string
		v    Version
		want []string
	}{
		{"for the first time", Version{}, full},
		{"once more", Version{Outcome: Lost, Reason: why, noted: true}, nil},
		{"with another reason", Version{Outcome: Lost, Reason: "another", noted: true}, full},
		{"with another outcome", Version{Outcome: Promoted, Reason: why, noted: true}, full},
		{"of before there was the tag", Version{Outcome: Lost, Reason: why}, full},
	} {
		test.v.Name, test.v.Number, test.v.RunID = "m", 2, "r2"
		s := &recorded{}
		if err := s.registry(t).Note(t.Context(), test.v, Lost, why); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, s.changes); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", test.name, diff)
		}
	}
	s := &recorded{}
	if err := s.registry(t).Note(t.Context(), Version{Number: 2, RunID: "r2"}, Refused, strings.Repeat("ä", 2*maxReason)); err != nil {
		t.Errorf("a long reason: %v", err)
	}
}
