package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// askMLflow has MLflow's own client ask a server, and prints what it gets.
const askMLflow = `
import json, sys
import numpy, pandas
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port = sys.argv[1].split(":")
client = ScoringServerClient(host, port)
client.ping()
table = pandas.DataFrame({"size": [3.0, 9.0, numpy.nan, numpy.nan], "count": [1, None, 7, None], "kind": ["2", "77", None, None], "odd name": ['é"', None, None, None]})
out = {"version": client.get_version()}
answer = client.invoke(table).get_predictions().astype(object)
out["table"] = answer.where(answer.notna(), None).to_dict(orient="records")
try:
    client.invoke(pandas.DataFrame({"size": [-1.0]}))
except Exception as e:
    out["error"] = str(e)
print(json.dumps(out))
`

// MLflow's client sends a pandas table, with NaN for what is missing, and reads the
// response.
func TestMLflowClient(t *testing.T) {
	t.Parallel()
	venv := os.Getenv("MLOPS_VENV")
	if venv == "" {
		t.Skip("NOT ASKED BY MLFLOW'S CLIENT: MLOPS_VENV, a virtual environment with MLflow, is not set")
	}
	s, _ := serving(t, 1)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	address := server.Listener.Addr().(*net.TCPAddr).String()
	cmd := exec.CommandContext(ctx, filepath.Join(venv, "bin", "python"), "-c", askMLflow, address)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got struct {
		Version string
		Table   []map[string]any
		Error   string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := predict(t, s, mixed).Predictions
	if len(got.Table) != len(want) || got.Version == "" {
		t.Fatalf("%s", out)
	}
	for i, p := range want {
		if p.Excluded != "" {
			if got.Table[i]["excluded"] != p.Excluded || got.Table[i]["probability"] != nil {
				t.Errorf("record %d: %v, want %+v", i, got.Table[i], p)
			}
			continue
		}
		if diff := cmp.Diff([]any{float64(p.Label), p.Probability}, []any{got.Table[i]["label"], got.Table[i]["probability"]}); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
	if !strings.Contains(got.Error, "record 0, size") {
		t.Errorf("the client's error is %q", got.Error)
	}
}

// TestMLServer compares with what MLServer 1.7.1 answers for a model of the same
// columns: each member that it has, we have, and of the same type. The files were made
// by running it, with a model that decodes pandas' tables.
func TestMLServer(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	for file, ours := range map[string]*httptest.ResponseRecorder{
		"server": ask(s, http.MethodGet, "/v2", ""),
		"model":  ask(s, http.MethodGet, "/v2/models/tiny", ""),
		"infer":  send(s, "/v2/models/tiny/infer", `{"id":"x","inputs":[{"name":"size","shape":[2,1],"datatype":"FP64","data":[3,1]},{"name":"kind","shape":[2,1],"datatype":"BYTES","data":["2","1"]}]}`),
		"absent": ask(s, http.MethodGet, "/v2/models/other", ""),
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "mlserver", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ours.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		hasMembers(t, file, got, want)
	}
}

// hasMembers checks that a JSON value has the members of another one, apart from
// parameters, which are optional.
func hasMembers(t *testing.T, where string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		has, _ := got.(map[string]any)
		for name, value := range want {
			if name == "parameters" {
				continue
			}
			if has[name] == nil {
				t.Errorf("%s: no member %q in %v", where, name, got)
				continue
			}
			hasMembers(t, where+"."+name, has[name], value)
		}
	case []any:
		has, ok := got.([]any)
		if !ok {
			t.Errorf("%s is %v, want an array", where, got)
		} else if len(want) > 0 && len(has) > 0 {
			hasMembers(t, where+"[0]", has[0], want[0])
		}
	default:
		if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
			t.Errorf("%s is %v, want something like %v", where, got, want)
		}
	}
}
