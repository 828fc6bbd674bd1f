package http

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// loopUpstream is a connection to an endpoint, for one request at a time.
type loopUpstream struct {
	worker   *loopWorker
	host     *loopHost
	endpoint *filters.Endpoint
	conn     *netloop.Conn
	request  *loopRequest // nil: it is idle, or given up
	ready    bool
	uses     int
	born     int64 // Loop.Now, as is idle
	idle     int64
}

func (u *loopUpstream) life(now int64) pool.Life {
	return pool.Life{Idle: time.Duration(now - u.idle), Age: time.Duration(now - u.born), Uses: u.uses}
}

// Connected implements netloop.ConnectDriver.
func (u *loopUpstream) Connected(*netloop.Conn) {
	u.ready = true
	if u.request != nil {
		u.request.ready()
	}
}

// Data implements netloop.Driver.
func (u *loopUpstream) Data(_ *netloop.Conn, b []byte) int {
	if u.request == nil {
		u.conn.Close() // the endpoint has sent what nobody asked for
		return len(b)
	}
	defer u.request.c.rescue()
	return u.request.response(u, b)
}

// Drained implements netloop.Driver.
func (u *loopUpstream) Drained(*netloop.Conn) {
	if u.request != nil {
		u.request.c.conn.Resume()
	}
}

// EOF implements netloop.Driver.
func (u *loopUpstream) EOF(*netloop.Conn) {
	if u.request != nil {
		u.request.endOfInput(io.ErrUnexpectedEOF)
	}
	u.conn.Close()
}

// Closed implements netloop.Driver.
func (u *loopUpstream) Closed(_ *netloop.Conn, err error) {
	h := u.host
	h.open--
	if at := slices.Index(h.idle, u); at >= 0 {
		h.idle = slices.Delete(h.idle, at, at+1)
	}
	h.pool.Release()
	q := u.request
	switch {
	case q == nil:
		if !u.ready && err != nil {
			h.pool.ConnectFailures.Add(1)
		}
		return
	case !u.ready && !errors.Is(err, netloop.ErrStopped):
		err = h.pool.ConnectFailed(u.endpoint, err, errors.Is(err, netloop.ErrDialTimeout))
	case err == nil:
		err = io.ErrUnexpectedEOF
	}
	q.endOfInput(err)
}
