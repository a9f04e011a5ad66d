package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// restartsEnv tells a supervised child how often its predecessors died, and that
// descriptor 3 is its socket.
const restartsEnv = "MLOPS_SUPERVISED_RESTARTS"

// A child that dies before it has run for minUptime ends the program, so that whoever
// started it may wait before the next attempt. If a signal killed it, this holds from the
// third such child in a row on.
const (
	minUptime = 10 * time.Second
	maxKilled = 3
)

// Listen listens on a TCP address. In a child of Supervise it takes over the parent's
// socket instead, and reports how often the child's predecessors died.
func Listen(address string) (l net.Listener, restarts int, err error) {
	if !Supervised() {
		l, err = net.Listen("tcp", address)
		return l, 0, err
	}
	if restarts, err = strconv.Atoi(os.Getenv(restartsEnv)); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", restartsEnv, err)
	}
	socket := os.NewFile(3, "socket")
	defer socket.Close() // the listener has a copy
	l, err = net.FileListener(socket)
	return l, restarts, err
}

// Supervised reports whether this process is a child of Supervise.
func Supervised() bool { _, ok := os.LookupEnv(restartsEnv); return ok }

// Supervise keeps a listening socket and runs this program again as a child that
// accepts from it. If the child is killed or crashes, another one follows at once;
// clients that connect in between wait in the socket's queue instead of being refused.
//
// It returns when the context ends and the child, which gets SIGTERM, has ended; and
// when children end soon without being told to, see minUptime.
func Supervise(ctx context.Context, log *slog.Logger, address string) error {
	return supervise(ctx, log, address, minUptime)
}

func supervise(ctx context.Context, log *slog.Logger, address string, minUptime time.Duration) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer socket.Close()
	// From then on the child alone decides how long connections are taken.
	defer context.AfterFunc(ctx, func() { l.Close(); socket.Close() })()
	killed := 0 // children in a row, before they had run for long
	for restarts := 0; ; restarts++ {
		began := time.Now()
		err := child(ctx, log, socket, restarts)
		ran := time.Since(began)
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		if ran >= minUptime {
			killed = 0
		} else if killed++; !signalled(err) || killed >= maxKilled {
			return fmt.Errorf("the server ended after %s: %w", ran.Round(time.Millisecond), err)
		}
		log.Error("the server died and is started again", "ran", ran.Round(time.Second).String(), "reason", err.Error(), "restarts", restarts+1)
	}
}

// signalled reports whether a signal killed the child.
func signalled(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// child runs the program with the socket until it ends. An error says how it ended
// otherwise than with code 0.
func child(ctx context.Context, log *slog.Logger, socket *os.File, restarts int) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), restartsEnv+"="+strconv.Itoa(restarts))
	cmd.SysProcAttr = dieWithParent()
	// On Linux the parent is the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			log.Error("the server can't be told to end", "error", err)
		}
	})
	defer stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == BadInput {
		return Input(err) // it has said why; a panic ends with the same code
	}
	return err
}
