package postgres

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// Times that are nobody's to configure.
const (
	// tlsLimit bounds a handshake in mid-connection.
	tlsLimit = 10 * time.Second
	// farewellLimit bounds what a shared connection's server may take to do the last
	// that a client has asked for before it left.
	farewellLimit = 10 * time.Minute
)

// SQLSTATEs that package pgproto has no name for.
const (
	stateTooMany     = pgproto.StateTooManyConnections
	stateIdleTimeout = "57P05" // idle_session_timeout
	stateCancelled   = "57014"
	stateNoDatabase  = "3D000"
	// stateCrashShutdown is what sessions are told when another one has crashed.
	stateCrashShutdown = "57P02"
)

// session is an app's connection and the one to its server. Everything in it is
// its loop's.
type session struct {
	database.Session
	b      *Builder
	start  *startup    // nil once the server has let us in
	slow   *slowQuery  // nil unless somebody wants to know of queries
	pool   *poolClient // nil unless connections are shared, and before the session's turn
	errand *poolServer // of a session without a client: whom it logs in for

	tracker          pgproto.Tracker
	fromDown, fromUp pgproto.Framer
	upload, answer   netloop.Stream // since the latest ReadyForQuery
	id               cancelID       // zero until the server has told it
}

// The flags of a session that only this protocol has.
const (
	isReady  = database.OwnState << iota // the first ReadyForQuery has come
	isHeld                               // the client is not read from until the server has answered
	sawFatal                             // the server has said why it ends the session
)

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
func (s *session) refuse(why database.Reason, state, message, hint string) {
	if s.Is(database.Ended) {
		return
	}
	if s.errand != nil {
		s.Part.Log.Warn("no connection for the pool", "reason", why.String(), "sqlstate", state, "message", message)
		s.errand.g.refused(s.errand, fatal(state, message, hint), state)
		s.Finish()
		return
	}
	s.Part.Stats.Refused[why].Add(1)
	s.Part.Log.Warn("refusing a session", "reason", why.String(), "sqlstate", state, "message", message)
	s.Down.Write(fatal(state, message, hint))
	s.Finish()
}

// say ends a session that was under way, with an error if the client is between
// two messages of the server; another error would be taken for data.
func (s *session) say(why database.Reason, state, message string) {
	if s.Is(database.Ended) {
		return
	}
	s.Part.Stats.Closed[why].Add(1)
	if s.fromUp.AtBoundary() && !s.Is(sawFatal) && (s.pool == nil || s.pool.atBoundary()) {
		s.Down.Write(fatal(state, message, ""))
		s.Part.Stats.Failed(errorKind(state))
	}
	s.Finish()
}

// Over implements database.Ender.
func (s *session) Over() {
	if s.start != nil {
		s.start.stop()
	}
	if s.pool != nil {
		s.pool.end()
	}
}

// abandon ends a session whose client is gone. What the server is busy with is
// cancelled: nobody waits for it, and it would go on to hold its locks.
func (s *session) abandon() {
	if s.Is(database.Ended) {
		return
	}
	if s.pool != nil {
		s.pool.bye()
	}
	if !s.Abandoned() {
		return
	}
	switch {
	case s.start != nil || !s.fromDown.AtBoundary():
		s.Up.Close()
		s.cancelOwn()
	case s.tracker.Terminated():
		s.Farewell()
	default:
		s.cancelOwn()
		s.Up.Write(pgproto.AppendTerminate(nil))
		s.Up.CloseAfterFlush()
	}
}

// cancelOwn has the server give up what it does for the session.
func (s *session) cancelOwn() {
	if s.id == (cancelID{}) || s.tracker.Settled() {
		return
	}
	s.Part.Stats.OwnCancels.Add(1)
	cancelAt(s.Part.Loop, s.To, s.id, nil)
}

// Forget implements database.Ender.
func (s *session) Forget() {
	if s.id != (cancelID{}) {
		s.b.cancels.drop(s.id, s)
		s.id = cancelID{}
	}
}

// errorKind is what an error is counted by: its SQLSTATE, and the class that this
// begins with.
func errorKind(state string) database.ErrorKind {
	if len(state) != 5 || !database.PlainState(state) {
		return database.ErrorKind{Code: database.OtherError, Class: database.OtherError}
	}
	return database.ErrorKind{Code: state, Class: state[:2]}
}

// noteState has everybody asked for their roles where a server says that it is
// not what it was.
func noteState(p *database.Part, state string, fatal bool) {
	switch {
	case state == pgproto.StateReadOnlyTransaction:
		p.Route.Refused(state, p.Conf.ReadOnly)
	case fatal && (state == pgproto.StateAdminShutdown || state == stateCrashShutdown || state == pgproto.StateCannotConnectNow):
		p.Route.Refresh(state)
	}
}
