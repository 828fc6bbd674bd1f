package postgres

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const (
	// ownFrom is the size in bytes from which input is passed on by ownership.
	ownFrom = 16 << 10
	// streamPiece is the size in bytes from which input may be a part of a COPY or
	// of a large answer. Both sides write 8 KiB at a time.
	streamPiece = 4 << 10
	// errorHead is how much of an error is looked at: its first fields, of which
	// the SQLSTATE is the third.
	errorHead = 256
)

// Types at whose heads the framers stop.
func clientTypes() *pgproto.TypeSet {
	t := pgproto.ClientTypes()
	return &t
}

func serverTypes() *pgproto.TypeSet {
	t := pgproto.ServerTypes()
	return &t
}

// firstTypes are those before the first ReadyForQuery.
func firstTypes() *pgproto.TypeSet {
	t := pgproto.ServerTypes()
	k := pgproto.Types(pgproto.TypeBackendKeyData)
	for i := range t {
		t[i] |= k[i]
	}
	return &t
}

// Data implements netloop.Driver: what the client says.
func (d *downstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(d)
	if s.is(isEnded) {
		return len(b)
	}
	s.active = c.Loop().Now()
	if s.is(isLeaving) {
		return s.readUnit(c, b)
	}
	types, lim := s.f.b.metrics.clientTypes, s.f.b.metrics.limits
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
	s.f.stats.received.Add(uint64(len(b)))
	if len(b) >= streamPiece {
		s.upload.Saw(c, len(b))
	}
	s.forward(c, s.up, b)
	return len(b)
}

// clientHead takes the head of a message of the client.
func (s *session) clientHead() {
	h := s.fromDown.Head()
	if s.began == 0 {
		s.began = s.active
	}
	s.tracker.Client(h.Type)
	switch h.Type {
	case pgproto.TypeQuery, pgproto.TypeExecute, pgproto.TypeFunctionCall:
		s.f.stats.queries.Add(1)
	}
	if s.slow == nil {
		return
	}
	if s.slow.head(h.Type); s.slow.wants(h.Type) {
		s.fromDown.Gather(s.slow.reach())
	}
}

// clientBroke ends a session whose client has left the protocol.
func (s *session) clientBroke(err error) {
	s.f.log.Warn("closing a session: its client does not keep to the protocol", "error", err)
	s.say(protocolError, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err))
}

func (s *session) forward(from, to *netloop.Conn, b []byte) {
	if len(b) >= ownFrom {
		to.WriteChunk(from.Own(b))
	} else {
		to.Write(b)
	}
	if to.Full() {
		from.Pause()
	}
}

// Data implements netloop.Driver: what the server says.
func (u *upstream) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(u)
	if s.is(isEnded) {
		return len(b)
	}
	s.active = c.Loop().Now()
	m := s.f.b.metrics
	for at := 0; at < len(b); {
		types := m.serverTypes
		if !s.is(isReady) {
			types = m.firstTypes
		}
		n, step, err := s.fromUp.Next(b[at:], types, m.limits)
		at += n
		if err != nil {
			s.f.log.Error("closing a session: its server does not keep to the protocol", "error", err, "endpoint", s.to.endpoint.Address)
			s.say(protocolError, pgproto.StateProtocolViolation, "dragoman: the server does not keep to the protocol")
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
	s.f.stats.sent.Add(uint64(len(b)))
	if len(b) >= streamPiece {
		s.answer.Saw(c, len(b))
	}
	s.forward(c, s.down, b)
	if s.is(isLeaving) {
		s.tryLeave()
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
		if spans := s.spans(); spans != nil {
			spans.Completed(s.f.loop.WallTime(), s.to.endpoint)
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
		s.failed(state, s.to.endpoint)
		s.f.noteState(string(state), severity == 'F')
		if severity == 'F' || severity == 'P' {
			s.state |= sawFatal
		}
	case pgproto.TypeBackendKeyData:
		if pid, key, err := pgproto.ParseBackendKeyData(payload); err == nil && s.id == (cancelID{}) {
			s.id = cancelID{pid, string(key)}
			s.f.b.cancels.put(s.id, s, s.to)
		}
	}
}

// failed is an error of the server that the client is told.
func (s *session) failed(state []byte, e *filters.Endpoint) {
	s.f.stats.failed(string(state))
	if spans := s.spans(); spans != nil {
		spans.Failed(string(state), s.f.loop.WallTime(), e)
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
	if !s.is(isReady) {
		s.state |= isReady
		s.began = 0
		return
	}
	if s.began != 0 {
		took := s.active - s.began
		s.f.stats.latency.Observe(took)
		if s.slow != nil {
			s.slow.done(s, took)
		}
	}
	if spans := s.spans(); spans != nil {
		spans.Ready(s.tracker.Outstanding() == 0, s.f.loop.WallTime(), s.to.endpoint)
	}
	s.began = 0
	if s.tracker.Outstanding() > 0 || s.tracker.Pipelining() {
		s.began = s.active
	}
	if status == pgproto.TxIdle {
		s.f.stats.transactions.Add(1)
	}
}

// Drained implements netloop.Driver.
func (d *downstream) Drained(*netloop.Conn) {
	if d.up != nil && (*session)(d).start == nil {
		d.up.Resume()
	}
}

// Drained implements netloop.Driver.
func (u *upstream) Drained(*netloop.Conn) {
	if !(*session)(u).is(isHeld) {
		u.down.Resume()
	}
}

// EOF implements netloop.Driver: the client is gone.
func (d *downstream) EOF(*netloop.Conn) { (*session)(d).abandon() }

// EOF implements netloop.Driver: the server has ended the session.
func (u *upstream) EOF(c *netloop.Conn) {
	if (*session)(u).is(isEnded) {
		c.Close()
		return
	}
	(*session)(u).serverGone()
}

func (s *session) serverGone() {
	if s.is(isEnded) {
		return
	}
	if s.tracker.Terminated() {
		s.finish()
		return
	}
	s.f.b.dials.Lost(s.to.endpoint)
	if !s.is(sawFatal) {
		s.f.report(s.to.endpoint, filters.Disconnect)
		s.f.log.Warn("the server has closed a session", "endpoint", s.to.endpoint.Address)
	}
	s.say(serverClosed, pgproto.StateConnectionFailure, "dragoman: the server closed the connection unexpectedly")
}

// Closed implements netloop.Driver.
func (d *downstream) Closed(_ *netloop.Conn, err error) { (*session)(d).downGone(err) }

// Closed implements netloop.Driver.
func (u *upstream) Closed(_ *netloop.Conn, err error) {
	s := (*session)(u)
	s.state |= upClosed
	s.uncount()
	if err != nil && !s.is(isEnded) {
		s.f.log.Debug("a server's connection failed", "endpoint", s.to.endpoint.Address, "error", err)
	}
	s.serverGone()
	s.settle()
}
