package serve

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The curl commands of docs/serving.md are run as they stand there: each gets predictions
// for its two records, or for its one.
func TestCurlExamples(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("SKIPPED, NOT PASSED: no curl")
	}
	page, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := serving(t, 1)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	dir := t.TempDir()
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	table := "size,kind\n3,2\n1,\n"
	for name, text := range map[string]string{
		"my.csv": table, "my.csv.zst": string(packer.EncodeAll([]byte(table), nil)), "my.jsonl": "{\"size\": 3, \"kind\": \"2\"}\n{\"size\": 1}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for _, command := range regexp.MustCompile(`(?m)^curl `).Split(block[1], -1)[1:] {
			asked++
			command = strings.ReplaceAll(strings.TrimSpace(command), "localhost:8000", server.Listener.Addr().String())
			cmd := exec.CommandContext(ctx, "sh", "-c", curl+" -sS --fail-with-body "+command)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			answer := string(out)
			switch {
			case err != nil:
				t.Errorf("curl %s: %v: %s", command, err, out)
			case strings.Contains(command, "text/csv") && strings.Count(answer, "\n") != 3,
				strings.Contains(command, "x-ndjson") && strings.Count(answer, `"probability"`) != 2,
				strings.Contains(command, "/invocations") && strings.Count(answer, `"probability"`) != 2,
				strings.Contains(command, "/infer") && !strings.Contains(answer, `"shape":[2,1]`),
				strings.Contains(command, "explain") && !strings.Contains(answer, `"contributions"`):
				t.Errorf("curl %s: got %s", command, out)
			}
		}
	}
	if asked < 6 {
		t.Errorf("the page has %d commands with curl, want at least 6", asked)
	}
}
