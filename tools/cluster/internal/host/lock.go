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

// Lock is a file that one process at a time holds. The kernel lets go of it when
// the process ends, however it ends.
type Lock struct{ f *os.File }

// WaitLock takes the lock, waiting for whoever holds it. what names the command
// for those who meet the lock.
func WaitLock(ctx context.Context, log *slog.Logger, path, what string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	for said := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !said {
			b := make([]byte, 200)
			n, _ := f.ReadAt(b, 0)
			log.Info("waiting for another command", "it", strings.TrimSpace(string(b[:n])), "holds", path)
			said = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	// The text is for people only; that it could not be written is no reason to stop.
	if f.Truncate(0) == nil {
		fmt.Fprintf(f, "%s, process %d\n", what, os.Getpid())
	}
	return &Lock{f}, nil
}

// Unlock lets go of the lock.
func (l *Lock) Unlock() error {
	l.f.Truncate(0)
	return l.f.Close()
}
