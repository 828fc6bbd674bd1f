package mysql

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// change is COM_CHANGE_USER that is under way: the client logs in anew at the
// proxy, and the proxy at the server. What the app says of itself never gets
// there; but it gets what it wants, a session as new.
type change struct {
	user  mysqlproto.ChangeUser
	seq   byte // of the next packet to the client
	fast  bool // it expects a word of caching_sha2_password before the OK
	timer *netloop.Timer
	again *changeAgain // nil unless the server has refused the credentials
}

func (x *change) stop() {
	x.timer.Stop()
	x.again.stop()
}

// changeStep is a session that logs in anew at its server.
type changeStep session

// changeUser begins with the client's command.
func (s *session) changeUser(payload []byte, seq byte) {
	u, err := mysqlproto.ParseChangeUser(payload, s.agreed.down)
	if err != nil {
		s.clientBroke(err)
		return
	}
	u.Attrs = slices.Clone(u.Attrs)
	auth := u.Auth
	u.Auth = nil
	s.changing = &change{user: u, seq: seq}
	s.changing.timer = s.Part.Loop.After(s.b.startLimit, s.abandon)
	if a := s.Part.Conf.AppAuth; len(auth) == 0 && a != nil && a.Password.Set() && s.agreed.down.Has(mysqlproto.PluginAuth) {
		s.Down.Write(s.appendSwitch(nil, seq)) // libraries in C show nothing before they are asked
		return
	}
	plugin := u.AuthPlugin
	if plugin == "" {
		plugin = mysqlproto.PluginNative
	}
	s.judgeChange(plugin, auth)
}

// changeAnswer takes the client's answer to the wish for another method.
func (s *session) changeAnswer(b []byte) int {
	seq, payload, n, err := mysqlproto.ParsePacket(b, mysqlproto.MaxHandshake)
	if err != nil {
		if len(b) >= headLen && payloadLen(b) > mysqlproto.MaxHandshake {
			s.clientBroke(err)
			return len(b)
		}
		return 0
	}
	s.changing.seq = seq + 1
	s.judgeChange(s.agreed.downPlugin, payload)
	return n
}

func (s *session) judgeChange(plugin string, auth []byte) {
	x := s.changing
	switch s.judge(x.user.User, plugin, auth) {
	case anotherMethod:
		s.Down.Write(s.appendSwitch(nil, x.seq))
	case wrongPassword:
		s.say(database.BadPassword, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, deniedApp(x.user.User))
	case noPassword:
		s.say(database.NoSecret, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the password that apps have to give is not there")
	case welcome:
		x.timer.Stop()
		x.fast = wantsWord(plugin, auth)
		s.hold()
		s.changeAtServer()
	}
}

// changeAtServer logs in anew, with the credentials as they are now.
func (s *session) changeAtServer() {
	x := s.changing
	by, err := s.Part.Credentials()
	if err != nil {
		by = s.by
	}
	l := &login{conn: s.Up, to: &s.To, by: by, owner: (*changeStep)(s), limit: s.b.loginLimit, several: s.agreed.mariaDB}
	l.timer = s.Part.Loop.After(l.limit, func() { l.fail(errTimeout) })
	x.timer = l.timer
	name, answer, err := l.begin(s.agreed.upPlugin, s.agreed.upScramble[:])
	u := x.user
	u.User, u.Auth, u.AuthPlugin, u.Database = by.User, answer, name, s.databaseFor(u.Database)
	s.by = by
	s.Up.SetDriver(l)
	var payload []byte
	if err == nil {
		payload, err = u.AppendTo(nil, s.agreed.up)
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.write(payload)
}

// introduced implements loginOwner.
func (*changeStep) introduced() {}

// entered implements loginOwner.
func (d *changeStep) entered(payload []byte) {
	s := (*session)(d)
	ok, err := mysqlproto.ParseOK(payload)
	s.Up.SetDriver((*upstream)(s))
	if err != nil {
		s.say(database.ProtocolError, errnoMalformed, mysqlproto.StateGeneral, "dragoman: the server does not keep to the protocol")
		return
	}
	s.tracker = mysqlproto.NewTracker(s.agreed.up, ok.Status)
	s.locks = locks{}
	s.fromUp = mysqlproto.Framer{}
	s.Part.Rotation.Accepted(*s.by, s.To.Endpoint.Address)
	s.keepThread(s.told) // a KILL uses these credentials from now on
	if s.slow != nil {
		s.slow.forget()
	}
	saved := slices.Clone(payload)
	s.setUp(func(e *mysqlproto.ServerError) {
		if e != nil {
			s.say(database.ServerClosed, e.Errno, e.State, "dragoman: the server refuses a setting of the session: "+e.Message)
			return
		}
		x := s.changing
		s.changing = nil
		s.writeOK(x.seq, x.fast, saved)
		s.TryLeave()
		s.release()
	})
}

// denied implements loginOwner. The password may have been changed meanwhile.
func (d *changeStep) denied(e *mysqlproto.ServerError, payload []byte) {
	s := (*session)(d)
	s.State |= database.UpClosed
	switch {
	case s.Is(database.Ended):
		s.Settle()
	case s.changing.again == nil && e.Errno == mysqlproto.ErrnoAccessDenied:
		s.awaitChange(&denial{e, slices.Clone(payload)})
	default:
		s.passChangeDenial(&denial{e, payload})
	}
}

// passChangeDenial ends the session with the server's error.
func (s *session) passChangeDenial(x *denial) {
	s.logDenied(x.err)
	s.failed(x.err.Errno, x.err.State)
	s.Part.Stats.Closed[database.ServerRefused].Add(1)
	s.Down.Write(mysqlproto.AppendPacket(nil, s.changing.seq, x.payload))
	s.Finish()
}

// broken implements loginOwner.
func (d *changeStep) broken(err error) {
	s := (*session)(d)
	s.State |= database.UpClosed
	if s.Is(database.Ended) {
		s.Settle()
		return
	}
	s.Part.Log.Error("logging in anew at the database", "endpoint", s.To.Endpoint.Address, "error", err)
	s.say(database.ServerClosed, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the proxy does not log in anew at this server: "+reasonOf(err))
}
