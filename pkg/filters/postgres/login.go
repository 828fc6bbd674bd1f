package postgres

import (
	"errors"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// login is what the proxy's login at a server needs until it is done.
type login struct {
	auth     *pgproto.Auth
	by       database.Credentials
	timer    *netloop.Timer
	askedTLS bool // the server has been asked, and has not answered
	began    bool // the start-up message is sent
	retried  bool // with credentials that were read again
	need     keysNeeded
	out      []byte
}

// errClosed is a server that closes the connection before it has said anything.
var errClosed = errors.New("the server closed the connection")

// keysNeeded are keys that the server's challenge asks for.
type keysNeeded struct {
	id         keyID
	salt       []byte
	iterations int
}

// loginLimits bound what a server may say before it lets us in, and an app before
// we let it in.
func loginLimits() pgproto.Limits { return pgproto.Limits{MaxStartup: 10_000, MaxMessage: 64 << 10} }

// connect begins to log in at an endpoint, as soon as there are one and
// credentials.
func (s *session) connect() {
	if s.is(isEnded) {
		return
	}
	st := s.start
	st.turn.Leave() // of an attempt that has failed
	if !s.readCredentials() {
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
		s.refuse(connectFailed, pgproto.StateConnectionFailure, "dragoman: no server of the database can be reached: "+reasonOf(st.failure), "")
		return
	}
	st.tried = append(st.tried, e)
	s.awaitTurn(table, e)
}

// readCredentials reads them as they are now.
func (s *session) readCredentials() bool {
	by, err := database.ReadCredentials(s.f.ctx.Secrets, &s.f.conf.Login)
	if err != nil {
		s.f.log.Debug("reading credentials", "error", err)
		return false
	}
	s.start.login.by = by
	return true
}

func (s *session) dial(table *filters.Table, e *filters.Endpoint) {
	l := &s.start.login
	*l = login{by: l.by, retried: l.retried}
	s.to = route{endpoint: e}
	s.countAt(e)
	o := netloop.DialOptions{Timeout: 3 * time.Second}
	if table.Options != nil {
		o.Timeout, o.KeepAlive = table.Options.ConnectTimeout, table.Options.KeepAlive
		s.to.startTLS = table.Options.StartTLS
	}
	if !s.to.startTLS {
		o.TLS = e.TLS
	}
	s.state &^= upClosed
	up := s.f.loop.Dial(e.Network, e.Address, o, (*loginStep)(s))
	s.up = up
	l.timer = s.f.loop.After(o.Timeout+s.f.b.loginLimit, func() {
		s.f.report(e, filters.RequestTimeout)
		s.refuse(connectFailed, pgproto.StateConnectionFailure, "dragoman: the database does not answer", "")
	})
}

// Connected implements netloop.ConnectDriver: the connection stands, or TLS has
// begun on it.
func (d *loginStep) Connected(c *netloop.Conn) {
	s := (*session)(d)
	if s.is(isEnded) {
		return
	}
	if s.to.startTLS && s.to.endpoint.TLS != nil && c.TLSState() == nil {
		s.start.login.askedTLS = true
		c.Write(sslRequest())
		return
	}
	s.introduce()
}

// introduce sends the start-up message.
func (s *session) introduce() {
	st := s.start
	l := &st.login
	state := s.up.TLSState()
	s.to.tls = state != nil
	conf := pgproto.AuthConfig{
		User: l.by.User, Password: l.by.Password, Nonce: nonce(), Derive: s.derive,
		Allow: pgproto.MethodNone | pgproto.MethodMD5 | pgproto.MethodSCRAM | pgproto.MethodSCRAMPlus,
	}
	if state != nil && verified(s.to.endpoint.TLS) {
		conf.Allow |= pgproto.MethodCleartext
	}
	conf.Allow &= s.f.conf.RequireAuth.Methods()
	if state != nil {
		if len(state.PeerCertificates) > 0 {
			conf.Binding = pgproto.EndpointBinding(state.PeerCertificates[0])
		}
	}
	l.auth, l.began = pgproto.NewAuth(conf), true
	m := s.serverParams(l.by.User)
	out, err := m.AppendTo(nil)
	if err != nil {
		s.refuse(badClient, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err), "")
		return
	}
	s.up.Write(out)
}

// derive gives keys that are there, and remembers which are missing.
func (s *session) derive(password string, salt []byte, iterations int) (pgproto.SCRAMKeys, error) {
	id := keyOf(password, salt, iterations)
	if keys, ok := s.f.b.keys.get(id); ok {
		return keys, nil
	}
	s.start.login.need = keysNeeded{id, salt, iterations}
	return pgproto.SCRAMKeys{}, errDeriving
}

// Data implements netloop.Driver.
func (d *loginStep) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(d)
	if s.is(isEnded) || c != s.up {
		return len(b)
	}
	if s.start.login.askedTLS {
		return s.answeredTLS(c, b)
	}
	lim := loginLimits()
	n := 0
	for !s.is(isEnded) && s.up == c {
		typ, payload, size, err := pgproto.ParseMessage(b[n:], &lim)
		switch {
		case errors.Is(err, pgproto.ErrIncomplete):
			return n
		case err != nil || !s.start.login.began:
			s.loginFailed("dragoman: the server does not speak PostgreSQL's protocol", err)
			return len(b)
		}
		switch s.loginMessage(typ, payload, b[n:n+size]) {
		case again:
			return n
		case through:
			n += size
			return n + c.Driver().Data(c, b[n:])
		case next:
			n += size
		}
	}
	return len(b)
}

// answeredTLS takes the one byte that the server answers to the request for TLS.
func (s *session) answeredTLS(c *netloop.Conn, b []byte) int {
	l := &s.start.login
	l.askedTLS = false
	switch {
	case len(b) != 1:
		// More than an answer is in plain text what will be taken for encrypted.
		s.loginFailed("dragoman: the server's answer to the request for TLS is not one", nil)
	case b[0] == 'S':
		c.StartTLS(s.to.endpoint.TLS, tlsLimit)
	case b[0] == 'N' && s.f.conf.TLSOptional:
		s.introduce()
	default:
		s.loginFailed("dragoman: the server does not offer TLS, which this environment demands", nil)
	}
	return len(b)
}

// outcome is what follows a message of the server.
type outcome uint8

const (
	next    outcome = iota // the next message
	again                  // the same message, later
	through                // the session
)

// loginMessage takes one message of the server that comes before it lets us in.
func (s *session) loginMessage(typ byte, payload, whole []byte) outcome {
	switch typ {
	case pgproto.TypeAuthentication:
		return s.authenticate(payload)
	case pgproto.TypeNoticeResponse:
		if s.errand == nil {
			s.down.Write(whole)
		}
	case pgproto.TypeNegotiateProtocolVersion:
		if !s.start.told && s.errand == nil {
			s.down.Write(whole)
		}
	case pgproto.TypeErrorResponse:
		s.loginRefused(payload, whole)
	default:
		s.loginFailed("dragoman: the server says something that does not belong in a login", nil)
	}
	return next
}

func (s *session) authenticate(payload []byte) outcome {
	l := &s.start.login
	out, done, err := l.auth.Step(l.out[:0], payload)
	switch {
	case errors.Is(err, errDeriving):
		s.awaitKeys()
		return again
	case err != nil:
		s.loginFailed("dragoman: the proxy does not log in at this server: "+err.Error(), err)
		return next
	case done:
		s.begin()
		return through
	}
	s.up.Write(out)
	return next
}

// awaitKeys has keys derived beside the loop, and shows the message again then.
func (s *session) awaitKeys() {
	l, up, loop := &s.start.login, s.up, s.f.loop
	up.Pause()
	s.f.b.keys.derive(l.need.id, l.by.Password, l.need.salt, l.need.iterations, func(err error) {
		loop.Post(func() {
			switch {
			case s.is(isEnded) || s.up != up || s.start == nil:
			case err != nil:
				s.loginFailed("dragoman: "+err.Error(), err)
			default:
				up.Resume()
			}
		})
	})
}

// forsaken is the driver of a connection that nobody has to do with any more.
type forsaken struct{}

func (forsaken) Data(_ *netloop.Conn, b []byte) int { return len(b) }
func (forsaken) Drained(*netloop.Conn)              {}
func (forsaken) EOF(c *netloop.Conn)                { c.Close() }
func (forsaken) Closed(*netloop.Conn, error)        {}

// Drained implements netloop.Driver.
func (*loginStep) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (d *loginStep) EOF(c *netloop.Conn) { c.Close() }

// Closed implements netloop.Driver.
func (d *loginStep) Closed(c *netloop.Conn, err error) {
	s := (*session)(d)
	if c != s.up {
		return
	}
	s.state |= upClosed
	s.uncount()
	if s.is(isEnded) {
		s.settle()
		return
	}
	s.start.login.timer.Stop()
	s.f.stats.connectFailures.Add(1)
	s.f.report(s.to.endpoint, filters.ConnectFailure)
	if s.start.failure = err; err == nil {
		s.start.failure = errClosed
	}
	s.f.log.Warn("connecting to the database failed", "endpoint", s.to.endpoint.Address, "error", err)
	entered := s.start.login.began || s.to.startTLS && c.TLSState() != nil
	if entered && (s.start.told || !s.f.route.ByRole()) {
		s.refuse(connectFailed, pgproto.StateConnectionFailure, "dragoman: the database closed the connection during the login", "")
		s.settle()
		return
	}
	s.up = nil
	s.connect()
}
