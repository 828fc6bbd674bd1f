package postgres

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// Times that are nobody's to configure.
const (
	// tlsLimit bounds a handshake in mid-connection.
	tlsLimit = 10 * time.Second
	// farewellLimit bounds what a server may take to do the last that a client has
	// asked for before it left.
	farewellLimit = 10 * time.Minute
	// holdEvery is how often is looked whether what a client waits for is there.
	holdEvery = 100 * time.Millisecond
)

// session is an app's connection and the one to its server. Everything in it is
// its loop's.
type session struct {
	f          *local
	down, up   *netloop.Conn    // up is nil while there is none
	prev, next *session         // of f
	start      *startup         // nil once the server has let us in
	place      *database.Waiter // in the gate; nil while there is none
	leaving    *netloop.Timer
	slow       *slowQuery        // nil unless slow queries are logged
	pool       *poolClient       // nil unless connections are shared, and before the session's turn
	counted    *filters.Endpoint // where the session counts; nil: nowhere
	errand     *poolServer       // of a session without a client: whom it logs in for

	tracker          pgproto.Tracker
	fromDown, fromUp pgproto.Framer
	upload, answer   netloop.Stream // since the latest ReadyForQuery
	to               route
	id               cancelID // zero until the server has told it

	began  int64 // loop time of the oldest request that is not answered, ns; 0: none
	active int64 // loop time of the last traffic, ns
	state  state
}

// state is a set of a session's flags.
type state uint16

const (
	isReady    state = 1 << iota // the first ReadyForQuery has come
	isLeaving                    // ends at the next boundary
	isHeld                       // the client is not read from until the server has answered
	isEnded                      // nothing more is passed on
	sawFatal                     // the server has said why it ends the session
	downClosed                   // the connections are gone
	upClosed
	isMoving // the endpoint is not the cluster's any more
)

func (s *session) is(f state) bool { return s.state&f != 0 }

// The drivers of a session, by what they know of it.
type (
	greeter    session // the client, until it is let in
	loginStep  session // the server, until it lets us in
	downstream session // the client
	upstream   session // the server
)

// fatal is the error that ends a session.
func fatal(state, message, hint string) []byte {
	n := pgproto.Notice{Severity: pgproto.SeverityFatal, State: state, Message: message, Hint: hint}
	return n.AppendError(nil)
}

// refuse ends a session with an error of the proxy's own.
func (s *session) refuse(why reason, state, message, hint string) {
	if s.is(isEnded) {
		return
	}
	if s.errand != nil {
		s.f.log.Warn("no connection for the pool", "reason", why.String(), "sqlstate", state, "message", message)
		s.errand.g.refused(s.errand, fatal(state, message, hint), state)
		s.finish()
		return
	}
	s.f.stats.refused[why].Add(1)
	s.f.log.Warn("refusing a session", "reason", why.String(), "sqlstate", state, "message", message)
	s.down.Write(fatal(state, message, hint))
	s.finish()
}

// say ends a session that was under way, with an error if the client is between
// two messages of the server; another error would be taken for data.
func (s *session) say(why reason, state, message string) {
	if s.is(isEnded) {
		return
	}
	s.f.stats.closed[why].Add(1)
	if s.fromUp.AtBoundary() && !s.is(sawFatal) && (s.pool == nil || s.pool.atBoundary()) {
		s.down.Write(fatal(state, message, ""))
		s.f.stats.failed(state)
	}
	s.finish()
}

// finish lets the client have what was written for it, and ends both connections.
func (s *session) finish() {
	s.over()
	if !s.is(downClosed) {
		s.down.CloseLingering()
	}
	if s.up != nil && !s.is(upClosed) {
		s.up.Close()
	}
}

// over marks the session as ended.
func (s *session) over() {
	s.state |= isEnded
	if spans := s.spans(); spans != nil {
		spans.Abandon(s.f.loop.WallTime(), s.to.endpoint)
	}
	if s.leaving != nil {
		s.leaving.Stop()
		s.leaving = nil
	}
	if st := s.start; st != nil {
		st.stop()
	}
	if s.pool != nil {
		s.pool.end()
	}
}

// abandon ends a session whose client is gone. What the server is busy with is
// cancelled: nobody waits for it, and it would go on to hold its locks.
func (s *session) abandon() {
	if s.is(isEnded) {
		return
	}
	if s.pool != nil {
		s.pool.bye()
	}
	s.over()
	if !s.is(downClosed) {
		s.down.Close()
	}
	if s.up == nil || s.is(upClosed) {
		return
	}
	switch {
	case s.start != nil || !s.fromDown.AtBoundary():
		s.up.Close()
		s.cancelOwn()
	case s.tracker.Terminated():
		// It has asked for something and said goodbye at once: the server does the
		// one and then the other, as it would without us.
		s.up.Resume()
		s.up.CloseWrite()
		s.leaving = s.f.loop.After(farewellLimit, s.up.Close)
	default:
		s.cancelOwn()
		s.up.Write(pgproto.AppendTerminate(nil))
		s.up.CloseAfterFlush()
	}
}

// cancelOwn has the server give up what it does for the session.
func (s *session) cancelOwn() {
	if s.id == (cancelID{}) || s.tracker.Settled() {
		return
	}
	s.f.stats.ownCancels.Add(1)
	cancelAt(s.f.loop, s.to, s.id, nil)
}

// settle forgets a session of which nothing is left.
func (s *session) settle() {
	if !s.is(downClosed) || s.up != nil && !s.is(upClosed) || s.errand != nil {
		return
	}
	if s.leaving != nil {
		s.leaving.Stop()
	}
	if s.place != nil {
		s.f.gate.Leave(s.place)
		s.place = nil
	}
	if s.id != (cancelID{}) {
		s.f.b.cancels.drop(s.id, s)
		s.id = cancelID{}
	}
	s.f.remove(s)
}

// checkIdle ends a session that has been quiet for too long.
func (s *session) checkIdle(limit time.Duration) {
	settled := s.tracker.Settled
	if s.pool != nil {
		settled = s.pool.settled
	}
	if s.start == nil && settled() && time.Duration(s.f.loop.Now()-s.active) >= limit {
		s.say(idleTimeout, stateIdleTimeout, "dragoman: terminating connection due to idle timeout")
	}
}
