package mysql

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// loginStep is a session that logs in at its server.
type loginStep session

// connect begins to log in at an endpoint, as soon as there are one and
// credentials.
func (s *session) connect() {
	if s.is(isEnded) {
		return
	}
	st := s.start
	st.turn.Leave() // of an attempt that has failed
	by, err := s.f.credentials()
	if err != nil {
		s.f.log.Debug("reading credentials", "error", err)
		s.wait(noSecret, "dragoman: the credentials for the database are not there")
		return
	}
	table := s.f.cluster.Table()
	e := s.f.route.Next(table, st.tried, st.failure != nil)
	if e == nil && s.f.route.ByRole() {
		st.tried = nil
	}
	switch {
	case e == nil && len(st.tried) == 0 && st.failure != nil:
		s.wait(connectFailed, "dragoman: no server of the database can be reached: "+reasonOf(st.failure)+"; "+s.f.route.Missing(table))
		return
	case e == nil && len(st.tried) == 0:
		s.wait(noEndpoint, "dragoman: "+s.f.route.Missing(table))
		return
	case e == nil:
		s.refuse(connectFailed, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: no server of the database can be reached: "+reasonOf(st.failure))
		return
	}
	st.tried = append(st.tried, e)
	st.turn = s.f.b.dials.Enter(s.f.loop, e, s.f.conf.Limits.MaxConnecting, func() {
		if st.hold != nil {
			st.hold.Stop()
		}
		s.dialAt(table, e, by)
	})
	if st.turn.Waiting() {
		st.hold = s.f.loop.After(s.f.conf.Limits.MaxWait-time.Duration(s.f.loop.Now()-st.accepted), func() {
			s.refuse(tooMany, mysqlproto.ErrnoTooManyConnections, mysqlproto.StateTooMany, crowded)
		})
	}
}

// dialAt connects to an endpoint.
func (s *session) dialAt(table *filters.Table, e *filters.Endpoint, by *database.Credentials) {
	s.countAt(e)
	s.to = route{endpoint: e, timeout: 3 * time.Second, optional: s.f.conf.TLSOptional}
	if table.Options != nil {
		s.to.timeout, s.to.startTLS = table.Options.ConnectTimeout, table.Options.StartTLS
		s.to.probes = table.Options.KeepAlive
	}
	s.state &^= upClosed
	s.by = by
	s.start.login = s.f.dial(&s.to, by, (*loginStep)(s))
}

// credentials reads those of the environment, as they are now.
func (l *local) credentials() (*database.Credentials, error) {
	by, err := database.ReadCredentials(l.ctx.Secrets, &l.conf.Login)
	if err != nil {
		return nil, err
	}
	if l.latest == nil || *l.latest != by {
		l.latest = &by // one for all sessions
	}
	return l.latest, nil
}

// introduced implements loginOwner.
func (d *loginStep) introduced() {
	s := (*session)(d)
	s.start.turn.Leave() // what comes next may be for a slow client to say
	l := s.start.login
	s.thread = l.greeting.ThreadID
	s.agreed.upPlugin, s.agreed.mariaDB = l.greeting.AuthPlugin, l.greeting.MariaDB()
	if s.start.seq == 0 {
		s.greet(&l.greeting)
		return
	}
	s.keepThread(s.told)
	s.enter()
}

// entered implements loginOwner: the server lets us in.
func (d *loginStep) entered(payload []byte) {
	s := (*session)(d)
	l := s.start.login
	ok, err := mysqlproto.ParseOK(payload)
	if err != nil {
		l.conn.Close()
		s.loginFailed("dragoman: the server does not speak MySQL's protocol", err)
		return
	}
	s.up = l.conn
	copy(s.agreed.upScramble[:], l.scramble)
	s.tracker = mysqlproto.NewTracker(s.agreed.up, ok.Status)
	s.up.SetDriver((*upstream)(s))
	saved := append([]byte(nil), payload...)
	s.setUp(func(e *mysqlproto.ServerError) {
		if e != nil {
			s.loginFailed("dragoman: the server refuses a setting of the session: "+e.Message, e)
			return
		}
		s.letIn(saved)
	})
}

// letIn is the end of the login. ok is what the server has said at the end of
// ours.
func (s *session) letIn(ok []byte) {
	st, now := s.start, s.f.loop.Now()
	st.stop()
	s.f.rotation.Accepted(*s.by)
	s.f.stats.logins.Add(1)
	s.f.stats.login.Observe(now - st.accepted)
	if _, was := s.f.failed.LoadAndDelete(s.to.endpoint); was {
		s.f.cluster.Report(s.to.endpoint, filters.Success)
	}
	s.start = nil
	s.active = now
	s.watchQueries(st.response.Database)
	s.writeOK(st.seq, st.fast, ok)
	s.down.SetDriver((*downstream)(s))
	s.down.SetHangupNotice(false)
	s.down.Resume()
}

// writeOK tells the client that it is let in.
func (s *session) writeOK(seq byte, fast bool, ok []byte) {
	var out []byte
	if fast {
		out = mysqlproto.AppendPacket(out, seq, mysqlproto.AppendFastAuthOK(nil))
		seq++
	}
	s.down.Write(mysqlproto.AppendPacket(out, seq, ok))
}

// denied implements loginOwner. An error about the password may be about one
// that has been changed meanwhile.
func (d *loginStep) denied(e *mysqlproto.ServerError, payload []byte) {
	s := (*session)(d)
	st := s.start
	if e.Errno == mysqlproto.ErrnoServerShutdown && s.f.route.ByRole() {
		s.goElsewhere(e)
		return
	}
	x := &denial{e, slices.Clone(payload)}
	if !st.retried && e.Errno == mysqlproto.ErrnoAccessDenied {
		left := s.f.rotation.Refused(*s.by, time.Now())
		if s.awaitOthers(x, s.f.loop.Now()+int64(left)) {
			return
		}
	}
	s.passDenial(x)
}

// denial is a server's error at the end of a login.
type denial struct {
	err     *mysqlproto.ServerError
	payload []byte
}

// awaitOthers has the session log in once more with other credentials, as soon as
// they are there: somebody may have changed the password at the server first. It
// is false if there is nothing to wait for; until is a loop's time.
func (s *session) awaitOthers(x *denial, until int64) bool {
	st := s.start
	if s.f.rotation.Others(*s.by) {
		st.retried = true
		s.f.log.Info("the server refuses the credentials, and others are there by now: trying those")
		st.tried = st.tried[:len(st.tried)-1]
		s.connect()
		return true
	}
	until = min(until, st.accepted+int64(s.f.conf.Limits.MaxWait))
	left := time.Duration(until - s.f.loop.Now())
	if left <= 0 {
		return false
	}
	st.hold = s.f.loop.After(min(holdEvery, left), func() {
		if !s.is(isEnded) && !s.awaitOthers(x, until) {
			s.passDenial(x)
		}
	})
	return true
}

// passDenial ends the session with the server's error.
func (s *session) passDenial(x *denial) {
	e := x.err
	s.f.stats.failed(e.Errno, e.State)
	s.f.stats.refused[serverRefused].Add(1)
	s.logDenied(e)
	s.down.Write(mysqlproto.AppendPacket(nil, s.start.seq, x.payload))
	s.finish()
}

func (s *session) logDenied(e *mysqlproto.ServerError) {
	hint := ""
	if e.Errno == mysqlproto.ErrnoAccessDenied {
		hint = "these are the environment's credentials in the document, not the app's: check them, and the user's host and grants"
	}
	s.f.log.Warn("the server refuses a session", "error", e.Errno, "sqlstate", e.State, "message", e.Message, "user", s.by.User,
		"endpoint", s.to.endpoint.Address, "hint", hint)
}

// broken implements loginOwner.
func (d *loginStep) broken(err error) {
	s := (*session)(d)
	st := s.start
	if s.is(isEnded) {
		return
	}
	s.uncount()
	began := st.login.stage != connecting && !s.f.route.ByRole()
	switch {
	case errors.Is(err, errTimeout):
		s.f.report(s.to.endpoint, filters.RequestTimeout)
		s.refuse(connectFailed, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the database does not answer")
	case !errors.Is(err, errGone):
		s.loginFailed("dragoman: the proxy does not log in at this server: "+reasonOf(err), err)
	default:
		s.f.stats.connectFailures.Add(1)
		s.f.report(s.to.endpoint, filters.ConnectFailure)
		s.f.log.Warn("connecting to the database failed", "endpoint", s.to.endpoint.Address, "error", err)
		st.failure = err
		if began {
			s.refuse(connectFailed, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the connection to the database ended during the login: "+reasonOf(err))
			return
		}
		s.connect()
	}
}

// loginFailed ends a session because of what the server did, or is.
func (s *session) loginFailed(message string, err error) {
	s.f.log.Error("logging in at the database", "endpoint", s.to.endpoint.Address, "message", message, "error", err)
	s.refuse(loginError, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, message)
}

// statements are those that make a session what the document says.
func (f *Filter) statements(mariaDB bool) []string {
	var all []string
	if d := f.conf.StatementTimeout; d != nil {
		if mariaDB {
			all = append(all, "SET SESSION max_statement_time="+strconv.FormatFloat(d.Seconds(), 'f', 3, 64))
		} else {
			all = append(all, "SET SESSION max_execution_time="+strconv.FormatInt(d.Milliseconds(), 10))
		}
	}
	if f.conf.ReadOnly {
		all = append(all, "SET SESSION TRANSACTION READ ONLY")
	}
	return all
}
