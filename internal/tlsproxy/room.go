package tlsproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// quietFor is how long a connection must have carried nothing before it is closed for
// another one.
const quietFor = time.Second

// room is a listener that bounds how many connections are open. When one more arrives,
// the one that has carried nothing for the longest time is closed, so that whoever holds
// connections without using them doesn't keep others out.
type room struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[*counted]struct{}
}

// counted is a connection of a room.
type counted struct {
	net.Conn
	room *room
	used atomic.Int64 // Unix time in ns when it last carried something
}

func newRoom(l net.Listener, most int) *room {
	return &room{Listener: l, most: most, open: map[*counted]struct{}{}}
}

// Accept returns the next connection. If all others are in use, it waits until one is not.
func (r *room) Accept() (net.Conn, error) {
	nc, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &counted{Conn: nc, room: r}
	c.carry()
	for !r.enter(c) {
		time.Sleep(quietFor / 20)
	}
	return c, nil
}

// enter adds a connection, if there is room for it or another one can be closed.
func (r *room) enter(c *counted) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) >= r.most {
		var quietest *counted
		for o := range r.open {
			if quietest == nil || o.used.Load() < quietest.used.Load() {
				quietest = o
			}
		}
		if time.Since(time.Unix(0, quietest.used.Load())) < quietFor {
			return false
		}
		delete(r.open, quietest)
		quietest.Conn.Close()
	}
	r.open[c] = struct{}{}
	return true
}

func (c *counted) carry() { c.used.Store(time.Now().UnixNano()) }

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.carry()
	}
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	c.carry()
	return c.Conn.Write(p)
}

func (c *counted) Close() error {
	c.room.mu.Lock()
	delete(c.room.open, c)
	c.room.mu.Unlock()
	return c.Conn.Close()
}
