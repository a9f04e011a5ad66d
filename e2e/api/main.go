// Command api has schemathesis ask the servers of a running demo what their OpenAPI
// documents allow, and what they don't. It fails where a response is not as the document
// says, where something invalid is accepted, and where the server fails. That everything
// valid is accepted is not checked: a schema can't say which texts are numbers in a
// column's range, or which CSV has the right columns. Then Triton's client, of the Open
// Inference Protocol, scores the servers' samples. `make e2e-api` runs it around demos of
// its own, one per task.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	var base string
	var seconds, seed int
	err := program.Flags(os.Args[1:], func(f *flag.FlagSet) {
		f.StringVar(&base, "url", "", "the server; by default each of those in MLOPS_HOME")
		f.IntVar(&seconds, "seconds", 120, "time per server")
		f.IntVar(&seed, "seed", 1, "the same requests for the same number")
	})
	if err != nil {
		return err
	}
	home, err := program.Env("MLOPS_HOME")
	if err != nil {
		return err
	}
	state, err := local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ())
	if err != nil {
		return err
	}
	servers := []string{base}
	if base == "" {
		running, err := state.Running("inference-")
		if err != nil {
			return err
		}
		if servers = slices.Sorted(maps.Values(running)); len(servers) == 0 {
			return program.Inputf("no demo runs in %s; make demo starts one", state.Dir)
		}
	}
	key, err := state.APIKey(false)
	if err != nil {
		return err
	}
	root, err := prepare.Root()
	if err != nil {
		return err
	}
	py, err := prepare.FindPython(ctx, prepare.Pythons(os.Getenv("PYTHON")))
	if err != nil {
		return err
	}
	venv, err := state.Venv(ctx, log, py, filepath.Join(root, "e2e", "api", "requirements.txt"))
	if err != nil {
		return err
	}
	for _, server := range servers {
		args := []string{"run", server + "/openapi.json", "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-time", strconv.Itoa(seconds), "--seed", strconv.Itoa(seed),
			"--continue-on-failure", "--no-color", "--warnings", "off"}
		if key != "" {
			args = append(args, "--header", "X-API-Key: "+key)
		}
		cmd := exec.CommandContext(ctx, filepath.Join(venv.Bin(), "schemathesis"), args...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Dir = home // it leaves a folder for replays
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("schemathesis of %s: %w", server, err)
		}
		client := exec.CommandContext(ctx, filepath.Join(venv.Bin(), "python"), filepath.Join(root, "e2e", "api", "client.py"), server)
		client.Stdout, client.Stderr = os.Stdout, os.Stderr
		client.Env = append(os.Environ(), "API_KEY="+key)
		if err := client.Run(); err != nil {
			return fmt.Errorf("tritonclient of %s: %w", server, err)
		}
	}
	return nil
}
