package workflow

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the program of the tests' containers too.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_STEP") != "" {
		os.Exit(step(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// step is what a container of the tests does, by its first argument.
func step(args []string) int {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	output := func(name, value string) int {
		if err := os.WriteFile(filepath.Join(os.Getenv("MLOPS_OUTPUTS"), name), []byte(value), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	note := func(file, text string) {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.WriteString(text)
			f.Close()
		}
		if err != nil {
			panic(err)
		}
	}
	switch arg(0) {
	case "ok":
		return 0
	case "write": // NAME VALUE
		return output(arg(1), arg(2)+"\n")
	case "env": // NAME
		return output("value", os.Getenv(arg(1)))
	case "args":
		return output("value", strings.Join(args[1:], "|"))
	case "exit": // CODE
		var code int
		fmt.Sscan(arg(1), &code)
		fmt.Fprintln(os.Stderr, `{"time":"2026-01-02T15:04:05Z","level":"ERROR","msg":"it broke","line":7}`)
		return code
	case "log":
		fmt.Println("plain text")
		fmt.Fprintln(os.Stderr, `{"level":"INFO","msg":"progress","done":3,"total":10,"unit":"rows"}`)
		fmt.Fprint(os.Stderr, "no end of line")
		return 0
	case "note": // FILE TEXT
		note(arg(1), arg(2)+"\n")
		return 0
	case "flaky": // FILE CODE: fails twice
		note(arg(1), "x")
		tries, err := os.ReadFile(arg(1))
		if err != nil {
			return 1
		}
		if len(tries) < 3 {
			if arg(2) == "panic" {
				panic("a bug")
			}
			var code int
			fmt.Sscan(arg(2), &code)
			return code
		}
		return 0
	case "meet": // FOLDER N NAME: ends when N of them run at once
		if err := os.WriteFile(filepath.Join(arg(1), arg(3)), nil, 0o644); err != nil {
			return 1
		}
		for range 3000 {
			here, _ := os.ReadDir(arg(1))
			if fmt.Sprint(len(here)) == arg(2) {
				return 0
			}
			time.Sleep(10 * time.Millisecond)
		}
		return 3
	case "alone": // FILE: fails where another one runs
		f, err := os.OpenFile(arg(1), os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return 3
		}
		time.Sleep(50 * time.Millisecond)
		f.Close()
		os.Remove(arg(1))
		return 0
	case "runner": // MANIFESTS LOGS
		set, err := Load(arg(1))
		if err != nil {
			return 1
		}
		program := func(string) (string, bool) { return os.Args[0], true }
		_, err = Run(context.Background(), Options{Set: set, Workflow: "w", LogDir: arg(2), Program: program, Env: os.Environ()})
		if err != nil {
			return 1
		}
		return 0
	case "killed":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "leaves": // FILE: ends well and leaves a child behind that has its log open
		child := exec.Command("sleep", "60")
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			return 1
		}
		note(arg(1), fmt.Sprintf("%d %d", os.Getpid(), child.Process.Pid))
		return 0
	case "hang", "stubborn": // FILE: writes its own and its child's process id
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		child := exec.Command("sleep", "60")
		if err := child.Start(); err != nil {
			return 1
		}
		note(arg(1)+".part", fmt.Sprintf("%d %d", os.Getpid(), child.Process.Pid))
		os.Rename(arg(1)+".part", arg(1))
		enough := time.After(time.Minute) // so that a test that fails leaves nothing behind for long
		for {
			select {
			case <-term:
				if arg(0) == "hang" {
					return 0
				}
			case <-enough:
				return 1
			}
		}
	}
	return 1
}

const argoHead = `apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata:
  name: %s
spec:
`

// manifests writes workflows to a new folder; each is a spec, by its name.
func manifests(t *testing.T, specs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, spec := range specs {
		var indented strings.Builder
		for _, line := range strings.Split(strings.TrimRight(spec, "\n"), "\n") {
			indented.WriteString("  " + line + "\n")
		}
		text := fmt.Sprintf(argoHead, name) + indented.String()
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads one workflow named "w".
func load(t *testing.T, spec string) *Set {
	t.Helper()
	set, err := Load(manifests(t, map[string]string{"w": spec}))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// options are those of a run of "w" with the test binary as every program.
func options(t *testing.T, set *Set) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Set: set, Workflow: "w", LogDir: t.TempDir(), Parallel: 4, Grace: 20 * time.Second,
		Program: func(image string) (string, bool) { return self, image == "test/step:dev" },
		// Under the race detector a program sleeps for a second at its end.
		Env: []string{"TEST_STEP=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH")},
	}
}

// states is "name: state" of each task, in order.
func states(r Result) []string {
	var all []string
	for _, t := range r.Tasks {
		all = append(all, t.Name+": "+string(t.State))
	}
	return all
}
