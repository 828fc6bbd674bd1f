package postgres

import (
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// How much is looked at of a CommandComplete, an ErrorResponse and a
// ParameterStatus, in bytes.
const (
	maxTag    = 1 << 10
	maxError  = 4 << 10
	maxReport = 64 << 10
	// maxTypes is the longest ParameterDescription that is remembered.
	maxTypes = 4 << 10
)

// Data implements netloop.Driver: what the server says.
func (s *poolServer) Data(conn *netloop.Conn, b []byte) int {
	from, at := 0, 0 // b[from:at] is the session's
	lim := s.g.p.b.framing.limits
	for at < len(b) && !s.is(isGone) {
		if s.left > 0 {
			k := int(min(s.left, int64(len(b)-at)))
			s.left -= int64(k)
			at += k
			if s.is(isDropping) {
				from = at
			}
			if s.left == 0 && s.is(isDuePassing) {
				from = s.passDue(conn, b, from, at)
			}
			continue
		}
		h, err := pgproto.ParseHead(b[at:], lim)
		if errors.Is(err, pgproto.ErrIncomplete) {
			break
		}
		if err != nil {
			s.broke(err)
			return len(b)
		}
		look := s.lookAt(h)
		if len(b)-at-headSize < look {
			break
		}
		toClient, ok := s.message(h, b[at+headSize:at+headSize+look])
		if !ok {
			s.broke(&pgproto.ProtocolError{Reason: "the server answers what was not asked"})
			return len(b)
		}
		if !toClient {
			s.send(conn, b[from:at])
			s.putInstead()
		}
		s.state &^= isDropping
		at += headSize
		if s.left = int64(h.Len); !toClient {
			s.state |= isDropping
			from = at
		}
		if s.ledger.owned > 0 || s.is(isDuePassing) {
			s.state |= isDuePassing
			if s.left == 0 {
				from = s.passDue(conn, b, from, at)
			}
		}
		if h.Type == pgproto.TypeReadyForQuery {
			at += int(s.left)
			s.left = 0
			if toClient {
				s.send(conn, b[from:at])
			}
			from = at
			s.passDue(conn, b, from, at)
			s.readyForQuery(toClient)
		}
	}
	if !s.is(isGone) {
		s.send(conn, b[from:at])
	}
	return at
}

// headSize is the type and the length of a message.
const headSize = 5

// lookAt is how many bytes of a payload have to be there.
func (s *poolServer) lookAt(h pgproto.Head) int {
	switch h.Type {
	case pgproto.TypeReadyForQuery:
		return min(h.Len, 1)
	case pgproto.TypeErrorResponse:
		if !s.is(isOpen) {
			return min(h.Len, maxReport)
		}
		return min(h.Len, maxError)
	case pgproto.TypeCommandComplete:
		return min(h.Len, maxTag)
	case pgproto.TypeParameterStatus:
		return min(h.Len, maxReport)
	case pgproto.TypeParameterDescription:
		if h.Len <= maxTypes {
			return h.Len
		}
	case pgproto.TypeBackendKeyData:
		return min(h.Len, errorHead+4)
	}
	return 0
}

// send passes bytes on to the session.
func (s *poolServer) send(conn *netloop.Conn, b []byte) {
	c := s.client
	if len(b) == 0 || c == nil {
		return
	}
	s.g.p.f.Stats.Sent.Add(uint64(len(b)))
	netloop.Forward(conn, c.s.Down, b)
}

// passDue gives the session the answers of ours that come next.
func (s *poolServer) passDue(conn *netloop.Conn, b []byte, from, at int) int {
	s.state &^= isDuePassing
	a, ok := s.ledger.due()
	if !ok {
		return from
	}
	s.send(conn, b[from:at])
	for ; ok; a, ok = s.ledger.due() {
		if s.client != nil {
			s.client.answer(a.kind)
		}
	}
	return at
}

// putInstead gives the session an error of ours in the place of the server's.
func (s *poolServer) putInstead() {
	if s.instead != "" && s.client != nil {
		s.client.s.Down.WriteString(s.instead)
	}
	s.instead = ""
}

// broke ends a connection whose server has left the protocol.
func (s *poolServer) broke(err error) {
	s.g.p.f.Log.Error("closing a connection: its server does not keep to the protocol", "error", err, "endpoint", s.to.Endpoint.Address)
	c := s.client
	if c != nil {
		s.detach()
		c.s.say(database.ProtocolError, pgproto.StateProtocolViolation, "dragoman: the server does not keep to the protocol")
	}
	s.abort()
}

// message takes a message of the server, and reports whether it is for the
// session. payload is its beginning, as much of it as lookAt says.
func (s *poolServer) message(h pgproto.Head, payload []byte) (toClient, ok bool) {
	switch h.Type {
	case pgproto.TypeDataRow, pgproto.TypeCopyData, pgproto.TypeFunctionCallResponse, pgproto.TypeNoticeResponse, pgproto.TypeNotificationResponse:
		return !s.swallows(), true
	case pgproto.TypeParameterDescription:
		s.describes(payload)
		return !s.swallows(), true
	case pgproto.TypeReadyForQuery:
		return s.endOfQuery(payload)
	case pgproto.TypeErrorResponse:
		return s.failure(payload), true
	case pgproto.TypeParameterStatus:
		return s.report(payload), true
	case pgproto.TypeBackendKeyData:
		if pid, key, err := pgproto.ParseBackendKeyData(payload); err == nil && !s.is(isOpen) {
			s.id = cancelID{pid, string(key)}
		}
		return false, true
	case pgproto.TypeCopyInResponse, pgproto.TypeCopyBothResponse:
		s.tracker.Server(h.Type, 0)
		s.ledger.copyIn()
		switch {
		case s.client != nil:
			s.client.mayRead()
		case s.is(isOrphan) && s.tracker.CopyIn():
			s.abort() // nobody is there to send any
		}
		return !s.swallows(), true
	case pgproto.TypeCopyOutResponse, pgproto.TypeCopyDone:
		s.tracker.Server(h.Type, 0)
		return !s.swallows(), true
	case pgproto.TypeCommandComplete:
		s.tracker.Server(h.Type, 0)
		s.tag(payload)
		if !s.swallows() && s.client.s.slow != nil {
			s.client.s.Spans().Completed(s.g.p.key.loop.WallTime(), s.to.Endpoint)
		}
	}
	if s.g.p.key.session || !s.is(isOpen) {
		return !s.swallows(), true
	}
	a, ok := s.ledger.complete(h.Type)
	if p := s.statements.of[a.stmt]; p != nil && h.Type == pgproto.TypeParseComplete && !p.strange {
		a.stmt.proven = p.epoch
	}
	if u := a.undo; u != nil && u.anonym && a.act == pass && a.kind == pgproto.TypeParse && s.client != nil {
		s.client.spare = u.unnamed // nobody goes back to it
	}
	return a.act != swallow && !s.swallows(), ok
}

// describes takes a ParameterDescription, of a statement that means here what it means
// to others.
func (s *poolServer) describes(payload []byte) {
	a := s.ledger.front()
	if a == nil || a.stmt == nil {
		return
	}
	if p := s.statements.of[a.stmt]; p != nil && !p.strange {
		a.stmt.described(payload)
	}
}

// swallows reports whether what the server says is for nobody.
func (s *poolServer) swallows() bool { return s.client == nil || s.is(isOwnQuery) }

// endOfQuery is ReadyForQuery.
func (s *poolServer) endOfQuery(payload []byte) (toClient, ok bool) {
	if len(payload) != 1 {
		return false, false
	}
	s.tracker.Server(pgproto.TypeReadyForQuery, payload[0])
	if s.tracker.Status() == pgproto.TxIdle {
		s.changesEnd()
	}
	if s.is(hasSet) || s.said {
		s.pinForSet()
	}
	if s.g.p.key.session && !s.is(isOwnQuery) {
		return s.client != nil, true
	}
	a, _ := s.ledger.ready()
	if a.act != swallow {
		s.unready = ""
	}
	return a.act != swallow && s.client != nil, true
}

// readyForQuery does what follows ReadyForQuery.
func (s *poolServer) readyForQuery(toClient bool) {
	switch {
	case !s.is(isOpen):
		s.opened()
	case s.is(isOwnQuery):
		s.ownAnswered()
	case s.is(isOrphan):
		s.orphanReady()
	case toClient:
		s.client.answered(s.tracker.Status())
	}
}

func (s *poolServer) orphanReady() {
	switch {
	case s.tracker.Idle():
		s.state &^= isOrphan
		s.timer.Stop()
		s.cleanUp()
	case s.tracker.Outstanding() == 0:
		s.close(closedDirty)
	}
}

// failure is an error of the server.
func (s *poolServer) failure(payload []byte) (toClient bool) {
	s.tracker.Server(pgproto.TypeErrorResponse, 0)
	severity := severityOf(payload)
	state := pgproto.NoticeState(payload)
	if severity == 'F' || severity == 'P' {
		s.state |= isFatal
	}
	noteState(s.g.p.f.Part, string(state), severity == 'F')
	if s.is(isOwnQuery) {
		s.state |= isFailed
		return false
	}
	if !s.is(isOpen) {
		s.g.refused(s, pgproto.AppendMessage(nil, pgproto.TypeErrorResponse, payload), string(state))
		return false
	}
	c := s.client
	if c != nil {
		c.assigning = nil
	}
	if s.g.p.key.session {
		if c != nil {
			c.s.failed(state, s.to.Endpoint)
		}
		return c != nil
	}
	skipped, more := s.ledger.failed()
	s.instead = s.takeBack(skipped, string(state))
	if len(skipped) > 0 && skipped[0].stmt != nil && s.instead == "" {
		s.instead = skipped[0].inOwnWords(payload)
	}
	switch {
	case s.is(isFatal):
		s.instead = "" // the last word is the server's
	case s.refusesExecuted(skipped) && len(payload) < maxError:
		s.unready = string(pgproto.AppendMessage(nil, pgproto.TypeErrorResponse, payload))
		return false
	case s.unready != "" && (string(state) == "26000" || string(state) == "25P02"): // it is not there, or its error has ended the transaction
		s.instead, s.unready = s.unready, ""
	}
	if c == nil {
		return false
	}
	if more {
		c.state |= isSkipping
	}
	c.s.failed(state, s.to.Endpoint)
	return s.instead == ""
}

// report is ParameterStatus.
func (s *poolServer) report(payload []byte) (toClient bool) {
	name, value, err := pgproto.ParseParameterStatus(payload)
	if err != nil {
		return !s.swallows()
	}
	i := settingOf(name)
	if !s.is(isOpen) {
		s.facts.set(name, value)
		if i >= 0 {
			s.vars.set(i, value)
		}
		return false
	}
	if i >= 0 {
		s.said = s.said || i == searchPath
		s.vars = s.g.p.shared(s.vars.with(i, value))
		if s.client != nil && !s.is(isOwnQuery) {
			s.client.vars = s.vars
		}
	} else if name == "session_authorization" && s.client != nil {
		s.pin()
	}
	return !s.swallows()
}
