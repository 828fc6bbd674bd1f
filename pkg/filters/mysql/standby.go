package mysql

import (
	"errors"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
)

// errnoReadOnlyMode is ER_READ_ONLY_MODE, which a server says that shares its
// storage with the one that writes.
const errnoReadOnlyMode uint16 = 1836

// rolesMoved has sessions look at the roles and the health of their servers.
func (f *Filter) rolesMoved() { f.each((*session).reconsider) }

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
	case s.is(isEnded):
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
	l := s.start.login
	underWay := l != nil && !l.dropped || s.up != nil // else it waits to begin anew already
	if underWay && s.f.route.Better(s.f.cluster.Table(), s.to.endpoint) {
		s.goElsewhere(sqlroute.ErrElsewhere)
	}
}

// goElsewhere begins to log in anew, at a server that is well.
func (s *session) goElsewhere(why error) {
	s.start.failure = why
	if !errors.Is(why, sqlroute.ErrElsewhere) {
		s.f.report(s.to.endpoint, filters.ConnectFailure) // a probe will tell when it lets somebody in
	}
	s.dropAttempt()
	s.connect()
}

// noteError has everybody asked for their roles where a server says that it is
// not what it was.
func (f *Filter) noteError(errno uint16) {
	switch errno {
	case mysqlproto.ErrnoReadOnlyOption, errnoReadOnlyMode:
		f.route.Refused(strconv.Itoa(int(errno)), f.conf.ReadOnly)
	case mysqlproto.ErrnoServerShutdown:
		f.route.Refresh(strconv.Itoa(int(errno)))
	}
}

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
