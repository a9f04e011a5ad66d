package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// remote is a place that can be read from any byte on.
type remote interface {
	// read opens the bytes from offset on. version is what an earlier read
	// returned; where the place has another one by now, or can't start at
	// offset, the bytes come from 0 instead, as part.from says.
	read(ctx context.Context, offset int64, version string) (part, error)
}

// part is one answer of a remote.
type part struct {
	body    io.ReadCloser
	from    int64  // the first byte's place
	size    int64  // of the whole, -1 where unknown
	version string // names this very content; empty where the place has no name for it
}

// permanent marks an error of a remote that another try can't help.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// download copies a remote source to a file that nobody else sees. A try that
// breaks off goes on where it stopped, if the content is still the same.
func (t *Table) download(ctx context.Context, from remote, opts *Options) error {
	f, err := temporary(opts.TempDir)
	if err != nil {
		return err
	}
	t.file, t.private = f, true
	c := &copier{from: from, to: f, opts: opts, source: t.Source}
	wait := opts.Wait
	for try := 1; ; try++ {
		err := c.try(ctx)
		var p permanent
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &p):
			return t.wrong(p.error)
		case c.local != nil:
			return fmt.Errorf("copying %s: %w", t.Source, c.local)
		case try >= opts.Tries:
			return fmt.Errorf("reading %s, %d times tried: %w", t.Source, try, err)
		}
		opts.Logger.Warn("source broke off, trying again", "source", t.Source, "try", try, "of", opts.Tries,
			"bytes", c.done, "wait", wait.String(), "error", err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// copier is a download under way.
type copier struct {
	from    remote
	to      *os.File
	opts    *Options
	source  string
	done    int64
	version string
	local   error // writing failed: not the remote's fault
	logged  time.Time
}

// try reads on from where the last try stopped. A remote that stops sending
// would hold a read for ever: a timer that each read resets ends it.
func (c *copier) try(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := fmt.Errorf("nothing came for %s", c.opts.Idle)
	idle := time.AfterFunc(c.opts.Idle, func() { cancel(silent) })
	defer idle.Stop()
	err := c.read(ctx, idle)
	if err != nil && context.Cause(ctx) == silent {
		return silent
	}
	return err
}

func (c *copier) read(ctx context.Context, idle *time.Timer) error {
	if c.version == "" {
		c.done = 0
	}
	p, err := c.from.read(ctx, c.done, c.version)
	if err != nil {
		return err
	}
	defer p.body.Close()
	if p.size > c.opts.MaxBytes {
		return permanent{fmt.Errorf("has %d bytes, more than the limit of %d", p.size, c.opts.MaxBytes)}
	}
	c.done, c.version = p.from, p.version
	if err := c.to.Truncate(c.done); err != nil {
		c.local = err
		return err
	}
	if c.logged.IsZero() {
		c.logged = time.Now()
	}
	buf := make([]byte, 128<<10)
	for {
		n, err := p.body.Read(buf)
		idle.Reset(c.opts.Idle)
		if c.done+int64(n) > c.opts.MaxBytes {
			return permanent{fmt.Errorf("has more than the limit of %d bytes", c.opts.MaxBytes)}
		}
		if _, werr := c.to.WriteAt(buf[:n], c.done); werr != nil {
			c.local = werr
			return werr
		}
		c.done += int64(n)
		if time.Since(c.logged) > time.Second {
			c.logged = time.Now()
			c.opts.Logger.Info("progress", "done", c.done, "total", max(p.size, 0), "unit", "bytes")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if p.size >= 0 && c.done != p.size {
		return fmt.Errorf("%d bytes came of %d", c.done, p.size)
	}
	return nil
}
