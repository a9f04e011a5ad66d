//go:build e2e

package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io/fs"
	"net/http"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"mlops/internal/kube"
	"mlops/internal/registry"
)

// predicted is how many records two servers have to answer alike.
const predicted = 1000

// testBackup backs the release up, brings the copy into a release of another
// namespace, with passwords and volumes of its own, and compares the two.
func testBackup(t *testing.T, f *faults) {
	dir := filepath.Join(t.TempDir(), "backups")
	began := time.Now()
	f.m.must(t, nil, "make", "backup", "TO="+dir)
	first := size(t, dir)
	f.m.note(t, "backup of the example", float64(first)/1e6, "MB", "")
	f.m.noteTime(t, "backup of the example", time.Since(began), "")
	f.m.must(t, nil, "make", "backup", "TO="+dir)
	t.Logf("a second backup added %.1f MB to %.1f", float64(size(t, dir)-first)/1e6, float64(first)/1e6)

	f.m.namespace(t, "restored")
	r := f.m.install(t, "restored", "--set", "pipelines.runOnInstall=false,pipelines.schedules.load=,pipelines.schedules.pipeline=", "--wait", "--timeout", "5m")
	began = time.Now()
	f.m.must(t, nil, "make", "restore", "FROM="+dir, "NAMESPACE=restored")
	base := forward(t, r, "inference", 8000)
	view := served(t, base).Model.RunID
	f.m.noteTime(t, "restore of the example, to a served model", time.Since(began), "120 s")
	if production, err := f.registry(t).Production(t.Context()); err != nil || production.RunID != view {
		t.Errorf("run %s is served from the restored release, %s is in production (%v)", view, production.RunID, err)
	}
	if n := checkRows(t, r, f.spec.Name, rows); n.Raw != rows {
		t.Errorf("%d rows were restored, want %d", n.Raw, rows)
	}
	if was, is := versionsOf(t, f.r, f), versionsOf(t, r, f); !reflect.DeepEqual(was, is) {
		t.Errorf("the versions were\n%+v\nand are\n%+v", was, is)
	}
	records := firstRecords(t, f.table, predicted)
	was, is := predictions(t, inference, records), predictions(t, base, records)
	if len(was) == 0 || !bytes.Equal(was, is) {
		t.Errorf("%d records are answered otherwise than before", predicted)
	}
	// The steps can log in, and find that everything is trained: nothing new is made.
	name, err := r.Submit(t.Context(), "after-restore-", "pipeline", map[string]string{"load": "false"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Follow(t.Context(), name, nil); err != nil {
		t.Errorf("the pipeline after the restore: %v", err)
	}
	if was, is := len(versionsOf(t, f.r, f)), len(versionsOf(t, r, f)); was != is {
		t.Errorf("the pipeline after the restore made versions: %d are %d", was, is)
	}
}

func versionsOf(t *testing.T, r *kube.Release, f *faults) []registry.Version {
	t.Helper()
	all, err := registry.New(stepsClient(t, r), f.spec.Model).Versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// size is how many bytes a folder's files have.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// firstRecords returns a table's first rows as the body of a request.
func firstRecords(t *testing.T, table []byte, n int) []byte {
	t.Helper()
	in := csv.NewReader(bytes.NewReader(table))
	header, err := in.Read()
	if err != nil {
		t.Fatal(err)
	}
	var records []map[string]string
	for len(records) < n {
		row, err := in.Read()
		if err != nil {
			t.Fatal(err)
		}
		record := map[string]string{}
		for i, name := range header {
			record[name] = row[i]
		}
		records = append(records, record)
	}
	text, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// predictions are the predictions for a body, as the server writes them.
func predictions(t *testing.T, base string, records []byte) json.RawMessage {
	t.Helper()
	resp, err := http.Post(base+"/predict", "application/json", bytes.NewReader(records))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Predictions json.RawMessage }
	if err := json.Unmarshal([]byte(body(t, resp)), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Predictions
}
