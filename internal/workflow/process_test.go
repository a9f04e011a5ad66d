package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"mlops/internal/progress"
)

func TestCancelEndsTheChildren(t *testing.T) {
	for _, test := range []struct {
		why, action string
		grace       time.Duration
	}{
		{"a step that ends on SIGTERM", "hang", 20 * time.Second},
		{"one that does not is killed", "stubborn", 100 * time.Millisecond},
	} {
		t.Run(test.why, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			o := options(t, load(t, fmt.Sprintf(oneStep, `[`+test.action+`, `+file+`]`)))
			o.Grace = test.grace
			ctx, cancel := context.WithCancelCause(context.Background())
			enough := errors.New("enough")
			var one, two int
			go func() {
				one, two = pids(file)
				cancel(enough)
			}()
			got, err := Run(ctx, o)
			if !errors.Is(err, enough) {
				t.Errorf("error is %v, want the cause %v", err, enough)
			}
			if got.Tasks[0].State != progress.Failed || got.Tasks[0].Tries != 1 {
				t.Errorf("the task is %s after %d tries", got.Tasks[0].State, got.Tasks[0].Tries)
			}
			for _, pid := range []int{one, two} {
				if !gone(pid) {
					t.Errorf("process %d still runs", pid)
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		})
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	if _, err := Run(context.Background(), options(t, load(t, fmt.Sprintf(oneStep, `[leaves, `+file+`]`)))); err != nil {
		t.Fatal(err)
	}
	if _, child := pids(file); !gone(child) {
		t.Errorf("process %d outlived its step", child)
		syscall.Kill(child, syscall.SIGKILL)
	}
}

func TestChildrenDieWithTheRunner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process that its parent was killed")
	}
	file := filepath.Join(t.TempDir(), "pids")
	dir := manifests(t, map[string]string{"w": fmt.Sprintf(oneStep, `[stubborn, `+file+`]`)})
	o := options(t, nil)
	self, _ := o.Program("test/step:dev")
	runner := exec.Command(self, "runner", dir, o.LogDir)
	runner.Env = o.Env
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	one, two := pids(file)
	defer syscall.Kill(two, syscall.SIGKILL) // the step's own child is the step's affair
	runner.Process.Kill()
	runner.Wait()
	if !gone(one) {
		t.Errorf("process %d outlived the runner", one)
		syscall.Kill(one, syscall.SIGKILL)
	}
}

// pids waits for a step to write its own and its child's process id.
func pids(file string) (one, two int) {
	for {
		if text, err := os.ReadFile(file); err == nil {
			fmt.Sscan(string(text), &one, &two)
			return one, two
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// gone reports whether a process has ended; one that nobody has waited for yet
// has ended too.
func gone(pid int) bool {
	for range 500 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
