package postgres

import (
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const shutdownMessage = "terminating connection due to administrator command"

// GoOnAt implements database.Leaver.
func (s *session) GoOnAt(next *database.Part) bool {
	to := localOf(next)
	if s.pool != nil {
		return s.pool.goOnAt(to)
	}
	if !localOf(s.Part).sameTarget(to) || !s.Stays(next) {
		return false
	}
	s.MoveTo(next)
	return true
}

// Cut implements database.Leaver. What the server is busy with is cancelled.
func (s *session) Cut() {
	if s.Is(database.Ended) {
		return
	}
	if s.start != nil {
		s.refuse(database.Retired, pgproto.StateAdminShutdown, shutdownMessage, "")
		return
	}
	s.cancelOwn()
	s.say(database.Retired, pgproto.StateAdminShutdown, shutdownMessage)
}

// TryLeave implements database.Leaver. It lets the client go on where something is
// under way that only the client can end.
func (s *session) TryLeave() {
	switch {
	case s.Is(database.Ended):
	case s.pool != nil:
		s.pool.tryLeave()
	case s.tracker.Idle() && s.fromDown.AtBoundary() && s.fromUp.AtBoundary():
		s.tellShutdown()
		s.Depart(pgproto.AppendTerminate(nil))
	case s.Is(isHeld) && (s.tracker.Outstanding() == 0 || s.tracker.CopyIn()):
		s.State &^= isHeld
		if !s.Up.Full() {
			s.Down.Resume()
		}
	}
}

// tellShutdown is the last word to a client between two transactions.
func (s *session) tellShutdown() {
	s.Part.Stats.Failed(errorKind(pgproto.StateAdminShutdown))
	s.Down.Write(fatal(pgproto.StateAdminShutdown, shutdownMessage, ""))
}

// Quiet implements database.Leaver.
func (s *session) Quiet() {
	settled := s.tracker.Settled
	if s.pool != nil {
		settled = s.pool.settled
	}
	if settled() {
		s.say(database.IdleTimeout, stateIdleTimeout, "dragoman: terminating connection due to idle timeout")
	}
}

// readUnit passes on what the client says up to the end of a message that the
// server answers with ReadyForQuery, and then waits for that: a client that
// sends ahead would otherwise never come to an end.
func (s *session) readUnit(c *netloop.Conn, b []byte) int {
	at := 0
	for at < len(b) && !s.Is(database.Ended) {
		if !s.Is(isHeld) {
			n, unit, err := s.scanUnit(b[at:])
			at += n
			if err != nil {
				s.clientBroke(err)
				return len(b)
			}
			if !unit {
				break
			}
			s.State |= isHeld
		}
		at += s.scanRest(b[at:])
		if !s.fromDown.AtBoundary() {
			break
		}
		if s.tracker.Outstanding() > 0 && !s.tracker.CopyIn() {
			c.Pause()
			break
		}
		s.State &^= isHeld // a Sync that the server ignores
	}
	s.Part.Stats.Received.Add(uint64(at))
	netloop.Forward(c, s.Up, b[:at])
	return at
}

// scanUnit goes to the head of a message that ends a unit, or to the end of b.
func (s *session) scanUnit(b []byte) (at int, unit bool, err error) {
	m := s.b.framing
	for at < len(b) {
		n, step, err := s.fromDown.Next(b[at:], &m.clientTypes, m.limits)
		at += n
		switch {
		case err != nil:
			return at, false, err
		case step == pgproto.StepHead:
			s.clientHead()
			if endsUnit(s.fromDown.Head().Type) {
				return at, true, nil
			}
		case step == pgproto.StepPayload:
			s.slow.text(s, s.fromDown.Head().Type, s.fromDown.Payload())
		}
	}
	return at, false, nil
}

// scanRest goes to the end of the message under way, or to the end of b.
func (s *session) scanRest(b []byte) (at int) {
	m := s.b.framing
	b = b[:min(int64(len(b)), s.fromDown.Left())]
	for at < len(b) {
		n, step, _ := s.fromDown.Next(b[at:], &m.clientTypes, m.limits) // within a payload nothing is malformed
		at += n
		if step == pgproto.StepPayload {
			s.slow.text(s, s.fromDown.Head().Type, s.fromDown.Payload())
		}
	}
	return at
}

func endsUnit(typ byte) bool {
	return typ == pgproto.TypeQuery || typ == pgproto.TypeFunctionCall || typ == pgproto.TypeSync
}
