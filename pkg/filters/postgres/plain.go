package postgres

import "github.com/dragoman-mesh/dragoman/pkg/database"

// mayBePlain reports whether the login may begin anew in plain text: tls.mode is
// prefer, and the attempt that has failed was one with TLS in the protocol.
func (s *session) mayBePlain() bool {
	return s.Part.Conf.TLSOptional && s.To.StartTLS && !s.start.login.plain && !s.Is(database.Ended) &&
		(s.start.login.shaking || s.Up.TLSState() != nil)
}

// dialPlain begins the login anew in plain text, as libpq does with sslmode=prefer:
// the handshake has failed, or the server lets nobody in over TLS, as with nothing
// but hostnossl in pg_hba.conf. libpq does so after any error; here only before the
// server has asked for something, since what it says after that may be about
// somebody between who has made TLS with both sides (the binding of SCRAM's
// channel), and would get the answers to its own challenge in plain text.
func (s *session) dialPlain(d *denial, why string) {
	l := &s.start.login
	l.timer.Stop()
	if !l.shaking {
		database.Forsake(s.Up)
	}
	s.Part.Log.Info("the server does not let the proxy in over TLS, which is optional: trying in plain text", "endpoint", s.To.Endpoint.Address, "message", why)
	s.To.TLS = false
	s.dial(login{plain: true, overThat: d})
}
