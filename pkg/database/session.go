package database

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/linked"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
)

// farewellLimit bounds what a server may take to do the last that a client has
// asked for before it left.
const farewellLimit = 10 * time.Minute

// Session is an app's connection and the one to its server, from the accept to the
// end of both, as far as that is the same for all protocols: whose it is, where it
// may go on, and in which order it ends. A protocol's session has one in it, looks
// at the bytes, and says by [Protocol] how its sessions are spoken to. Everything
// in it is its loop's.
type Session struct {
	Part     *Part
	Down, Up *netloop.Conn // Up is nil while there is none
	To       Server        // that Up leads to
	Entry    *Entry        // nil once the server has let us in
	Queries  *QueryWatch   // nil: nobody wants to know of them
	Began    int64         // loop time of the oldest request that is not answered, ns; 0: none
	Active   int64         // loop time of the last traffic, ns
	State    State

	linked.Links[*Session] // of Part's list

	self    Protocol
	place   *Waiter // at the gate; nil while there is none
	leaving *netloop.Timer
	counted *filters.Endpoint // where the session counts; nil: nowhere
	joined  bool              // it is one of Part's list
}

// Protocol is what a session does in the words of its protocol. None of it is
// called while bytes are passed on.
type Protocol interface {
	Leaver
	Ender
}

// Leaver is how a session leaves its server, or its filter.
type Leaver interface {
	// Cut ends the session now. What its server is busy with is cancelled.
	Cut()
	// TryLeave ends a session that is Leaving if nothing is under way.
	TryLeave()
	// GoOnAt has the session move to another filter's part if it would be the same
	// there; else it is drained.
	GoOnAt(next *Part) bool
	// Quiet ends the session if it waits for its client, which has been silent for
	// limits.idleTimeout.
	Quiet()
}

// Ender is told of a session's end.
type Ender interface {
	// Over says that the session has ended, and perhaps not its connections.
	Over()
	// Forget says that nothing is left of it.
	Forget()
}

// State is a set of a session's flags.
type State uint16

// The flags that all protocols have.
const (
	Ended      State = 1 << iota // nothing more is passed on
	Leaving                      // ends at the next boundary
	Moving                       // the endpoint is not the cluster's any more
	Shared                       // it has no server of its own
	DownClosed                   // the connections are gone
	UpClosed

	// OwnState is the first of those that are a protocol's own.
	OwnState State = 1 << iota
)

// Is reports whether any of some flags is set.
func (s *Session) Is(f State) bool { return s.State&f != 0 }

// Join makes a connection that was accepted a session of the filter.
func (f *Filter) Join(s *Session, self Protocol, c *netloop.Conn) {
	c.SetUnshared()
	s.self, s.Down = self, c
	p := f.Part(c.Loop())
	p.add(s)
	p.Stats.Accepted.Add(1)
}

// Errand makes a session without a client, which logs in for others and is not
// counted among those of the part.
func (p *Part) Errand(s *Session, self Protocol) {
	s.Part, s.self, s.State = p, self, DownClosed
}

// LetIn is the server's word that the client waits for.
func (s *Session) LetIn() {
	e, now := s.Entry, s.Part.Loop.Now()
	e.stop()
	s.Part.Stats.Logins.Add(1)
	s.Part.Stats.Login.Observe(now - e.Accepted)
	s.Entry = nil
	s.Active = now
}

// Answered is the server's answer to the oldest request, at a loop time. more says
// that it owes others.
func (s *Session) Answered(now int64, more bool) {
	if s.Began != 0 {
		took := now - s.Began
		s.Part.Stats.Latency.Observe(took)
		if s.Queries != nil {
			s.Queries.done(s, took)
		}
	}
	s.Began = 0
	if more {
		s.Began = s.Active
	}
}

// Spans are those of the session's queries; nil for none.
func (s *Session) Spans() *Spans {
	if s.Queries == nil {
		return nil
	}
	return s.Queries.Spans
}

// leave takes a session off its retired filter: to the next one if it would be
// the same there, else to its end.
func (s *Session) leave(r filters.Retirement) {
	next := s.Part.successor()
	switch {
	case s.Is(Ended):
		if s.leaving != nil {
			s.leaving.Reset(r.Deadline)
		}
	case r.Cut:
		s.self.Cut()
	case next == nil:
		s.Drain(r.Deadline)
	case s.Entry != nil:
		s.Entry.beginAt(next)
	case !s.self.GoOnAt(next):
		s.Drain(r.Deadline)
	}
}

// Stays reports whether another filter still has the session's endpoint, and it
// still suits.
func (s *Session) Stays(next *Part) bool {
	return next.Route.Judge(next.Cluster.Table(), s.To.Endpoint) == sqlroute.Stays
}

// MoveTo has the session go on as one of another filter's.
func (s *Session) MoveTo(next *Part) {
	old := s.Part
	if s.place != nil && old.gate != next.gate {
		old.gate.Leave(s.place)
		s.place = &Waiter{Loop: next.Loop}
		next.gate.Force(s.place)
	}
	s.takenOver(next)
}

// takenOver moves a session from one filter's list to another's.
func (s *Session) takenOver(next *Part) {
	old := s.Part
	old.unlink(s)
	next.add(s)
	old.settle()
}

// Drain ends a session at the next boundary of a transaction, or at the deadline.
func (s *Session) Drain(deadline time.Duration) {
	if s.Is(Ended | Leaving) {
		return
	}
	if s.Entry != nil || deadline <= 0 {
		s.self.Cut()
		return
	}
	s.State |= Leaving
	s.stopLeaving()
	s.leaving = s.Part.Loop.After(deadline, s.self.Cut)
	s.self.TryLeave()
}

// StayOn has a session that was to leave go on after all.
func (s *Session) StayOn() {
	s.stopLeaving()
	s.State &^= Leaving
}

func (s *Session) stopLeaving() {
	if s.leaving != nil {
		s.leaving.Stop()
		s.leaving = nil
	}
}

// gone reports whether the cluster does not have the session's endpoint any more.
func (s *Session) gone() bool { return s.judge() == sqlroute.Gone }

func (s *Session) judge() sqlroute.Verdict {
	return s.Part.Route.Judge(s.Part.Cluster.Table(), s.To.Endpoint)
}

// review looks at a session after its cluster's endpoints have moved. One whose
// endpoint is gone for half the deadline ends in the other half.
func (s *Session) review(deadline time.Duration) {
	if s.Is(Ended|Moving|Leaving|Shared) || s.Entry != nil || !s.gone() {
		return
	}
	s.State |= Moving
	s.leaving = s.Part.Loop.After(deadline/2, func() {
		s.State &^= Moving
		if !s.Is(Ended) && s.gone() {
			s.Drain(deadline / 2)
		}
	})
}

// reconsider looks at a session after roles or health have changed. At a server
// that has lost the role that the session needs it goes on to the end of its
// transaction, unless the server does not answer any more. While no other server
// has the role, a session stays where it is.
func (s *Session) reconsider() {
	switch {
	case s.Is(Ended | Shared):
	case s.Entry != nil:
		s.Entry.reconsider()
	case s.judge() != sqlroute.Demoted:
	case !s.To.Endpoint.Healthy():
		s.self.Cut()
	default:
		s.Drain(s.Part.RoleDeadline())
	}
}

// checkIdle ends a session that has been quiet for too long.
func (s *Session) checkIdle(limit time.Duration) {
	if s.Entry == nil && time.Duration(s.Part.Loop.Now()-s.Active) >= limit {
		s.self.Quiet()
	}
}

// End marks the session as ended.
func (s *Session) End() {
	s.State |= Ended
	if spans := s.Spans(); spans != nil {
		spans.Abandon(s.Part.Loop.WallTime(), s.To.Endpoint)
	}
	s.stopLeaving()
	if s.Entry != nil {
		s.Entry.stop()
	}
	s.self.Over()
}

// Finish lets the client have what was written for it, and ends both connections.
func (s *Session) Finish() {
	s.End()
	if !s.Is(DownClosed) {
		s.Down.CloseLingering()
	}
	if s.Up != nil && !s.Is(UpClosed) {
		s.Up.Close()
	}
}

// Depart ends a session between two transactions, with the last word to the
// server. The client has been told.
func (s *Session) Depart(last []byte) {
	s.Part.Stats.Closed[Drained].Add(1)
	s.Up.Write(last)
	s.End()
	s.Down.CloseLingering()
	s.Up.CloseAfterFlush()
}

// Abandoned ends a session whose client is gone, and reports whether there is a
// server to take leave of.
func (s *Session) Abandoned() bool {
	s.End()
	if !s.Is(DownClosed) {
		s.Down.Close()
	}
	return s.Up != nil && !s.Is(UpClosed)
}

// Farewell is for a client that has asked for something and said goodbye at once:
// the server does the one and then the other, as it would without us.
func (s *Session) Farewell() {
	s.Up.Resume()
	s.Up.CloseWrite()
	s.leaving = s.Part.Loop.After(farewellLimit, s.Up.Close)
}

// LostDown notes the end of the client's connection.
func (s *Session) LostDown(err error) {
	s.State |= DownClosed
	if err != nil && !s.Is(Ended) {
		s.Part.Log.Debug("a client's connection failed", "error", err)
	}
}

// LostUp notes the end of the server's connection.
func (s *Session) LostUp(err error) {
	s.State |= UpClosed
	s.Uncount()
	if err != nil && !s.Is(Ended) {
		s.Part.Log.Debug("a server's connection failed", "endpoint", s.To.Endpoint.Address, "error", err)
	}
}

// Settle forgets a session of which nothing is left.
func (s *Session) Settle() {
	if !s.joined || !s.Is(DownClosed) || s.Up != nil && !s.Is(UpClosed) {
		return
	}
	s.stopLeaving()
	s.leavePlace()
	s.Uncount()
	s.self.Forget()
	s.Part.unlink(s)
	s.Part.settle()
}

// leavePlace gives up the place at the gate, or the wish for one.
func (s *Session) leavePlace() {
	if s.place != nil {
		s.Part.gate.Leave(s.place)
		s.place = nil
	}
}

// countAt counts the session at an endpoint, for the choice of others.
func (s *Session) countAt(e *filters.Endpoint) {
	s.Uncount()
	e.SessionBegan()
	s.counted = e
}

// Uncount ends that.
func (s *Session) Uncount() {
	if s.counted != nil {
		s.counted.SessionEnded()
		s.counted = nil
	}
}

// HandOver ends an errand that has logged in: its connection goes on as somebody
// else's, who has to end the count at the endpoint, too.
func (s *Session) HandOver() (counted *filters.Endpoint) {
	s.Entry.stop()
	s.Entry = nil
	s.State |= Ended
	counted, s.counted = s.counted, nil
	return counted
}
