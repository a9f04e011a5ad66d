package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

// Lock is a file that one process holds at a time. The kernel releases it when
// the process ends, however it ends; programs that the process started don't
// inherit it.
type Lock struct{ f *os.File }

// HeldError says that another process holds the lock.
type HeldError struct {
	Path string
	By   string // what the holder wrote: "make demo, process 123"
}

func (e *HeldError) Error() string {
	by := e.By
	if by == "" {
		by = "another process"
	}
	return fmt.Sprintf("%s is at work here (it holds %s); wait until it has ended", by, e.Path)
}

// TryLock takes the lock or returns a *HeldError. what names this command to
// whoever finds the lock held.
func TryLock(path, what string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			b := make([]byte, 200)
			n, _ := f.ReadAt(b, 0)
			return nil, &HeldError{Path: path, By: strings.TrimSpace(string(b[:n]))}
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// The text is only for people, so a failure to write it is no reason to stop.
	if f.Truncate(0) == nil {
		fmt.Fprintf(f, "%s, process %d\n", what, os.Getpid())
	}
	return &Lock{f}, nil
}

// lockPoll is the pause between two tries to get a lock.
const lockPoll = 200 * time.Millisecond

// WaitLock takes the lock once no other process holds it. It logs once that it
// waits, and for whom.
func WaitLock(ctx context.Context, log *slog.Logger, path, what string) (*Lock, error) {
	for logged := false; ; logged = true {
		l, err := TryLock(path, what)
		var held *HeldError
		if !errors.As(err, &held) {
			return l, err
		}
		if !logged {
			log.Info("waiting for another process", "holder", held.By, "lock", path)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// Unlock releases the lock.
func (l *Lock) Unlock() error {
	_ = l.f.Truncate(0) // what it says is for people; the lock itself ends with Close
	return l.f.Close()
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
