package mysql

import (
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Data implements netloop.Driver: what the client says.
func (d *downstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(d)
	if s.Is(database.Ended) {
		return len(b)
	}
	s.Active = c.Loop().Now()
	if s.changing != nil {
		return s.changeAnswer(b)
	}
	at := 0
scan:
	for at < len(b) {
		if s.fromDown.AtBoundary() && !s.tracker.Uploading() {
			switch s.look(b[at:]) {
			case later:
				break scan
			case ours:
				c.Loop().Again(c) // for what comes behind it
				if at > 0 {
					break scan // what comes before it first
				}
				return s.serve(b)
			case passOn:
			}
		}
		n, step := s.fromDown.Next(b[at:s.packetEnd(b, at)], false)
		at += n
		s.clientStep(step, b[at:])
	}
	s.Part.Stats.Received.Add(uint64(at))
	netloop.Forward(c, s.Up, b[:at])
	if s.Is(database.Leaving) {
		s.TryLeave() // what has just come to its end may have no answer
	}
	return at
}

// clientStep looks at what the framer has found, rest comes behind that.
func (s *session) clientStep(step mysqlproto.Step, rest []byte) {
	switch step {
	case mysqlproto.StepHead:
		s.clientHead(rest)
	case mysqlproto.StepPayload:
		s.slow.text(s, s.fromDown.Payload())
	case mysqlproto.StepMore:
	}
}

// packetEnd is where the client's packet at or around at ends, or b does: the
// framer itself would go on to the next.
func (s *session) packetEnd(b []byte, at int) int {
	switch left := s.fromDown.Left(); {
	case left > 0:
		return min(at+left, len(b))
	case s.fromDown.AtBoundary() && len(b)-at > headLen:
		return min(at+headLen+payloadLen(b[at:]), len(b))
	}
	return at + 1 // within a head
}

// clientHead takes the head of a packet of the client, and what is there of its
// payload.
func (s *session) clientHead(payload []byte) {
	h := s.fromDown.Head()
	command := !s.tracker.Uploading()
	s.tracker.Client(h, payload)
	if !command {
		return
	}
	if s.Began == 0 {
		s.Began = s.Active
	}
	s.noteLocks(h, payload[:min(h.Len, len(payload))])
	switch mysqlproto.Command(h.First) {
	case mysqlproto.ComQuery, mysqlproto.ComStmtExecute, mysqlproto.ComStmtBulkExecute:
		s.Part.Stats.Queries.Add(1)
	case mysqlproto.ComResetConnection:
		s.reset()
	case mysqlproto.ComStmtSendLongData, mysqlproto.ComStmtClose, mysqlproto.ComQuit:
		if s.tracker.Outstanding() == 0 {
			s.Began = 0 // nothing answers them
		}
	}
	switch {
	case s.slow == nil:
	case s.slow.wants(h.First):
		s.fromDown.Gather(s.slow.Reach() + s.agreed.maxAttributes(h.First))
	default:
		s.slow.other(mysqlproto.Command(h.First))
	}
}

// noteLocks takes what is there of a command, for the locks that it takes.
func (s *session) noteLocks(h mysqlproto.Head, payload []byte) {
	alone, noBackslash := s.tracker.Outstanding() == 1, s.tracker.Status()&mysqlproto.StatusNoBackslash != 0
	switch mysqlproto.Command(h.First) {
	case mysqlproto.ComQuery:
		text, _ := mysqlproto.QueryText(payload, s.agreed.down)
		s.locks.note(text, noBackslash, alone)
	case mysqlproto.ComStmtPrepare:
		s.locks.notePrepare(payload[1:], noBackslash, alone)
	case mysqlproto.ComStmtExecute:
		s.locks.noteExecute(payload, alone)
	case mysqlproto.ComStmtClose:
		s.locks.named.forget(payload)
	case mysqlproto.ComStmtSendLongData:
	default:
		s.locks.other()
	}
}

// reset has the session's settings made again after COM_RESET_CONNECTION.
func (s *session) reset() {
	s.locks = locks{}
	if len(s.statements()) > 0 {
		s.State |= isResetting
	}
	if s.slow != nil {
		s.slow.forget()
	}
}

// clientBroke ends a session whose client has left the protocol.
func (s *session) clientBroke(err error) {
	s.Part.Log.Warn("closing a session: its client does not keep to the protocol", "error", err)
	s.say(database.ProtocolError, errnoMalformed, mysqlproto.StateGeneral, "dragoman: "+reasonOf(err))
}

// Data implements netloop.Driver: what the server says.
func (u *upstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(u)
	if s.Is(database.Ended) {
		return len(b)
	}
	s.Active = c.Loop().Now()
	forward := s.own == nil
	for at := 0; at < len(b); {
		n, step := s.fromUp.Next(b[at:], s.tracker.InRows() && !s.locks.named.tells)
		at += n
		ok := true
		switch step {
		case mysqlproto.StepHead:
			ok = s.serverHead(b[at:])
		case mysqlproto.StepPayload:
			ok = s.serverPacket(s.fromUp.Payload())
		case mysqlproto.StepMore:
		}
		if !ok || s.Is(database.Ended) {
			return len(b)
		}
	}
	if !forward {
		s.ownDone()
		return len(b)
	}
	s.Part.Stats.Sent.Add(uint64(len(b)))
	netloop.Forward(c, s.Down, b)
	if s.Is(isHeld | database.Leaving | isResetting) {
		s.afterAnswer()
	}
	return len(b)
}

// ownErrorHead is how much of an error that answers the proxy itself is read.
const ownErrorHead = 512

// serverHead takes the head of a packet of the server. What is looked at is
// nearly always there, and then nothing is gathered.
func (s *session) serverHead(rest []byte) bool {
	h := s.fromUp.Head()
	want := s.tracker.Want(h)
	if s.own != nil && want > 0 {
		want = min(h.Len, ownErrorHead)
	}
	if s.locks.named.tells && s.tracker.InRows() && h.Len <= maxTelling {
		want = h.Len
	}
	if want > len(rest) {
		s.fromUp.Gather(want)
		return true
	}
	return s.serverPacket(rest[:want])
}

// serverPacket takes a packet of the server, as much of it as is needed. It is
// false if that ends the session.
func (s *session) serverPacket(payload []byte) bool {
	h := s.fromUp.Head()
	if h.First == 0xff && s.tracker.Outstanding() == 0 {
		s.State |= sawFatal // nobody has asked
	}
	if s.slow != nil && s.tracker.Current() == mysqlproto.ComStmtPrepare && !s.Is(isAnswering) && s.own == nil {
		s.slow.prepared(h, payload)
	}
	s.lockAnswer(h, payload)
	end, err := s.tracker.Server(h, payload)
	if err != nil {
		s.Part.Log.Error("closing a session: its server does not keep to the protocol", "error", err, "endpoint", s.To.Endpoint.Address)
		s.State |= sawFatal // a part of what it said may be with the client already
		s.say(database.ProtocolError, errnoMalformed, mysqlproto.StateGeneral, "dragoman: the server does not keep to the protocol")
		return false
	}
	if !end {
		s.State |= isAnswering
		return true
	}
	s.State &^= isAnswering
	if s.own != nil {
		s.own.end(h, payload)
		return true
	}
	s.answered(h, payload)
	return true
}

// lockAnswer takes what of an answer tells of locks.
func (s *session) lockAnswer(h mysqlproto.Head, payload []byte) {
	n := &s.locks.named
	switch {
	case s.own != nil:
	case n.preparing && s.tracker.Current() == mysqlproto.ComStmtPrepare && !s.Is(isAnswering):
		n.prepared(h, payload)
	case n.tells && s.tracker.InRows() && h.Len <= maxTelling:
		n.row(h, payload)
	}
}

// end takes the last packet of the response.
func (e *errand) end(h mysqlproto.Head, payload []byte) {
	e.done = true
	if h.First != 0xff {
		return
	}
	var err error
	if e.err, err = mysqlproto.ParseError(payload); err != nil {
		e.err = &mysqlproto.ServerError{Errno: errnoMalformed, State: mysqlproto.StateGeneral, Message: reasonOf(err)}
	}
}

// ownDone goes on after a command of the proxy's own, if that is answered.
func (s *session) ownDone() {
	if e := s.own; e != nil && e.done {
		s.own = nil
		e.then(e.err)
	}
}

// answered is the end of a response.
func (s *session) answered(h mysqlproto.Head, payload []byte) {
	code := ""
	if h.First == 0xff {
		if e, err := mysqlproto.ParseError(payload); err == nil {
			kind := errorKind(e.Errno, e.State)
			s.Part.Stats.Failed(kind)
			s.noteError(e.Errno)
			s.locks.failed()
			code = kind.Code
		}
	}
	if spans := s.Spans(); spans != nil {
		if code != "" {
			spans.Failed(code, s.Part.Loop.WallTime(), s.To.Endpoint)
		}
		spans.Ready(s.tracker.Outstanding() == 0, s.Part.Loop.WallTime(), s.To.Endpoint)
	}
	s.Answered(s.Active, s.tracker.Outstanding() > 0)
	if !s.tracker.InTransaction() {
		s.Part.Stats.Transactions.Add(1)
	}
}

// afterAnswer does what was waiting for the server's answer, if that has come.
func (s *session) afterAnswer() {
	if s.Is(database.Ended) || s.start != nil {
		return
	}
	if s.Is(isResetting) && s.tracker.AtCommand() && !s.busy() {
		s.hold()
		s.setUp(func(e *mysqlproto.ServerError) {
			s.State &^= isResetting
			if e != nil {
				s.say(database.ServerClosed, e.Errno, e.State, "dragoman: the server refuses a setting of the session: "+e.Message)
				return
			}
			s.afterAnswer()
		})
		return
	}
	s.TryLeave()
	s.release()
}

// Drained implements netloop.Driver.
func (d *downstream) Drained(*netloop.Conn) {
	if d.Up != nil && (*session)(d).start == nil {
		d.Up.Resume()
	}
}

// Drained implements netloop.Driver.
func (u *upstream) Drained(*netloop.Conn) {
	s := (*session)(u)
	if !s.Is(isHeld) && s.start == nil {
		u.Down.Resume()
	}
}

// EOF implements netloop.Driver: the client is gone.
func (d *downstream) EOF(*netloop.Conn) { (*session)(d).abandon() }

// EOF implements netloop.Driver: the server has ended the session.
func (u *upstream) EOF(c *netloop.Conn) {
	if (*session)(u).Is(database.Ended) {
		c.Close()
		return
	}
	(*session)(u).serverGone()
}

func (s *session) serverGone() {
	if s.Is(database.Ended) {
		return
	}
	if s.tracker.Ended() {
		s.Finish()
		return
	}
	s.Part.Log.Info("the server has closed a session", "endpoint", s.To.Endpoint.Address)
	s.Part.Route.Refresh("a server closes a session")
	if s.start == nil && !s.busy() && s.tracker.AtCommand() {
		// As it does with sessions that are idle for wait_timeout: without a word.
		s.Part.Stats.Closed[database.ServerClosed].Add(1)
		s.Finish()
		return
	}
	s.b.Dials.Lost(s.To.Endpoint)
	s.Part.Report(s.To.Endpoint, filters.Disconnect)
	s.say(database.ServerClosed, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, "dragoman: the server closed the connection unexpectedly")
}

// Closed implements netloop.Driver.
func (d *downstream) Closed(_ *netloop.Conn, err error) { (*session)(d).downGone(err) }

// Closed implements netloop.Driver.
func (u *upstream) Closed(_ *netloop.Conn, err error) {
	s := (*session)(u)
	s.LostUp(err)
	s.serverGone()
	s.Settle()
}
