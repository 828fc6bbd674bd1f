package postgres

import (
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// cancelLimit bounds one request to cancel.
const cancelLimit = 5 * time.Second

// cancelID is what a server told a client to show.
type cancelID struct {
	pid uint32
	key string
}

// cancelMap knows which server each session uses: a request to cancel comes over
// a connection of its own, and is for that server and no other, whatever the
// environment is by now.
type cancelMap struct {
	mu   sync.Mutex // guards below
	byID map[cancelID]cancelEntry
}

type cancelEntry struct {
	owner *session
	to    database.Server
	lent  *poolClient // knows which server works for it at the moment; nil: it is always to
}

func newCancelMap() *cancelMap { return &cancelMap{byID: map[cancelID]cancelEntry{}} }

func (m *cancelMap) put(id cancelID, s *session, to database.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byID[id] = cancelEntry{owner: s, to: to}
}

// lend notes the id of a session that shares its connection.
func (m *cancelMap) lend(id cancelID, c *poolClient) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byID[id] = cancelEntry{owner: c.s, lent: c}
}

// drop forgets an id unless another session has it by now.
func (m *cancelMap) drop(id cancelID, s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID[id].owner == s {
		delete(m.byID, id)
	}
}

func (m *cancelMap) find(id cancelID) (to database.Server, lent *poolClient, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byID[id]
	return e.to, e.lent, ok
}

// canceller brings one request to a server. done is called when the server has
// closed, which is when it has acted, or when that takes too long: then it is late,
// and the server may act at any time.
type canceller struct {
	id    cancelID
	to    database.Server
	timer *netloop.Timer
	sent  bool
	late  bool
	done  func(late bool)
}

func cancelAt(loop *netloop.Loop, to database.Server, id cancelID, done func(late bool)) {
	x := &canceller{id: id, to: to, done: done}
	o := netloop.DialOptions{Timeout: cancelLimit}
	if to.TLS && !to.StartTLS {
		o.TLS = to.Endpoint.TLS
	}
	c := loop.Dial(to.Endpoint.Network, to.Endpoint.Address, o, x)
	x.timer = loop.After(cancelLimit, func() {
		x.late = x.sent
		c.Close()
	})
}

// Connected implements netloop.ConnectDriver.
func (x *canceller) Connected(c *netloop.Conn) {
	if x.to.TLS && x.to.StartTLS && c.TLSState() == nil {
		c.Write(sslRequest())
		return
	}
	packet := pgproto.Startup{Kind: pgproto.CancelRequest, PID: x.id.pid, Key: []byte(x.id.key)}
	if b, err := packet.AppendTo(nil); err == nil {
		x.sent = true
		c.Write(b)
		return
	}
	c.Close()
}

// Data implements netloop.Driver.
func (x *canceller) Data(c *netloop.Conn, b []byte) int {
	if x.to.TLS && x.to.StartTLS && c.TLSState() == nil && len(b) == 1 && b[0] == 'S' {
		c.StartTLS(x.to.Endpoint.TLS, cancelLimit)
		return 1
	}
	if c.TLSState() == nil && x.to.TLS {
		c.Close() // the session has TLS: its key does not go over the wire without
	}
	return len(b)
}

// Drained implements netloop.Driver.
func (*canceller) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (*canceller) EOF(c *netloop.Conn) { c.Close() }

// Closed implements netloop.Driver.
func (x *canceller) Closed(*netloop.Conn, error) {
	x.timer.Stop()
	if x.done != nil {
		x.done(x.late)
	}
}

func sslRequest() []byte {
	b, _ := (&pgproto.Startup{Kind: pgproto.SSLRequest}).AppendTo(nil) // has nothing that could be wrong
	return b
}
