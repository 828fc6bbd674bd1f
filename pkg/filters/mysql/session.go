package mysql

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
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
	down, up   *netloop.Conn // up is nil while there is none
	prev, next *session      // of f
	start      *startup      // nil once the client has been let in
	place      *database.Waiter
	leaving    *netloop.Timer
	slow       *slowQuery        // nil unless slow queries are logged
	counted    *filters.Endpoint // where the session counts; nil: nowhere

	tracker          *mysqlproto.Tracker // nil until the server has let us in
	fromDown, fromUp mysqlproto.Framer
	own              *errand // command of the proxy's own that the server answers
	changing         *change // COM_CHANGE_USER that is under way
	killing          *killer // KILL for the client that is under way

	to     route
	by     *database.Credentials // with which the server was logged in at
	agreed agreement
	told   uint32 // number of the thread, as the client knows it
	thread uint32 // and as the server does
	began  int64  // loop time of the oldest command that is not answered, ns; 0: none
	active int64  // loop time of the last traffic, ns
	state  state
}

// agreement is what a session keeps of its handshakes. A client may begin anew
// with COM_CHANGE_USER, which refers to the scrambles.
type agreement struct {
	down, up     mysqlproto.Capabilities
	downScramble [scrambleLen]byte
	upScramble   [scrambleLen]byte
	downPlugin   string // of our greeting: that of the server's if the app can be checked by it
	upPlugin     string // of the server's greeting
	mariaDB      bool
	maxPacket    uint32
	charset      uint8
}

// errand is a command of the proxy's own.
type errand struct {
	then func(*mysqlproto.ServerError)
	done bool // the response has ended, with failure or not
	err  *mysqlproto.ServerError
}

// scrambleLen is the length of a scramble in bytes.
const scrambleLen = 20

// state is a set of a session's flags.
type state uint16

const (
	isLeaving   state = 1 << iota // ends at the next boundary
	isHeld                        // the client is not read from until the server has answered
	isAnswering                   // a part of a response has been passed on
	isResetting                   // COM_RESET_CONNECTION is being answered
	isEnded                       // nothing more is passed on
	sawFatal                      // the server has said why it ends the session
	isMoving                      // the endpoint is not the cluster's any more
	downClosed                    // the connections are gone
	upClosed
)

func (s *session) is(f state) bool { return s.state&f != 0 }

// The drivers of a session, by what they know of it. Before the server has let
// us in, its connection's driver is a login.
type (
	greeter    session // the client, until it is let in
	downstream session // the client
	upstream   session // the server
)

// errorPacket makes an error. Before the client has told its
// capabilities, errors have no SQLSTATE.
func errorPacket(seq byte, errno uint16, state, message string) []byte {
	e := mysqlproto.ServerError{Errno: errno, State: state, Message: message}
	return mysqlproto.AppendPacket(nil, seq, e.AppendTo(nil))
}

// okPacket makes an OK that tells nothing but the session's status.
func okPacket(seq byte, status mysqlproto.Status) []byte {
	ok := mysqlproto.OK{Status: status}
	return mysqlproto.AppendPacket(nil, seq, ok.AppendTo(nil))
}

// refuse ends a session that has not begun with an error of the proxy's own.
func (s *session) refuse(why reason, errno uint16, state, message string) {
	if s.is(isEnded) {
		return
	}
	s.f.stats.refused[why].Add(1)
	s.f.log.Warn("refusing a session", "reason", why.String(), "error", errno, "sqlstate", state, "message", message)
	s.tell(errno, state, message)
	s.finish()
}

// tell sends the client an error where it expects one.
func (s *session) tell(errno uint16, state, message string) {
	s.f.stats.failed(errno, state)
	seq := s.nextSeq()
	if seq == 0 {
		state = ""
	}
	s.down.Write(errorPacket(seq, errno, state, message))
}

// nextSeq is the sequence number that the client expects next from its server. A
// client that has asked for nothing will take what it gets for the answer to its
// next command.
func (s *session) nextSeq() byte {
	switch {
	case s.start != nil:
		return s.start.seq
	case s.changing != nil:
		return s.changing.seq
	case s.is(isAnswering):
		return s.fromUp.LastSeq() + 1
	case s.tracker.Outstanding() > 0:
		return s.fromDown.LastSeq() + 1
	}
	return 1
}

// say ends a session that was under way, with an error if the client is between
// two packets of the server; another error would be taken for data.
func (s *session) say(why reason, errno uint16, state, message string) {
	if s.is(isEnded) {
		return
	}
	s.f.stats.closed[why].Add(1)
	if s.fromUp.AtBoundary() && !s.is(sawFatal) {
		s.tell(errno, state, message)
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
	if s.changing != nil {
		s.changing.stop()
	}
}

// abandon ends a session whose client is gone. What the server is busy with is
// killed: it would not notice before it is done, and hold its locks.
func (s *session) abandon() {
	if s.is(isEnded) {
		return
	}
	s.over()
	if !s.is(downClosed) {
		s.down.Close()
	}
	if s.up == nil || s.is(upClosed) {
		return
	}
	switch {
	case s.start != nil || s.changing != nil || !s.fromDown.AtBoundary():
		s.killOwn()
		s.up.Close()
	case s.tracker.Ended():
		// It has asked for something and said goodbye at once: the server does the
		// one and then the other, as it would without us.
		s.up.Resume()
		s.up.CloseWrite()
		s.leaving = s.f.loop.After(farewellLimit, s.up.Close)
	default:
		s.killOwn()
		s.up.Write(quit())
		s.up.CloseAfterFlush()
	}
}

// quit is the packet that ends a session.
func quit() []byte { return []byte{1, 0, 0, 0, byte(mysqlproto.ComQuit)} }

// killOwn has the server give up what it does for the session.
func (s *session) killOwn() {
	if s.tracker == nil || s.tracker.AtCommand() || !s.fromDown.AtBoundary() && s.tracker.Outstanding() <= 1 {
		return // it has nothing to do, or waits for the rest of a command
	}
	s.f.stats.ownKills.Add(1)
	s.f.kill(s.target(), "KILL", nil)
}

// settle forgets a session of which nothing is left.
func (s *session) settle() {
	if !s.is(downClosed) || s.up != nil && !s.is(upClosed) {
		return
	}
	if s.leaving != nil {
		s.leaving.Stop()
	}
	if s.place != nil {
		s.f.gate.Leave(s.place)
		s.place = nil
	}
	s.uncount()
	s.forgetThread()
	s.f.remove(s)
}

// checkIdle ends a session that has been quiet for too long.
func (s *session) checkIdle(limit time.Duration) {
	if s.start == nil && !s.busy() && s.tracker.AtCommand() && time.Duration(s.f.loop.Now()-s.active) >= limit {
		s.say(idleTimeout, mysqlproto.ErrnoIdle, mysqlproto.StateGeneral, "dragoman: the client was disconnected because of inactivity")
	}
}

// busy reports whether the proxy does something of its own for the session, in
// which the client has to wait.
func (s *session) busy() bool { return s.own != nil || s.changing != nil || s.killing != nil }

// hold stops to read from the client until everything is answered.
func (s *session) hold() {
	if s.is(isHeld) {
		return
	}
	s.state |= isHeld
	s.down.Pause()
	s.down.SetHangupNotice(true)
}

// release reads from the client again, if what it was held for is done.
func (s *session) release() {
	if !s.is(isHeld) || s.is(isEnded|isResetting) || s.start != nil || s.busy() || s.tracker.Outstanding() > 0 && !s.tracker.Uploading() {
		return
	}
	s.state &^= isHeld
	s.down.SetHangupNotice(false)
	if !s.up.Full() {
		s.down.Resume()
	}
}

// run sends the server a command of the proxy's own, whose response the client
// does not see. Nothing else may be under way. then gets nil for success.
func (s *session) run(c mysqlproto.Command, text string, then func(*mysqlproto.ServerError)) {
	payload := append([]byte{byte(c)}, s.agreed.attributes(c)...)
	payload = append(payload, text...)
	s.own = &errand{then: then}
	s.tracker.Client(mysqlproto.Head{Len: len(payload), First: byte(c)})
	s.up.Write(mysqlproto.AppendPacket(nil, 0, payload))
}

// attributes is what goes before the text of a query where both sides have
// agreed on attributes: that there are none.
func (a *agreement) attributes(c mysqlproto.Command) []byte {
	if c != mysqlproto.ComQuery || !a.up.Has(mysqlproto.QueryAttributes) {
		return nil
	}
	return []byte{0, 1}
}

// setUp runs the statements that make a session what the document says.
func (s *session) setUp(then func(*mysqlproto.ServerError)) {
	s.setUpFrom(0, then)
}

func (s *session) setUpFrom(i int, then func(*mysqlproto.ServerError)) {
	all := s.f.statements(s.agreed.mariaDB)
	if i == len(all) {
		then(nil)
		return
	}
	s.run(mysqlproto.ComQuery, all[i], func(e *mysqlproto.ServerError) {
		if e != nil {
			then(e)
			return
		}
		s.setUpFrom(i+1, then)
	})
}
