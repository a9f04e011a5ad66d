package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/program"
	"mlops/loadtest"
)

// A shape by flags sends what they say, writes its files, and a threshold that is not met
// is an error that no other try mends.
func TestShape(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPut || r.Header.Get("X-Team") != "risk" || !strings.Contains(string(text), `{"of":"7"}`) {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	log, dir := slog.New(slog.DiscardHandler), t.TempDir()
	records, data, page := filepath.Join(dir, "r.csv"), filepath.Join(dir, "r.json"), filepath.Join(dir, "r.html")
	if err := os.WriteFile(records, []byte("age\n7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-url", server.URL + "/score", "-method", "PUT", "-header", "X-Team: risk", "-records", records, "-body", `{"of":{{age}}}`,
		"-shape", "steps", "-level", "5", "-duration", "1s", "-max-errors", "0.01", "-json", data, "-html", page}
	if err := shape(t.Context(), log, args); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := loadtest.ReadResult(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Segments) != 5 || r.Total.Failed > 0 || r.Total.Requests == 0 {
		t.Errorf("%d steps, %d of %d failed: %v", len(r.Segments), r.Total.Failed, r.Total.Requests, r.Causes)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "at most 1 % failed requests") {
		t.Errorf("the page: %v", err)
	}
	for name, args := range map[string][]string{
		"a threshold that is not met": append(args[:len(args):len(args)], "-p99", "1ns"),
		"an unknown shape":            {"-shape", "round"},
		"no duration":                 {"-duration", "0s"},
		"a header without a name":     {"-header", "x"},
		"think time at a rate":        {"-url", server.URL, "-model", "rate", "-think", "1s"},
	} {
		if err := shape(t.Context(), log, args); program.Code(err) != program.BadInput {
			t.Errorf("%s: %v", name, err)
		}
	}
}
