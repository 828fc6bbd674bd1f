package tcp

import (
	"cmp"
	"errors"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// stall is how long a side may take nothing of what is left for it when both
// sides have finished sending.
const stall = 30 * time.Second

// session is a downstream connection and its upstream one. Everything in it is
// its loop's.
type session struct {
	filter *Filter
	down   *netloop.Conn
	up     *netloop.Conn // nil between attempts
	entry  *entry        // endpoint that up leads to
	tried  []*filters.Endpoint

	idle, age, last *netloop.Timer
	leaving         *netloop.Timer // set while the endpoint is not the cluster's any more
	active          int64          // loop time of the last byte, ns

	connected       bool
	downEOF, upEOF  bool
	downGone, ended bool
	upGone          bool
	left            int   // output bytes at the last look of finish
	stalled         int64 // loop time since which left has not fallen, ns
}

// The two drivers of a session.
type (
	downstream session
	upstream   session
)

// start begins the first attempt. Nothing is read from the client before an
// upstream connection stands, so another attempt loses nothing.
func (s *session) start() {
	s.down.Pause()
	loop := s.down.Loop()
	s.active = loop.Now()
	s.watchIdle()
	if limit := s.filter.conf.MaxDuration; limit > 0 {
		s.age = loop.After(limit, func() { s.end(maxDuration) })
	}
	s.dial()
}

// watchIdle starts the idle timer over, as the filter's configuration says.
func (s *session) watchIdle() {
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	if limit := s.filter.conf.IdleTimeout; limit > 0 {
		s.idle = s.down.Loop().After(limit, s.checkIdle)
	}
}

// checkIdle sets no timer per byte: it looks how long ago the last one was.
func (s *session) checkIdle() {
	limit := s.filter.conf.IdleTimeout
	quiet := time.Duration(s.down.Loop().Now() - s.active)
	if quiet >= limit {
		s.end(idleTimeout)
		return
	}
	s.idle.Reset(limit - quiet)
}

func (s *session) dial() {
	table := s.filter.cluster.Table()
	e := s.filter.balancer.pick(table, s.tried)
	if e == nil {
		reason := noEndpoint
		if len(s.tried) > 0 {
			reason = connectFailure
		}
		s.filter.log.Warn("closing a connection: no endpoint to connect to",
			"cluster", s.filter.conf.Cluster, "tried", len(s.tried))
		s.end(reason)
		return
	}
	s.entry = e
	s.tried = append(s.tried, e.endpoint)
	e.open.Add(1)
	o := netloop.DialOptions{TLS: e.endpoint.TLS}
	if table.Options != nil {
		o.Timeout, o.KeepAlive = table.Options.ConnectTimeout, table.Options.KeepAlive
	}
	s.upGone = false
	s.up = s.down.Loop().Dial(e.endpoint.Network, e.endpoint.Address, o, (*upstream)(s))
}

// Connected implements netloop.ConnectDriver.
func (u *upstream) Connected(*netloop.Conn) {
	s := (*session)(u)
	s.connected = true
	s.filter.counters.connects.Add(1)
	if s.entry.failed.Load() && s.entry.failed.Swap(false) {
		s.filter.cluster.Report(s.entry.endpoint, filters.Success)
	}
	s.down.Resume()
}

// Data implements netloop.Driver.
func (d *downstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(d)
	s.filter.counters.received.Add(uint64(len(b)))
	s.forward(c, s.up, b)
	return len(b)
}

// Data implements netloop.Driver.
func (u *upstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(u)
	s.filter.counters.sent.Add(uint64(len(b)))
	s.forward(c, s.down, b)
	return len(b)
}

func (s *session) forward(from, to *netloop.Conn, b []byte) {
	s.active = from.Loop().Now()
	netloop.Forward(from, to, b)
}

// Drained implements netloop.Driver.
func (d *downstream) Drained(*netloop.Conn) { d.up.Resume() }

// Drained implements netloop.Driver.
func (u *upstream) Drained(*netloop.Conn) { u.down.Resume() }

// EOF implements netloop.Driver.
func (d *downstream) EOF(*netloop.Conn) {
	s := (*session)(d)
	s.downEOF = true
	s.up.CloseWrite()
	s.finish()
}

// EOF implements netloop.Driver.
func (u *upstream) EOF(*netloop.Conn) {
	s := (*session)(u)
	s.upEOF = true
	s.down.CloseWrite()
	s.finish()
}

// finish closes both connections once both peers have finished sending and
// have been handed everything.
func (s *session) finish() {
	if !s.downEOF || !s.upEOF || s.ended {
		return
	}
	left := s.down.Buffered() + s.up.Buffered()
	now := s.down.Loop().Now()
	if left != s.left {
		s.left, s.stalled = left, now
	}
	if left == 0 || now-s.stalled > int64(stall) {
		s.closeBoth()
		return
	}
	s.last = s.down.Loop().After(20*time.Millisecond, s.finish)
}

// Closed implements netloop.Driver.
func (d *downstream) Closed(*netloop.Conn, error) {
	s := (*session)(d)
	s.downGone = true
	s.closeBoth()
	s.filter.counters.open.Add(-1)
	s.filter.remove(s)
}

// Closed implements netloop.Driver.
func (u *upstream) Closed(c *netloop.Conn, err error) {
	s := (*session)(u)
	s.upGone = true
	s.entry.open.Add(-1)
	switch {
	case s.ended:
	case !s.connected:
		s.connectFailed(cmp.Or(err, errClosed))
	case err != nil && !s.downEOF:
		// What the endpoint said before it failed is still the client's.
		s.filter.cluster.Report(s.entry.endpoint, filters.Disconnect)
		s.ended = true
		s.stopTimers()
		s.down.CloseAfterFlush()
	default:
		s.closeBoth()
	}
}

// errClosed is an endpoint that closes a connection before it stands.
var errClosed = errors.New("the endpoint closed the connection")

func (s *session) connectFailed(err error) {
	f := s.filter
	f.counters.failures.Add(1)
	s.entry.failed.Store(true)
	s.entry.endpoint.NoteRefusal()
	f.cluster.Report(s.entry.endpoint, filters.ConnectFailure)
	f.log.Debug("connecting failed", "cluster", f.conf.Cluster, "endpoint", s.entry.endpoint.Address, "error", err)
	if len(s.tried) >= int(max(f.conf.MaxConnectAttempts, 1)) {
		f.log.Warn("closing a connection: no endpoint could be reached",
			"cluster", f.conf.Cluster, "endpoint", s.entry.endpoint.Address, "attempts", len(s.tried), "error", err)
		s.end(connectFailure)
		return
	}
	s.up = nil
	s.dial()
}

// end closes the session for a reason of ours.
func (s *session) end(reason reason) {
	if s.ended {
		return
	}
	s.filter.counters.closed[reason].Add(1)
	s.closeBoth()
}

func (s *session) closeBoth() {
	s.ended = true
	s.stopTimers()
	if s.up != nil && !s.upGone {
		s.up.Close()
	}
	if !s.downGone {
		s.down.Close()
	}
}

func (s *session) stopTimers() {
	for _, t := range []*netloop.Timer{s.idle, s.age, s.last, s.leaving} {
		if t != nil {
			t.Stop()
		}
	}
}

// leave moves a session off its retired filter: to the next one when that has
// the same endpoint, otherwise to its end, now or at the deadline.
func (s *session) leave(loop *netloop.Loop, next *Filter, r filters.Retirement) {
	if s.ended {
		return
	}
	if next != nil && s.connected && !r.Cut && s.move(next) {
		return
	}
	if r.Cut || r.Deadline <= 0 {
		s.end(retired)
		return
	}
	loop.After(r.Deadline, func() { s.end(retired) })
}

// review gives a session whose endpoint has left the cluster until the deadline
// to end, or the endpoint to come back.
func (s *session) review(loop *netloop.Loop, deadline time.Duration) {
	if s.ended || s.leaving != nil || s.entry == nil || s.settled() {
		return
	}
	s.leaving = loop.After(deadline, func() {
		s.leaving = nil
		if !s.settled() {
			s.end(retired)
		}
	})
}

// settled says whether the cluster has the session's endpoint.
func (s *session) settled() bool {
	return s.filter.balancer.find(s.filter.cluster.Table(), s.entry.endpoint) != nil
}

func (s *session) move(next *Filter) bool {
	e := next.balancer.find(next.cluster.Table(), s.entry.endpoint)
	if e == nil || !next.take(s) {
		return false
	}
	old := s.filter
	old.counters.open.Add(-1)
	next.counters.open.Add(1)
	s.entry.open.Add(-1)
	e.open.Add(1)
	s.filter, s.entry = next, e
	s.watchIdle()
	old.remove(s)
	return true
}
