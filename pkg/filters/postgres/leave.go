package postgres

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
)

const shutdownMessage = "terminating connection due to administrator command"

// leave takes a session off its retired filter: to the next one if it would be
// the same there, else to its end.
func (s *session) leave(r filters.Retirement) {
	next := s.f.next
	for next != nil && next.next != nil {
		next = next.next
	}
	switch {
	case s.is(isEnded):
		if s.leaving != nil {
			s.leaving.Reset(r.Deadline)
		}
	case r.Cut:
		s.cut()
	case next == nil || next.over || next.isRetired():
		s.drain(r.Deadline)
	case s.start != nil:
		s.beginAt(next)
	case s.pool != nil:
		s.pool.leave(next, r)
	case s.f.sameTarget(next.Filter) && next.route.Judge(next.cluster.Table(), s.to.endpoint) == sqlroute.Stays:
		s.moveTo(next)
	default:
		s.drain(r.Deadline)
	}
}

func (f *Filter) isRetired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retired
}

func (s *session) moveTo(next *local) {
	old := s.f
	if s.place != nil && old.gate != next.gate {
		old.gate.Leave(s.place)
		s.place = &database.Waiter{Loop: next.loop}
		next.gate.Force(s.place)
	}
	next.takeOver(s, old)
}

// takeOver moves a session from one filter's list to another's.
func (l *local) takeOver(s *session, old *local) {
	old.unlink(s)
	l.add(s)
	old.settle()
}

// beginAt has a session that is still beginning go on under another
// configuration. What was begun at a server is given up.
func (s *session) beginAt(next *local) {
	st := s.start
	waiting := st.waiting
	if waiting {
		if st.hold != nil {
			st.hold.Stop()
		}
		st.timer.Stop()
		s.dropAttempt()
		if s.place != nil {
			s.f.gate.Leave(s.place)
			s.place = nil
		}
		if s.pool != nil {
			s.pool.end()
			s.pool = nil
		}
		st.tried = nil
		st.login = login{}
	}
	next.takeOver(s, s.f)
	if waiting {
		since := st.since
		s.proceed()
		st.since = since
	}
}

// drain ends a session at the next boundary of a transaction, or at the
// deadline.
func (s *session) drain(deadline time.Duration) {
	if s.is(isEnded) || s.is(isLeaving) {
		return
	}
	if s.start != nil || deadline <= 0 {
		s.cut()
		return
	}
	s.state |= isLeaving
	if s.leaving != nil {
		s.leaving.Stop()
	}
	s.leaving = s.f.loop.After(deadline, s.cut)
	s.tryLeave()
}

// cut ends a session now. What its server is busy with is cancelled.
func (s *session) cut() {
	if s.is(isEnded) {
		return
	}
	if s.start != nil {
		s.refuse(retired, pgproto.StateAdminShutdown, shutdownMessage, "")
		return
	}
	s.cancelOwn()
	s.say(retired, pgproto.StateAdminShutdown, shutdownMessage)
}

// tryLeave ends a session that is to leave if nothing is under way, and lets its
// client go on where something is that only the client can end.
func (s *session) tryLeave() {
	switch {
	case s.is(isEnded):
	case s.pool != nil:
		s.pool.tryLeave()
	case s.tracker.Idle() && s.fromDown.AtBoundary() && s.fromUp.AtBoundary():
		s.depart()
	case s.is(isHeld) && (s.tracker.Outstanding() == 0 || s.tracker.CopyIn()):
		s.state &^= isHeld
		if !s.up.Full() {
			s.down.Resume()
		}
	}
}

// depart ends a session between two transactions.
func (s *session) depart() {
	s.f.stats.closed[drained].Add(1)
	s.f.stats.failed(pgproto.StateAdminShutdown)
	s.down.Write(fatal(pgproto.StateAdminShutdown, shutdownMessage, ""))
	s.up.Write(pgproto.AppendTerminate(nil))
	s.over()
	s.down.CloseLingering()
	s.up.CloseAfterFlush()
}

// readUnit passes on what the client says up to the end of a message that the
// server answers with ReadyForQuery, and then waits for that: a client that
// sends ahead would otherwise never come to an end.
func (s *session) readUnit(c *netloop.Conn, b []byte) int {
	at := 0
	for at < len(b) && !s.is(isEnded) {
		if !s.is(isHeld) {
			n, unit, err := s.scanUnit(b[at:])
			at += n
			if err != nil {
				s.clientBroke(err)
				return len(b)
			}
			if !unit {
				break
			}
			s.state |= isHeld
		}
		at += s.scanRest(b[at:])
		if !s.fromDown.AtBoundary() {
			break
		}
		if s.tracker.Outstanding() > 0 && !s.tracker.CopyIn() {
			c.Pause()
			break
		}
		s.state &^= isHeld // a Sync that the server ignores
	}
	s.f.stats.received.Add(uint64(at))
	s.forward(c, s.up, b[:at])
	return at
}

// scanUnit goes to the head of a message that ends a unit, or to the end of b.
func (s *session) scanUnit(b []byte) (at int, unit bool, err error) {
	m := s.f.b.metrics
	for at < len(b) {
		n, step, err := s.fromDown.Next(b[at:], m.clientTypes, m.limits)
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
	m := s.f.b.metrics
	b = b[:min(int64(len(b)), s.fromDown.Left())]
	for at < len(b) {
		n, step, _ := s.fromDown.Next(b[at:], m.clientTypes, m.limits) // within a payload nothing is malformed
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

// gone reports whether the cluster does not have the session's endpoint any more.
func (s *session) gone() bool {
	return s.f.route.Judge(s.f.cluster.Table(), s.to.endpoint) == sqlroute.Gone
}

// review looks at a session after its cluster's endpoints have moved. One whose
// endpoint is gone for half the deadline ends in the other half.
func (s *session) review(deadline time.Duration) {
	if s.is(isEnded|isMoving|isLeaving) || s.start != nil || s.pool != nil || !s.gone() {
		return
	}
	s.state |= isMoving
	s.leaving = s.f.loop.After(deadline/2, func() {
		s.state &^= isMoving
		if !s.is(isEnded) && s.gone() {
			s.drain(deadline / 2)
		}
	})
}
