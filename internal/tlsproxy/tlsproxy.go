// Package tlsproxy puts TLS on connections where the program at one end has none: before
// any server ([Serve]), before Postgres, which is asked for TLS first ([ServePostgres]),
// and before Postgres' clients ([Dial], [Bridge]): the programs of our Postgres images are
// built without.
//
// Of Postgres' protocol it speaks the beginning only: a client asks for TLS in a packet of
// its own, before anything else, and the server answers with one byte.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
package tlsproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	begin          = 10 * time.Second // for a connection until its TLS has begun
	maxConnections = 256              // open at a time
	endGrace       = 25 * time.Second // for open connections once the context has ended
)

// Dialer makes a connection.
type Dialer func(ctx context.Context) (net.Conn, error)

// Serve accepts connections, and joins each, freed of its TLS, to one that the dialer
// makes. Of too many connections, the one that has carried nothing for longest is closed
// for a new one. When the context ends it accepts no more and waits until the server has closed
// those that are open, for a while.
func Serve(ctx context.Context, l net.Listener, config *tls.Config, dial Dialer, log *slog.Logger) error {
	return serve(ctx, newRoom(l, maxConnections), endGrace, log, func(ctx context.Context, c net.Conn) error {
		c.SetDeadline(time.Now().Add(begin))
		secured := tls.Server(c, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return handshakeFailed(err)
		}
		server, err := dial(ctx)
		if err != nil {
			return err
		}
		c.SetDeadline(time.Time{})
		return splice(ctx, secured, server)
	})
}

// handshakeFailed tells a client that speaks HTTP without TLS so. A probe, which only looks
// whether the port is open, is no failure.
func handshakeFailed(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	var no tls.RecordHeaderError
	if errors.As(err, &no) && no.Conn != nil && bytes.ContainsFunc(no.RecordHeader[:1], func(r rune) bool { return r >= 'A' && r <= 'Z' }) {
		_, _ = io.WriteString(no.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthis port takes TLS connections only: use https\n")
	}
	return fmt.Errorf("TLS: %w", err)
}

func serve(ctx context.Context, l net.Listener, grace time.Duration, log *slog.Logger, join func(context.Context, net.Conn) error) error {
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	// One more than a room has, which then closes another.
	slots := make(chan struct{}, maxConnections+1)
	for {
		slots <- struct{}{}
		c, err := l.Accept()
		if err != nil {
			<-slots
			if ctx.Err() != nil {
				finish(&all, grace)
				return nil
			}
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			return fmt.Errorf("accepting connections: %w", err)
		}
		all.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			stop := context.AfterFunc(open, func() { c.Close() })
			defer stop()
			if err := join(open, c); err != nil && open.Err() == nil {
				log.Warn("a connection ended early", "remote_addr", c.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// finish waits until all connections have ended, but not longer than their grace.
func finish(all *sync.WaitGroup, grace time.Duration) {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
	}
}

// splice copies both ways until either side has closed.
func splice(ctx context.Context, a, b net.Conn) error {
	defer a.Close()
	defer b.Close()
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	done := make(chan error, 2)
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, err := io.Copy(pair[0], pair[1])
			c, ok := pair[0].(interface{ CloseWrite() error })
			if !ok || c.CloseWrite() != nil {
				pair[0].Close()
			}
			done <- err
		}()
	}
	err := <-done
	// A side that has sent all it has may still wait for the rest of a response, but
	// nothing in these protocols goes on for long after that.
	a.SetDeadline(time.Now().Add(begin))
	b.SetDeadline(time.Now().Add(begin))
	<-done
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
