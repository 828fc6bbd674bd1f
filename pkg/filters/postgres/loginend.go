package postgres

import (
	"errors"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// letIn is the end of the login, once the server goes on behind its OK: what it says
// from now on is for the app, in its order.
func (s *session) letIn() {
	st := s.start
	st.stop()
	if s.errand != nil {
		s.errand.loggedIn(s)
		return
	}
	s.Part.Stats.Wait.Observe(s.Part.Loop.Now() - st.Since)
	s.LetIn()
	s.start = nil
	s.watchQueries(st.message.Database())
	s.Down.Write(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil))
	s.Down.SetDriver((*downstream)(s))
	s.Up.SetDriver((*upstream)(s))
	s.Down.SetHangupNotice(false)
	s.Down.Resume()
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
		s.Part.Report(s.To.Endpoint, filters.ConnectFailure) // a probe will tell when it lets somebody in
		s.start.Again(n.Message)
		return
	}
	if n.State == stateTooMany && s.start.Elsewhere(n.Message) {
		return
	}
	d := &denial{n, slices.Clone(whole)}
	if s.start.login.entered {
		s.passDenial(d)
		return
	}
	if d.ofWay() && !s.start.login.asked {
		if s.mayBePlain() {
			s.dialPlain(d, n.Message)
			return
		}
		if first := s.start.login.overThat; first != nil {
			d = first // in plain text it lets in even less
		}
	}
	if !d.ofCredentials() {
		s.passDenial(d)
		return
	}
	s.start.Deny(n.State == pgproto.StateInvalidPassword, func() { s.passDenial(d) })
}

// passing reports whether a server's error in the login is one that goes away,
// here or elsewhere: it begins or ends.
func (s *session) passing(state string) bool {
	return s.Part.Route.ByRole() && state == pgproto.StateCannotConnectNow
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

// ofWay reports whether others might be let in, or the same without TLS: pg_hba.conf
// may have no line for a connection like this, or one that rejects it.
func (d *denial) ofWay() bool { return d.notice.State == pgproto.StateInvalidAuth }

// passDenial ends the session with the server's error.
func (s *session) passDenial(d *denial) {
	n, hint := d.notice, ""
	switch {
	case n.State == stateNoDatabase:
		hint = s.Part.NoDatabase()
	case d.ofCredentials():
		hint = "these are the environment's credentials in the document, not the app's: check them, and pg_hba.conf"
	}
	s.Part.Log.Warn("the server refuses a session", database.Given("sqlstate", n.State, "message", n.Message, "user", s.start.By.User,
		"endpoint", s.To.Endpoint.Address, "hint", hint)...)
	if s.errand != nil {
		s.errand.g.refused(s.errand, d.whole, n.State)
		s.Finish()
		return
	}
	s.Part.Stats.Failed(errorKind(n.State))
	s.Part.Stats.Refused[database.ServerRefused].Add(1)
	s.Down.Write(d.whole)
	s.Finish()
}

// loginFailed ends a session because of what the server did, or is.
func (s *session) loginFailed(message string, err error) {
	s.Part.Log.Error("logging in at the database", database.Given("endpoint", s.To.Endpoint.Address, "message", message, "error", err)...)
	hint := ""
	if errors.Is(err, pgproto.ErrMethodRefused) {
		hint = "The password itself is shown over verified TLS only (tls.mode verify-ca or verify-full); requireAuth of the environment may allow less."
	}
	s.refuse(database.LoginError, pgproto.StateInvalidAuth, message, hint)
}
