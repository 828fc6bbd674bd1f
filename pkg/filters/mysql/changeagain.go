package mysql

import (
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// crowded is said to those who have waited too long for limits.maxConnecting.
const crowded = "dragoman: too many sessions begin at the database at once"

// changeAgain is COM_CHANGE_USER whose first try the server has refused: it is done
// once more with other credentials. A server may close a connection on which it has
// refused some, and so that is done on another connection.
type changeAgain struct {
	wait  *database.Awaiting
	turn  *database.Turn
	login *login
}

func (x *changeAgain) stop() {
	if x != nil {
		x.wait.Stop()
		x.turn.Leave()
	}
}

// anewStep is a session that begins anew at its server on another connection.
type anewStep session

// awaitChange has the client wait for other credentials than those refused.
func (s *session) awaitChange(x *denial) {
	s.changing.again = &changeAgain{}
	s.changing.again.wait = s.Part.Rotation.Await(s.Part.Loop, *s.by, s.Part.Conf.Limits.MaxWait, func(by *database.Credentials) {
		if by == nil {
			s.passChangeDenial(x)
			return
		}
		s.Part.Log.Info("the server refuses the credentials, and others are there by now: logging in anew with those")
		s.by = by
		s.enterAnew()
	})
}

// enterAnew connects to the session's server, when it is its turn.
func (s *session) enterAnew() {
	x, limits := s.changing, &s.Part.Conf.Limits
	x.again.turn = s.b.Dials.Turn(s.Part.Loop, s.To.Endpoint, limits.MaxConnecting, func() {
		x.timer.Stop()
		s.To.TLS = false
		s.State &^= database.UpClosed
		x.again.login = s.b.dial(s.Part.Loop, &s.To, s.by, (*anewStep)(s))
		s.Up = x.again.login.conn
	})
	x.again.turn.Enter()
	if x.again.turn.Waiting() {
		x.timer = s.Part.Loop.After(limits.MaxWait, func() {
			s.say(database.TooMany, mysqlproto.ErrnoTooManyConnections, mysqlproto.StateTooMany, crowded)
		})
	}
}

// introduced implements loginOwner.
func (d *anewStep) introduced() {
	s := (*session)(d)
	l := s.changing.again.login
	if s.Is(database.Ended) {
		return
	}
	if !s.agree(&l.greeting, false) {
		s.say(database.Retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
		return
	}
	s.thread = l.greeting.ThreadID
	s.agreed.upPlugin, s.agreed.mariaDB = l.greeting.AuthPlugin, l.greeting.MariaDB()
	s.keepThread(s.told)
	r := mysqlproto.HandshakeResponse{Capabilities: s.agreed.up, MaxPacket: s.agreed.maxPacket, Charset: s.agreed.charset}
	l.enter(r)
}

// entered implements loginOwner: what the client has asked for comes now.
func (d *anewStep) entered([]byte) {
	s := (*session)(d)
	s.changing.again.turn.Leave()
	copy(s.agreed.upScramble[:], s.changing.again.login.scramble)
	s.changeAtServer()
}

// denied implements loginOwner.
func (d *anewStep) denied(e *mysqlproto.ServerError, payload []byte) {
	(*changeStep)(d).denied(e, payload)
}

// broken implements loginOwner.
func (d *anewStep) broken(err error) { (*changeStep)(d).broken(err) }
