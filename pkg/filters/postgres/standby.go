package postgres

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
)

// rolesMoved has sessions look at the roles and the health of their servers.
func (f *Filter) rolesMoved() {
	for _, l := range f.parts() {
		l.loop.Post(func() {
			l.each((*session).reconsider)
			if l.pool != nil {
				l.pool.reconsider()
			}
		})
	}
}

// deadline bounds what a session may go on for at a server that has lost its role.
func (f *Filter) deadline() time.Duration {
	const usual = 30 * time.Second
	if f.ctx.DrainDeadline > 0 {
		return f.ctx.DrainDeadline
	}
	return usual
}

// reconsider looks at a session after roles or health have changed. At a server
// that has lost the role that the session needs it goes on to the end of its
// transaction, unless the server does not answer any more. While no other server
// has the role, a session stays where it is.
func (s *session) reconsider() {
	switch {
	case s.is(isEnded) || s.pool != nil:
	case s.start != nil:
		s.tryElsewhere()
	case s.f.route.Judge(s.f.cluster.Table(), s.to.endpoint) != sqlroute.Demoted:
	case !s.to.endpoint.Healthy():
		s.cut()
	default:
		s.drain(s.f.deadline())
	}
}

// tryElsewhere gives up a login at a server that is not the right one any more, or
// is not well while another is.
func (s *session) tryElsewhere() {
	st := s.start
	if !st.waiting || s.up == nil || s.is(upClosed) || st.told || !s.f.route.Better(s.f.cluster.Table(), s.to.endpoint) {
		return
	}
	st.failure = sqlroute.ErrElsewhere
	s.dropAttempt()
	s.connect()
}

// passing reports whether a server's error in the login is one that goes away,
// here or elsewhere: it begins or ends.
func (s *session) passing(state string) bool {
	return s.f.route.ByRole() && !s.start.told && state == pgproto.StateCannotConnectNow
}

// noteState has everybody asked for their roles where a server says that it is
// not what it was.
func (f *Filter) noteState(state string, fatal bool) {
	switch {
	case state == pgproto.StateReadOnlyTransaction:
		f.route.Refused(state, f.conf.ReadOnly)
	case fatal && (state == pgproto.StateAdminShutdown || state == stateCrashShutdown || state == pgproto.StateCannotConnectNow):
		f.route.Refresh(state)
	}
}

// stateCrashShutdown is what sessions are told when another one has crashed.
const stateCrashShutdown = "57P02"

// countAt counts the session at an endpoint, for the choice of others.
func (s *session) countAt(e *filters.Endpoint) {
	s.uncount()
	e.SessionBegan()
	s.counted = e
}

func (s *session) uncount() {
	if s.counted != nil {
		s.counted.SessionEnded()
		s.counted = nil
	}
}

// reconsider looks at shared connections after roles or health have changed.
func (p *pool) reconsider() {
	table := p.f.cluster.Table()
	for _, s := range p.all() {
		if s.to.endpoint == nil || p.f.route.Judge(table, s.to.endpoint) != sqlroute.Demoted {
			continue
		}
		s.state |= isWorn
		switch c := s.client; {
		case s.isIdle():
			s.close(closedWorn)
		case c == nil:
		case !s.to.endpoint.Healthy():
			c.s.cut()
		case p.key.session || s.is(isPinned):
			c.s.drain(p.f.deadline())
		default:
			p.key.loop.After(p.f.deadline(), func() { s.overstays(c) })
		}
	}
}
