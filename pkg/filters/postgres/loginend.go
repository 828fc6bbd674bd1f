package postgres

import (
	"errors"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// begin is the end of the login: what the server says from now on is for the
// app, in its order.
func (s *session) begin() {
	st, now := s.start, s.f.loop.Now()
	st.stop()
	if _, was := s.f.failed.LoadAndDelete(s.to.endpoint); was {
		s.f.cluster.Report(s.to.endpoint, filters.Success)
	}
	if s.errand != nil {
		s.errand.loggedIn(s)
		return
	}
	s.f.stats.logins.Add(1)
	s.f.stats.login.Observe(now - st.accepted)
	s.f.stats.wait.Observe(now - st.since)
	s.start = nil
	s.active = now
	s.watchQueries(st.message.Database())
	s.down.Write(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil))
	s.down.SetDriver((*downstream)(s))
	s.up.SetDriver((*upstream)(s))
	s.down.SetHangupNotice(false)
	s.down.Resume()
}

// loginRefused is the server's error. One about the password may be about one
// that has been changed meanwhile.
func (s *session) loginRefused(payload, whole []byte) {
	l := &s.start.login
	n, err := pgproto.ParseNotice(payload)
	if err != nil {
		s.loginFailed("dragoman: the server's error cannot be read", err)
		return
	}
	if s.passing(n.State) {
		s.start.failure = errors.New(n.Message)
		s.f.report(s.to.endpoint, filters.ConnectFailure) // a probe will tell when it lets somebody in
		s.dropAttempt()
		s.connect()
		return
	}
	badLogin := n.State == pgproto.StateInvalidPassword || n.State == pgproto.StateInvalidAuth
	if badLogin && !l.retried {
		user, password := l.user, l.password
		if s.readCredentials() && (l.user != user || l.password != password) {
			l.retried = true
			s.f.log.Info("the server refuses the credentials, and others are there by now: trying those")
			s.reconnect()
			return
		}
		l.user, l.password = user, password
	}
	hint := ""
	if badLogin {
		hint = "these are the environment's credentials in the document, not the app's: check them, and pg_hba.conf"
	}
	s.f.log.Warn("the server refuses a session", "sqlstate", n.State, "message", n.Message, "user", l.user,
		"endpoint", s.to.endpoint.Address, "hint", hint)
	if s.errand != nil {
		s.errand.g.refused(s.errand, slices.Clone(whole), n.State)
		s.finish()
		return
	}
	s.f.stats.failed(n.State)
	s.f.stats.refused[serverRefused].Add(1)
	s.down.Write(whole)
	s.finish()
}

// reconnect begins anew at the same endpoint.
func (s *session) reconnect() {
	st := s.start
	st.tried = st.tried[:len(st.tried)-1]
	s.dropAttempt()
	s.connect()
}

// dropAttempt gives up the connection to a server that has not let us in.
func (s *session) dropAttempt() {
	s.start.turn.Leave()
	if s.start.login.timer != nil {
		s.start.login.timer.Stop()
	}
	s.uncount()
	if s.up != nil && !s.is(upClosed) {
		s.up.SetDriver(forsaken{})
		s.up.Close()
	}
	s.up = nil
}

// loginFailed ends a session because of what the server did, or is.
func (s *session) loginFailed(message string, err error) {
	s.f.log.Error("logging in at the database", "endpoint", s.to.endpoint.Address, "message", message, "error", err)
	s.refuse(loginError, pgproto.StateInvalidAuth, message, "")
}
