package mysql

import (
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// tlsLimit bounds a handshake in mid-connection.
const tlsLimit = 10 * time.Second

// session is an app's connection and the one to its server. Everything in it is
// its loop's.
type session struct {
	database.Session
	b     *Builder
	start *startup   // nil once the client has been let in
	slow  *slowQuery // nil unless somebody wants to know of queries

	tracker          *mysqlproto.Tracker // nil until the server has let us in
	fromDown, fromUp mysqlproto.Framer
	own              *errand // command of the proxy's own that the server answers
	changing         *change // COM_CHANGE_USER that is under way
	killing          *killer // KILL for the client that is under way
	locks            locks

	by     *database.Credentials // with which the server was logged in at
	agreed agreement
	alias  string // the name of the environment's database in the app's login; empty if there was none, or the real one
	told   uint32 // number of the thread, as the client knows it
	thread uint32 // and as the server does
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

// The flags of a session that only this protocol has.
const (
	isHeld      = database.OwnState << iota // the client is not read from until the server has answered
	isAnswering                             // a part of a response has been passed on
	isResetting                             // COM_RESET_CONNECTION is being answered
	sawFatal                                // the server has said why it ends the session
)

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
func (s *session) refuse(why database.Reason, errno uint16, state, message string) {
	if s.Is(database.Ended) {
		return
	}
	s.Part.Stats.Refused[why].Add(1)
	s.Part.Log.Warn("refusing a session", "reason", why.String(), "error", errno, "sqlstate", state, "message", message)
	s.tell(errno, state, message)
	s.Finish()
}

// tell sends the client an error where it expects one.
func (s *session) tell(errno uint16, state, message string) {
	s.failed(errno, state)
	seq := s.nextSeq()
	if seq == 0 {
		state = ""
	}
	s.Down.Write(errorPacket(seq, errno, state, message))
}

// failed counts an error that the client is told.
func (s *session) failed(errno uint16, state string) { s.Part.Stats.Failed(errorKind(errno, state)) }

// errorKind is what an error is counted by: its number, and the class of its
// SQLSTATE.
func errorKind(errno uint16, state string) database.ErrorKind {
	kind := database.ErrorKind{Code: strconv.Itoa(int(errno)), Class: database.OtherError}
	if len(state) == 5 && database.PlainState(state[:2]) {
		kind.Class = state[:2]
	}
	return kind
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
	case s.Is(isAnswering) && !s.tracker.ClientSpokeLast():
		return s.fromUp.LastSeq() + 1
	case s.tracker.Outstanding() > 0:
		return s.fromDown.LastSeq() + 1
	}
	return 1
}

// say ends a session that was under way, with an error if the client is between
// two packets of the server; another error would be taken for data.
func (s *session) say(why database.Reason, errno uint16, state, message string) {
	if s.Is(database.Ended) {
		return
	}
	s.Part.Stats.Closed[why].Add(1)
	if s.fromUp.AtBoundary() && !s.Is(sawFatal) {
		s.tell(errno, state, message)
	}
	s.Finish()
}

// Over implements database.Ender.
func (s *session) Over() {
	if s.start != nil {
		s.start.stop(s.b, s.Part.Rotation)
	}
	if s.changing != nil {
		s.changing.stop()
	}
}

// abandon ends a session whose client is gone. What the server is busy with is
// killed: it would not notice before it is done, and hold its locks.
func (s *session) abandon() {
	if s.Is(database.Ended) || !s.Abandoned() {
		return
	}
	switch {
	case s.start != nil || s.changing != nil || !s.fromDown.AtBoundary() || s.tracker.Uploading(): // goodbye would be a part of something else
		s.killOwn()
		s.Up.Close()
	case s.tracker.Ended():
		s.Farewell()
	default:
		s.killOwn()
		s.Up.Write(quit())
		s.Up.CloseAfterFlush()
	}
}

// quit is the packet that ends a session.
func quit() []byte { return []byte{1, 0, 0, 0, byte(mysqlproto.ComQuit)} }

// killOwn has the server give up what it does for the session.
func (s *session) killOwn() {
	if s.tracker == nil || s.tracker.AtCommand() || !s.fromDown.AtBoundary() && s.tracker.Outstanding() <= 1 {
		return // it has nothing to do, or waits for the rest of a command
	}
	s.Part.Stats.OwnCancels.Add(1)
	s.b.kill(s.Part, s.target(), "KILL", nil)
}

// Forget implements database.Ender.
func (s *session) Forget() { s.forgetThread() }

// busy reports whether the proxy does something of its own for the session, in
// which the client has to wait.
func (s *session) busy() bool { return s.own != nil || s.changing != nil || s.killing != nil }

// hold stops to read from the client until everything is answered.
func (s *session) hold() {
	if s.Is(isHeld) {
		return
	}
	s.State |= isHeld
	s.Down.Pause()
	s.Down.SetHangupNotice(true)
}

// release reads from the client again, if what it was held for is done.
func (s *session) release() {
	if !s.Is(isHeld) || s.Is(database.Ended|isResetting) || s.start != nil || s.busy() || s.tracker.Outstanding() > 0 && !s.tracker.Uploading() {
		return
	}
	s.State &^= isHeld
	s.Down.SetHangupNotice(false)
	if !s.Up.Full() {
		s.Down.Resume()
	}
}

// run sends the server a command of the proxy's own, whose response the client
// does not see. Nothing else may be under way. then gets nil for success.
func (s *session) run(c mysqlproto.Command, text string, then func(*mysqlproto.ServerError)) {
	payload := append([]byte{byte(c)}, s.agreed.attributes(c)...)
	payload = append(payload, text...)
	s.own = &errand{then: then}
	s.tracker.Client(mysqlproto.Head{Len: len(payload), First: byte(c)}, payload)
	s.Up.Write(mysqlproto.AppendPacket(nil, 0, payload))
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
	all := s.statements()
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
