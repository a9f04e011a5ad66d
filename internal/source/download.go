package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"mlops/internal/host"
	"mlops/internal/retry"
)

// remote is a source that can be read from any byte on.
type remote interface {
	// read opens the bytes from offset on. version comes from an earlier read. If
	// the source has changed since then, or can't start at offset, the bytes start
	// at 0 instead, as part.from says.
	read(ctx context.Context, offset int64, version string) (part, error)
}

// part is one response of a remote.
type part struct {
	body    io.ReadCloser
	from    int64  // offset of the first byte
	size    int64  // of the whole source, -1 if unknown
	version string // identifies this content; empty if the source doesn't
}

// download copies a remote source to a file that no other process sees. If a
// transfer breaks off, the next try goes on where it stopped, provided that the
// content is still the same.
func (t *Table) download(ctx context.Context, from remote, opts *Options) error {
	f, err := temporary(opts.TempDir)
	if err != nil {
		return err
	}
	t.file, t.private = f, true
	c := &copier{from: from, to: f, opts: opts, source: t.Source}
	policy := retry.Policy{
		Tries: opts.Tries, Wait: opts.Wait, MaxWait: maxDownloadWait,
		Log: opts.Logger.With("source", t.Source, "of", opts.Tries), Level: slog.LevelWarn, Message: "reading the source failed, trying again",
		Keys: func() []any { return []any{"bytes", c.done} },
	}
	err = retry.Do(ctx, policy, c.try)
	var exhausted *retry.ExhaustedError
	switch {
	case err == nil:
		return nil
	case c.local != nil:
		return fmt.Errorf("copying %s: %w", t.Source, c.local)
	case ctx.Err() != nil:
		return err
	case errors.As(err, &exhausted):
		return fmt.Errorf("reading %s (tried %d times): %w", t.Source, exhausted.Tries, exhausted.Err)
	}
	return t.wrong(err)
}

// maxDownloadWait bounds the pause between two tries to read a remote source.
const maxDownloadWait = 30 * time.Second

// copier is a download under way.
type copier struct {
	from    remote
	to      *os.File
	opts    *Options
	source  string
	done    int64
	version string
	local   error // writing failed, which isn't the remote's fault
	logged  time.Time
}

// try reads on from where the last try stopped. A timer that each read resets ends
// the try if the remote stops sending, which would otherwise block a read forever.
func (c *copier) try(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := fmt.Errorf("no data for %s", c.opts.Idle)
	idle := time.AfterFunc(c.opts.Idle, func() { cancel(silent) })
	defer idle.Stop()
	err := c.read(ctx, idle)
	if err != nil && errors.Is(context.Cause(ctx), silent) {
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
		return retry.Permanent(fmt.Errorf("%d bytes, more than the limit of %d", p.size, c.opts.MaxBytes))
	}
	if free, err := host.Free(cmp.Or(c.opts.TempDir, os.TempDir())); err == nil && p.size-p.from > free {
		return retry.Permanent(fmt.Errorf("%d bytes, and the folder for temporary files has room for %d: make room there, or name another one in TMPDIR", p.size, free))
	}
	c.done, c.version = p.from, p.version
	if err := c.to.Truncate(c.done); err != nil {
		c.local = err
		return retry.Permanent(err)
	}
	if c.logged.IsZero() {
		c.logged = time.Now()
	}
	buf := make([]byte, 128<<10)
	for {
		n, err := p.body.Read(buf)
		idle.Reset(c.opts.Idle)
		if c.done+int64(n) > c.opts.MaxBytes {
			return retry.Permanent(fmt.Errorf("more than the limit of %d bytes", c.opts.MaxBytes))
		}
		if _, werr := c.to.WriteAt(buf[:n], c.done); werr != nil {
			c.local = werr
			return retry.Permanent(werr)
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
		return fmt.Errorf("got %d of %d bytes", c.done, p.size)
	}
	return nil
}
