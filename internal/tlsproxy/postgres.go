package tlsproxy

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// Codes that a first packet has in the place of a version.
const (
	cancelCode = 80877102
	tlsCode    = 80877103
	gssCode    = 80877104
)

const maxPacket = 10 << 10 // bytes of a first packet; Postgres' own limit

// ServePostgres is Serve for Postgres' protocol, without waiting at the end: Postgres ends
// its connections itself then. A client that does not ask for TLS is told to, and its
// password never comes here: Postgres' clients send one only when asked.
func ServePostgres(ctx context.Context, l net.Listener, config *tls.Config, dial Dialer, log *slog.Logger) error {
	return serve(ctx, l, 0, log, func(ctx context.Context, c net.Conn) error { return terminate(ctx, c, config, dial) })
}

// Bridge accepts connections without TLS until the context ends, and joins each to one
// that the dialer makes. A client that asks for TLS is told that there is none.
func Bridge(ctx context.Context, l net.Listener, dial Dialer, log *slog.Logger) error {
	return serve(ctx, l, 0, log, func(ctx context.Context, c net.Conn) error { return originate(ctx, c, dial) })
}

func terminate(ctx context.Context, c net.Conn, config *tls.Config, dial Dialer) error {
	c.SetDeadline(time.Now().Add(begin))
	packet, code, err := first(c)
	if err != nil {
		if errors.Is(err, io.EOF) { // a probe
			return nil
		}
		return err
	}
	if code == cancelCode { // carries a key that only the client and the server know
		return pass(ctx, c, packet, dial)
	}
	if code != tlsCode {
		refuse(c, "28000", "this server accepts TLS connections only: set sslmode to require or verify-full")
		return errors.New("the client did not ask for TLS")
	}
	if _, err := c.Write([]byte{'S'}); err != nil {
		return err
	}
	secured := tls.Server(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	server, err := dial(ctx)
	if err != nil {
		refuse(secured, "57P03", "the server can't be reached: "+err.Error())
		return err
	}
	c.SetDeadline(time.Time{})
	return splice(ctx, secured, server)
}

func originate(ctx context.Context, c net.Conn, dial Dialer) error {
	c.SetDeadline(time.Now().Add(begin))
	packet, code, err := first(c)
	for err == nil && code == tlsCode {
		if _, err = c.Write([]byte{'N'}); err == nil {
			packet, code, err = first(c)
		}
	}
	if err != nil {
		return err
	}
	return pass(ctx, c, packet, dial)
}

// pass hands a first packet on, and what follows.
func pass(ctx context.Context, c net.Conn, packet []byte, dial Dialer) error {
	server, err := dial(ctx)
	if err != nil {
		refuse(c, "08006", err.Error())
		return err
	}
	if _, err := server.Write(packet); err != nil {
		server.Close()
		return err
	}
	c.SetDeadline(time.Time{})
	return splice(ctx, c, server)
}

// first reads a client's first packet and what it asks for. One that asks for GSS
// encryption is answered: there is none.
func first(c net.Conn) (packet []byte, code uint32, err error) {
	for {
		packet = make([]byte, 8)
		if _, err := io.ReadFull(c, packet); err != nil {
			return nil, 0, err
		}
		size := binary.BigEndian.Uint32(packet)
		if size < 8 || size > maxPacket {
			return nil, 0, fmt.Errorf("a first packet of %d bytes, which is not Postgres' protocol", size)
		}
		packet = append(packet, make([]byte, size-8)...)
		if _, err := io.ReadFull(c, packet[8:]); err != nil {
			return nil, 0, err
		}
		if code = binary.BigEndian.Uint32(packet[4:]); code != gssCode {
			return packet, code, nil
		}
		if _, err := c.Write([]byte{'N'}); err != nil {
			return nil, 0, err
		}
	}
}

// refuse answers with an error as Postgres does; its code tells clients whether to try again.
func refuse(c io.Writer, code, why string) {
	var body []byte
	for _, field := range []string{"SFATAL", "VFATAL", "C" + code, "M" + why} {
		body = append(append(body, field...), 0)
	}
	body = append(body, 0)
	out := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(body)+4))
	c.Write(append(out, body...))
}

// Dial connects to a server at an address and asks it for TLS.
func Dial(ctx context.Context, address string, config *tls.Config) (net.Conn, error) {
	dialer := net.Dialer{Timeout: begin, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6}}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secured, err := secure(ctx, c, config)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return secured, nil
}

func secure(ctx context.Context, c net.Conn, config *tls.Config) (net.Conn, error) {
	c.SetDeadline(time.Now().Add(begin))
	ask := binary.BigEndian.AppendUint32(nil, 8)
	if _, err := c.Write(binary.BigEndian.AppendUint32(ask, tlsCode)); err != nil {
		return nil, err
	}
	var answer [1]byte // no more: what follows is TLS
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errors.New("the server has no TLS")
	}
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	c.SetDeadline(time.Time{})
	return secured, nil
}
