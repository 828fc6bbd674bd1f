package postgres

import (
	"errors"
	"slices"
	"time"

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
	s.f.rotation.Accepted(st.login.by)
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
	d := &denial{n, slices.Clone(whole)}
	l := &s.start.login
	if d.ofCredentials() && !l.retried {
		left := s.f.rotation.Refused(l.by, time.Now())
		if s.awaitOthers(d, s.f.loop.Now()+int64(left)) {
			return
		}
	}
	s.passDenial(d)
}

// denial is a server's error at the end of a login.
type denial struct {
	notice pgproto.Notice
	whole  []byte // the message
}

// ofCredentials reports whether others might be let in.
func (d *denial) ofCredentials() bool {
	return d.notice.State == pgproto.StateInvalidPassword || d.notice.State == pgproto.StateInvalidAuth
}

// passDenial ends the session with the server's error.
func (s *session) passDenial(d *denial) {
	n, hint := d.notice, ""
	if d.ofCredentials() {
		hint = "these are the environment's credentials in the document, not the app's: check them, and pg_hba.conf"
	}
	s.f.log.Warn("the server refuses a session", "sqlstate", n.State, "message", n.Message, "user", s.start.login.by.User,
		"endpoint", s.to.endpoint.Address, "hint", hint)
	if s.errand != nil {
		s.errand.g.refused(s.errand, d.whole, n.State)
		s.finish()
		return
	}
	s.f.stats.failed(n.State)
	s.f.stats.refused[serverRefused].Add(1)
	s.down.Write(d.whole)
	s.finish()
}

// awaitOthers has the session log in once more with other credentials, as soon as
// they are there: somebody may have changed the password at the server first. It
// is false if there is nothing to wait for; until is a loop's time.
func (s *session) awaitOthers(d *denial, until int64) bool {
	st := s.start
	others := s.f.rotation.Others(st.login.by)
	most := int64(s.f.conf.Limits.MaxWait)
	if s.errand != nil {
		most -= most / 4 // who waits at the pool is to hear the server's error before his own time is over
	}
	until = min(until, st.since+most)
	left := time.Duration(until - s.f.loop.Now())
	if !others && left <= 0 {
		return false
	}
	if s.up != nil {
		s.dropAttempt()
	}
	if others {
		st.login.retried = true
		s.f.log.Info("the server refuses the credentials, and others are there by now: trying those")
		st.tried = st.tried[:len(st.tried)-1]
		s.connect()
		return true
	}
	st.hold = s.f.loop.After(min(holdEvery, left), func() {
		if !s.is(isEnded) && !s.awaitOthers(d, until) {
			s.passDenial(d)
		}
	})
	return true
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
