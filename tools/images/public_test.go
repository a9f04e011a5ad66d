package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"mlops/internal/versions"
)

// Other people's images are built where their public ones don't answer.
func TestUnpullable(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	here := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(here + "/library/postgres:" + versions.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	// Of the architecture that is asked for.
	picture, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, picture); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(projectFolder(t), "charts", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	values := strings.NewReplacer("docker.io", here, "quay.io", "127.0.0.1:1").Replace(string(text))
	if err := os.MkdirAll(filepath.Join(root, "charts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "charts", "values.yaml"), []byte(values), 0o644); err != nil {
		t.Fatal(err)
	}
	var all []*recipe
	for n := range valuesPaths {
		all = append(all, &recipe{name: n})
	}
	for _, tt := range []struct {
		others  string
		without string
		want    int
	}{
		{othersBuild, "", len(all)},
		{othersPublic, "", 0},
		{othersAuto, "postgres", len(all) - 1},
	} {
		b, said := testBuilder(t, root)
		b.others = tt.others
		got, err := b.unpullable(t.Context(), all)
		if err != nil || len(got) != tt.want {
			t.Errorf("-others %s: %d of %d are built, %v", tt.others, len(got), len(all), err)
		}
		for _, r := range got {
			if r.name == tt.without {
				t.Errorf("-others %s: %s is built, and could be pulled", tt.others, r.name)
			}
		}
		if tt.without != "" && !strings.Contains(said.String(), fmt.Sprintf("the cluster pulls %s/library/postgres:%s", here, versions.Postgres)) {
			t.Errorf("-others %s: said %s", tt.others, said)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "charts", "values.yaml"), []byte("postgres: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, _ := testBuilder(t, root)
	b.others = othersAuto
	if _, err := b.unpullable(t.Context(), all); err == nil {
		t.Error("no error for values without images")
	}
}
