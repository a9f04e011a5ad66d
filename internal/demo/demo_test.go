package demo

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/local"
	"mlops/internal/program"
)

func TestImageName(t *testing.T) {
	for _, tt := range []struct{ image, want, why string }{
		{"mlops.local/train-model:1.2.3", "train-model", "as the manifests have it"},
		{"train-model", "train-model", "neither registry nor tag"},
		{"host:5000/a/ui@sha256:00ff", "ui", "a port before, a digest behind"},
	} {
		if got := imageName(tt.image); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}

func TestStopOrder(t *testing.T) {
	names := []string{"inference-a", "mlflow", "minio", "postgres", "ui-a"}
	slices.SortStableFunc(names, func(a, b string) int { return needed(a) - needed(b) })
	want := []string{"ui-a", "inference-a", "mlflow", "minio", "postgres"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("those that need others first (-want +got):\n%s", diff)
	}
}

func TestDownRefusesUnknownPurge(t *testing.T) {
	c := &Config{Purge: "yes", State: &local.State{Dir: t.TempDir()}}
	err := Down(c, &strings.Builder{})
	if err == nil || program.Code(err) != program.BadInput {
		t.Errorf("PURGE=yes: got %v, want a refusal as bad input", err)
	}
}
