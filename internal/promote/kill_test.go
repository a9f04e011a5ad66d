package promote_test

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/train"
)

// What a child of TestKilled does, and for which spec; see TestMain.
const (
	envChild = "MLOPS_TEST_CHILD"
	envSpec  = "MLOPS_TEST_SPEC"
)

// TestMain lets the test binary stand for the programs that are killed: a child
// trains all candidates, or runs the gate.
func TestMain(m *testing.M) {
	what := os.Getenv(envChild)
	if what == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), what); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func child(ctx context.Context, what string) error {
	w, err := connectWorld()
	if err != nil {
		return err
	}
	s, err := dataset.Parse([]byte(os.Getenv(envSpec)))
	if err != nil {
		return err
	}
	if what == "promote" {
		_, err := promote.Run(ctx, promote.Config{Spec: s, DataDigest: digest, Rows: w.rows(s),
			Registry: registry.New(w.client, s.Model), Log: quiet()})
		return err
	}
	for _, c := range s.Candidates {
		if _, err := train.Run(ctx, w.config(s, c.Name)); err != nil {
			return err
		}
	}
	return nil
}

// killAndRepeat runs a child several times, each time killed after a longer
// while, and at last to its end. It returns how often it was killed.
func killAndRepeat(t *testing.T, what, spec string, whole time.Duration) (kills int) {
	t.Helper()
	const times = 8
	for i := 0; ; i++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envChild+"="+what, envSpec+"="+spec)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i < times {
			after := time.Duration((float64(i) + rand.Float64()) / times * float64(whole))
			timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
			defer timer.Stop()
		}
		err := cmd.Wait()
		if err == nil {
			return kills
		}
		if i >= times || cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("%s failed by itself: %v", what, err)
		}
		kills++
	}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	start := time.Now()
	other := w.spec("Sex of a penguin", "A run to see how long it takes")
	w.trainAll(other)
	kills := killAndRepeat(t, "train", w.text, time.Since(start))
	t.Logf("training was killed %d times", kills)
	reg := registry.New(w.client, s.Model)
	versions, err := reg.Trained(t.Context(), registry.Training(s, digest))
	if err != nil {
		t.Fatal(err)
	}
	candidates := map[string]int{}
	for _, v := range versions {
		candidates[v.Candidate]++
		if _, err := reg.Load(t.Context(), v); err != nil {
			t.Errorf("version %d: %v", v.Number, err)
		}
	}
	for _, c := range s.Candidates {
		if candidates[c.Name] != 1 {
			t.Errorf("candidate %s has %d versions, want 1", c.Name, candidates[c.Name])
		}
	}

	// The gate, with another version in production before.
	w.promote(other)
	start = time.Now()
	w.promote(other)
	better := w.spec("rounds: 300", "rounds: 301")
	w.trainAll(better)
	kills = killAndRepeat(t, "promote", string(better.Text()), time.Since(start))
	t.Logf("promotion was killed %d times", kills)
	v, err := w.client.GetAlias(t.Context(), s.Model, registry.Production)
	if err != nil {
		t.Fatal(err)
	}
	w.consistent(s, v.Number)
}
