package database

import (
	"crypto/tls"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// connectTimeout is for clusters that say nothing of it.
const connectTimeout = 3 * time.Second

// Server is how a server is spoken to.
type Server struct {
	Endpoint *filters.Endpoint
	StartTLS bool // TLS begins in mid-connection
	Optional bool // and need not
	TLS      bool // it has begun

	timeout   time.Duration
	keepAlive netloop.KeepAlive
}

// serverAt is how an endpoint of a table is spoken to.
func serverAt(t *filters.Table, e *filters.Endpoint, optional bool) Server {
	to := Server{Endpoint: e, Optional: optional, timeout: connectTimeout}
	if t.Options != nil {
		to.timeout, to.keepAlive, to.StartTLS = t.Options.ConnectTimeout, t.Options.KeepAlive, t.Options.StartTLS
	}
	return to
}

// Timeout bounds a connect.
func (to *Server) Timeout() time.Duration { return to.timeout }

// Dial connects to the server, with TLS unless that begins later.
func (to *Server) Dial(loop *netloop.Loop, d netloop.Driver) *netloop.Conn {
	o := netloop.DialOptions{Timeout: to.timeout, KeepAlive: to.keepAlive}
	if !to.StartTLS {
		o.TLS = to.Endpoint.TLS
	}
	return loop.Dial(to.Endpoint.Network, to.Endpoint.Address, o, d)
}

// Verified reports whether a handshake shows who the server is.
func Verified(cfg *tls.Config) bool { return cfg.VerifyConnection != nil || !cfg.InsecureSkipVerify }

// Forsake closes a connection that nobody has to do with any more.
func Forsake(c *netloop.Conn) {
	c.SetDriver(forsaken{})
	c.Close()
}

// TakeLeave has the peer get the last that there is for it, and closes the connection.
func TakeLeave(c *netloop.Conn, last []byte) {
	c.SetDriver(forsaken{})
	c.Write(last)
	c.CloseAfterFlush()
}

// forsaken is the driver of such a connection.
type forsaken struct{}

func (forsaken) Data(_ *netloop.Conn, b []byte) int { return len(b) }
func (forsaken) Drained(*netloop.Conn)              {}
func (forsaken) EOF(c *netloop.Conn)                { c.Close() }
func (forsaken) Closed(*netloop.Conn, error)        {}
