package mysql

import (
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

const shutdownMessage = "Server shutdown in progress (dragoman: the environment of this session is no more)"

// errnoReadOnlyMode is ER_READ_ONLY_MODE, which a server says that shares its
// storage with the one that writes.
const errnoReadOnlyMode uint16 = 1836

// GoOnAt implements database.Leaver.
func (s *session) GoOnAt(next *database.Part) bool {
	if !s.Part.SameTarget(next.Filter) || !s.Stays(next) {
		return false
	}
	s.MoveTo(next)
	return true
}

// Cut implements database.Leaver. What the server is busy with is killed.
func (s *session) Cut() {
	if s.Is(database.Ended) {
		return
	}
	if s.start != nil {
		s.refuse(database.Retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
		return
	}
	s.killOwn()
	s.say(database.Retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
}

// TryLeave implements database.Leaver. After an error it is not known whether a
// transaction is open: the server is asked.
func (s *session) TryLeave() {
	switch {
	case !s.Is(database.Leaving) || s.Is(database.Ended|isResetting) || s.start != nil || s.busy():
	case !s.tracker.AtCommand() || !s.fromDown.AtBoundary() || !s.fromUp.AtBoundary():
	case s.tracker.Unsure():
		s.hold()
		s.run(mysqlproto.ComPing, "", func(e *mysqlproto.ServerError) {
			if e != nil {
				s.Cut()
				return
			}
			s.TryLeave()
			s.release()
		})
	case s.tracker.Idle() && s.locks.none():
		s.tell(mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
		s.Depart(quit())
	}
}

// Quiet implements database.Leaver.
func (s *session) Quiet() {
	if !s.busy() && s.tracker.AtCommand() {
		s.say(database.IdleTimeout, mysqlproto.ErrnoIdle, mysqlproto.StateGeneral, "dragoman: the client was disconnected because of inactivity")
	}
}

// noteError has everybody asked for their roles where a server says that it is
// not what it was.
func (s *session) noteError(errno uint16) {
	switch errno {
	case mysqlproto.ErrnoReadOnlyOption, errnoReadOnlyMode:
		s.Part.Route.Refused(strconv.Itoa(int(errno)), s.Part.Conf.ReadOnly)
	case mysqlproto.ErrnoServerShutdown:
		s.Part.Route.Refresh(strconv.Itoa(int(errno)))
	}
}
