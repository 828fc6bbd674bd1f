package mysql

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
)

const shutdownMessage = "Server shutdown in progress (dragoman: the environment of this session is no more)"

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
// configuration. What was begun at a server is given up; a client that has had a
// greeting keeps to what that said.
func (s *session) beginAt(next *local) {
	st := s.start
	if st.hold != nil {
		st.hold.Stop()
	}
	s.dropAttempt()
	if s.place != nil {
		s.f.gate.Leave(s.place)
		s.place = nil
	}
	st.tried, st.retried = nil, false
	next.takeOver(s, s.f)
	s.queue()
}

// dropAttempt gives up what was begun at a server.
func (s *session) dropAttempt() {
	st := s.start
	st.turn.Leave()
	s.uncount()
	if st.login != nil {
		st.login.drop()
		st.login = nil
	}
	if s.up != nil {
		s.up.SetDriver(forsaken{})
		s.up.Close()
		s.up, s.tracker, s.own = nil, nil, nil
		s.fromUp = mysqlproto.Framer{}
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

// cut ends a session now. What its server is busy with is killed.
func (s *session) cut() {
	if s.is(isEnded) {
		return
	}
	if s.start != nil {
		s.refuse(retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
		return
	}
	s.killOwn()
	s.say(retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
}

// tryLeave ends a session that is to leave if nothing is under way. After an
// error it is not known whether a transaction is open: the server is asked.
func (s *session) tryLeave() {
	switch {
	case !s.is(isLeaving) || s.is(isEnded|isResetting) || s.start != nil || s.busy():
	case !s.tracker.AtCommand() || !s.fromDown.AtBoundary() || !s.fromUp.AtBoundary():
	case s.tracker.Unsure():
		s.hold()
		s.run(mysqlproto.ComPing, "", func(e *mysqlproto.ServerError) {
			if e != nil {
				s.cut()
				return
			}
			s.tryLeave()
			s.release()
		})
	case s.tracker.Idle():
		s.depart()
	}
}

// depart ends a session between two transactions.
func (s *session) depart() {
	s.f.stats.closed[drained].Add(1)
	s.tell(mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
	s.up.Write(quit())
	s.over()
	s.up.CloseAfterFlush()
	s.down.CloseLingering()
}

// gone reports whether the cluster does not have the session's endpoint any more.
func (s *session) gone() bool {
	return s.f.route.Judge(s.f.cluster.Table(), s.to.endpoint) == sqlroute.Gone
}

// review looks at a session after its cluster's endpoints have moved. One whose
// endpoint is gone for half the deadline ends in the other half.
func (s *session) review(deadline time.Duration) {
	if s.is(isEnded|isMoving|isLeaving) || s.start != nil || !s.gone() {
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
