package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TryLock(path, "make demo")
	if err != nil {
		t.Fatal(err)
	}
	_, err = TryLock(path, "make demo-down")
	var held *HeldError
	if !errors.As(err, &held) || !strings.Contains(err.Error(), fmt.Sprintf("make demo, process %d", os.Getpid())) {
		t.Errorf("second lock: got %v, want a HeldError that names the holder", err)
	}
	// What a holder starts doesn't keep the lock.
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = TryLock(path, "make demo")
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	l.Unlock()
}

func TestLockOfAKilledHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PLAY=hold", "LOCK="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 5))
	if _, err := TryLock(path, "x"); err == nil {
		t.Error("while the holder lives: got the lock")
	}
	cmd.Process.Kill()
	cmd.Wait()
	l, err := TryLock(path, "x")
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	l.Unlock()
}
