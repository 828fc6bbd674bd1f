package postgres

import (
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const (
	// streamPiece is the size in bytes from which input may be a part of a COPY or
	// of a large answer. Both sides write 8 KiB at a time.
	streamPiece = 4 << 10
	// errorHead is how much of an error is looked at: its first fields, of which
	// the SQLSTATE is the third.
	errorHead = 256
)

// framing is what the framers of all sessions read. It is read-only.
type framing struct {
	clientTypes, serverTypes, firstTypes pgproto.TypeSet // at whose heads they stop
	limits                               *pgproto.Limits
}

func newFraming() *framing {
	return &framing{clientTypes: pgproto.ClientTypes(), serverTypes: pgproto.ServerTypes(), firstTypes: firstTypes(), limits: limits()}
}

// firstTypes are those before the first ReadyForQuery.
func firstTypes() pgproto.TypeSet {
	t := pgproto.ServerTypes()
	k := pgproto.Types(pgproto.TypeBackendKeyData)
	for i := range t {
		t[i] |= k[i]
	}
	return t
}

// Data implements netloop.Driver: what the client says.
func (d *downstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(d)
	if s.Is(database.Ended) {
		return len(b)
	}
	s.Active = c.Loop().Now()
	if s.Is(database.Leaving) {
		return s.readUnit(c, b)
	}
	types, lim := &s.b.framing.clientTypes, s.b.framing.limits
	for at := 0; at < len(b); {
		n, step, err := s.fromDown.Next(b[at:], types, lim)
		at += n
		if err != nil {
			s.clientBroke(err)
			return len(b)
		}
		switch step {
		case pgproto.StepHead:
			s.clientHead()
		case pgproto.StepPayload:
			s.slow.text(s, s.fromDown.Head().Type, s.fromDown.Payload())
		case pgproto.StepMore:
		}
	}
	s.Part.Stats.Received.Add(uint64(len(b)))
	if len(b) >= streamPiece {
		s.upload.Saw(c, len(b))
	}
	netloop.Forward(c, s.Up, b)
	return len(b)
}

// clientHead takes the head of a message of the client.
func (s *session) clientHead() {
	h := s.fromDown.Head()
	if s.Began == 0 {
		s.Began = s.Active
	}
	s.tracker.Client(h.Type)
	switch h.Type {
	case pgproto.TypeQuery, pgproto.TypeExecute, pgproto.TypeFunctionCall:
		s.Part.Stats.Queries.Add(1)
	}
	if s.slow == nil {
		return
	}
	if s.slow.head(h.Type); s.slow.wants(h.Type) {
		s.fromDown.Gather(s.slow.Reach())
	}
}

// clientBroke ends a session whose client has left the protocol.
func (s *session) clientBroke(err error) {
	s.Part.Log.Warn("closing a session: its client does not keep to the protocol", "error", err)
	s.say(database.ProtocolError, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err))
}

// Data implements netloop.Driver: what the server says.
func (u *upstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(u)
	if s.Is(database.Ended) {
		return len(b)
	}
	s.Active = c.Loop().Now()
	m := s.b.framing
	for at := 0; at < len(b); {
		types := &m.serverTypes
		if !s.Is(isReady) {
			types = &m.firstTypes
		}
		n, step, err := s.fromUp.Next(b[at:], types, m.limits)
		at += n
		if err != nil {
			s.Part.Log.Error("closing a session: its server does not keep to the protocol", "error", err, "endpoint", s.To.Endpoint.Address)
			s.say(database.ProtocolError, pgproto.StateProtocolViolation, "dragoman: the server does not keep to the protocol")
			return len(b)
		}
		switch step {
		case pgproto.StepHead:
			s.serverHead(b[at:])
		case pgproto.StepPayload:
			s.serverMessage(s.fromUp.Head().Type, s.fromUp.Payload())
		case pgproto.StepMore:
		}
	}
	s.Part.Stats.Sent.Add(uint64(len(b)))
	if len(b) >= streamPiece {
		s.answer.Saw(c, len(b))
	}
	netloop.Forward(c, s.Down, b)
	if s.Is(database.Leaving) {
		s.TryLeave()
	}
	return len(b)
}

// serverHead takes the head of a message of the server. Payloads that are looked
// at are nearly always there, and then nothing is gathered.
func (s *session) serverHead(rest []byte) {
	h := s.fromUp.Head()
	switch h.Type {
	case pgproto.TypeReadyForQuery, pgproto.TypeErrorResponse, pgproto.TypeBackendKeyData:
		want := min(h.Len, errorHead+4)
		if len(rest) >= want {
			s.serverMessage(h.Type, rest[:want])
			return
		}
		s.fromUp.Gather(want)
	case pgproto.TypeCommandComplete:
		s.tracker.Server(h.Type, 0)
		if spans := s.Spans(); spans != nil {
			spans.Completed(s.Part.Loop.WallTime(), s.To.Endpoint)
		}
	default:
		s.tracker.Server(h.Type, 0)
	}
}

func (s *session) serverMessage(typ byte, payload []byte) {
	switch typ {
	case pgproto.TypeReadyForQuery:
		status := byte(0)
		if len(payload) > 0 {
			status = payload[0]
		}
		s.tracker.Server(typ, status)
		s.answered(pgproto.TxStatus(status))
	case pgproto.TypeErrorResponse:
		s.tracker.Server(typ, 0)
		state, severity := pgproto.NoticeState(payload), severityOf(payload)
		s.failed(state, s.To.Endpoint)
		noteState(s.Part, string(state), severity == 'F')
		if severity == 'F' || severity == 'P' {
			s.State |= sawFatal
		}
	case pgproto.TypeBackendKeyData:
		if pid, key, err := pgproto.ParseBackendKeyData(payload); err == nil && s.id == (cancelID{}) {
			s.id = cancelID{pid, string(key)}
			s.b.cancels.put(s.id, s, s.To)
		}
	}
}

// failed is an error of the server that the client is told.
func (s *session) failed(state []byte, e *filters.Endpoint) {
	s.Part.Stats.Failed(errorKind(string(state)))
	if spans := s.Spans(); spans != nil {
		spans.Failed(string(state), s.Part.Loop.WallTime(), e)
	}
}

// severityOf gives the first letter of the severity that is never translated:
// FATAL, PANIC, ERROR. It is the second field of every error since 9.6.
func severityOf(payload []byte) byte {
	for i := 0; i+1 < len(payload) && payload[i] != 0; i++ {
		if payload[i] == 'V' {
			return payload[i+1]
		}
		for i++; i < len(payload) && payload[i] != 0; i++ { //nolint:revive // to the end of the field
		}
	}
	return 0
}

// answered is a ReadyForQuery.
func (s *session) answered(status pgproto.TxStatus) {
	s.upload.Ended()
	s.answer.Ended()
	if !s.Is(isReady) {
		s.State |= isReady
		s.Began = 0
		return
	}
	s.Answered(s.Active, s.tracker.Outstanding() > 0 || s.tracker.Pipelining())
	if spans := s.Spans(); spans != nil {
		spans.Ready(s.tracker.Outstanding() == 0, s.Part.Loop.WallTime(), s.To.Endpoint)
	}
	if status == pgproto.TxIdle {
		s.Part.Stats.Transactions.Add(1)
	}
}

// Drained implements netloop.Driver.
func (d *downstream) Drained(*netloop.Conn) {
	if d.Up != nil && (*session)(d).start == nil {
		d.Up.Resume()
	}
}

// Drained implements netloop.Driver.
func (u *upstream) Drained(*netloop.Conn) {
	if !(*session)(u).Is(isHeld) {
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
	if s.tracker.Terminated() {
		s.Finish()
		return
	}
	s.b.Dials.Lost(s.To.Endpoint)
	if !s.Is(sawFatal) {
		s.Part.Report(s.To.Endpoint, filters.Disconnect)
		s.Part.Log.Warn("the server has closed a session", "endpoint", s.To.Endpoint.Address)
	}
	s.say(database.ServerClosed, pgproto.StateConnectionFailure, "dragoman: the server closed the connection unexpectedly")
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
