package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadSchedules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if list, err := readSchedules(dir); err != nil || list != nil {
		t.Errorf("of an empty folder: %v, %v", list, err)
	}
	for name, text := range map[string]string{"schedules": "pipeline 0 3 * * *\nload-raw-data @every 6h\nbackup 61 * * * *\n\n", "timezone": "Europe/Zurich\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := readSchedules(dir)
	if err == nil || !strings.Contains(err.Error(), "schedule of backup") {
		t.Errorf("error %v, want one of the backup's schedule", err)
	}
	if len(list) != 2 || list[0].Workflow != "pipeline" || list[1].Workflow != "load-raw-data" {
		t.Fatalf("schedules %+v", list)
	}
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	if got, want := list[0].Next(at).UTC(), at.Add(time.Hour); !got.Equal(want) { // 3:00 in summer there
		t.Errorf("the pipeline is due at %v, want %v", got, want)
	}
	if got := list[1].Next(at).Sub(at); got != 6*time.Hour {
		t.Errorf("the load is due after %v", got)
	}
}
