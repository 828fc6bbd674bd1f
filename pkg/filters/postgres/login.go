package postgres

import (
	"cmp"
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// login is what the proxy's login at a server needs until it is done.
type login struct {
	auth     *pgproto.Auth
	timer    *netloop.Timer
	askedTLS bool // the server has been asked, and has not answered
	shaking  bool // TLS is about to begin
	began    bool // the start-up message is sent
	asked    bool // the server has asked for something, or let us in
	entered  bool // it knows us, and may still have no room for us, or not the database
	need     keysNeeded
	out      []byte

	plain    bool    // TLS has been tried
	overThat *denial // the server's error to that; nil: TLS has not begun
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

// Dial implements database.Login.
func (s *session) Dial() { s.dial(login{}) }

func (s *session) dial(l login) {
	s.start.login = l
	s.Up = s.To.Dial(s.Part.Loop, (*loginStep)(s))
	s.start.login.timer = s.Part.Loop.After(s.To.Timeout()+s.b.loginLimit, func() {
		s.Part.Report(s.To.Endpoint, filters.RequestTimeout)
		s.refuse(database.ConnectFailed, pgproto.StateConnectionFailure, "dragoman: the database does not answer", "")
	})
}

// Drop implements database.Login.
func (s *session) Drop() {
	if t := s.start.login.timer; t != nil {
		t.Stop()
	}
	if s.Up != nil && !s.Is(database.UpClosed) {
		database.Forsake(s.Up)
	}
	s.Up = nil
	if s.pool != nil {
		s.pool.end()
		s.pool = nil
		s.State &^= database.Shared
	}
}

// Underway implements database.Login.
func (s *session) Underway() bool { return s.Up != nil && !s.Is(database.UpClosed) }

// Refuse implements database.Login.
func (s *session) Refuse(r database.Refusal) {
	state, hint := pgproto.StateConnectionFailure, ""
	switch {
	case r.Why == database.TooMany:
		state = stateTooMany
	case r.Waited:
		state = pgproto.StateCannotConnectNow
	}
	if r.Limit != "" {
		hint = r.Limit + " bounds them, limits.maxWait the wait."
	}
	s.refuse(r.Why, state, r.Message, hint)
}

// Connected implements netloop.ConnectDriver: the connection stands, or TLS has
// begun on it.
func (d *loginStep) Connected(c *netloop.Conn) {
	s := (*session)(d)
	if s.Is(database.Ended) {
		return
	}
	l := &s.start.login
	if s.To.StartTLS && s.To.Endpoint.TLS != nil && c.TLSState() == nil && !l.plain {
		l.askedTLS = true
		c.Write(sslRequest())
		return
	}
	l.shaking = false
	s.introduce()
}

// introduce sends the start-up message.
func (s *session) introduce() {
	st := s.start
	l := &st.login
	state := s.Up.TLSState()
	s.To.TLS = state != nil
	conf := pgproto.AuthConfig{
		User: s.start.By.User, Password: s.start.By.Password, Nonce: nonce(), Derive: s.derive,
		Allow: pgproto.MethodNone | pgproto.MethodMD5 | pgproto.MethodSCRAM | pgproto.MethodSCRAMPlus,
	}
	if state != nil && database.Verified(s.To.Endpoint.TLS) {
		conf.Allow |= pgproto.MethodCleartext
	}
	conf.Allow &= localOf(s.Part).filter.conf.RequireAuth.Methods()
	if state != nil {
		if len(state.PeerCertificates) > 0 {
			conf.Binding = pgproto.EndpointBinding(state.PeerCertificates[0])
		}
	}
	l.auth, l.began = pgproto.NewAuth(conf), true
	m := s.serverParams(s.start.By.User)
	out, err := m.AppendTo(nil)
	if err != nil {
		s.refuse(database.BadClient, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err), "")
		return
	}
	s.Up.Write(out)
}

// derive gives keys that are there, and remembers which are missing.
func (s *session) derive(password string, salt []byte, iterations int) (pgproto.SCRAMKeys, error) {
	id := keyOf(password, salt, iterations)
	if keys, ok := s.b.keys.get(id); ok {
		return keys, nil
	}
	s.start.login.need = keysNeeded{id, salt, iterations}
	return pgproto.SCRAMKeys{}, errDeriving
}

// Data implements netloop.Driver.
func (d *loginStep) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(d)
	if s.Is(database.Ended) || c != s.Up {
		return len(b)
	}
	if s.start.login.askedTLS {
		return s.answeredTLS(c, b)
	}
	lim := loginLimits()
	n := 0
	for !s.Is(database.Ended) && s.Up == c {
		if s.start.login.entered && n < len(b) && b[n] != pgproto.TypeErrorResponse {
			s.letIn()
			return n + c.Driver().Data(c, b[n:])
		}
		typ, payload, size, err := pgproto.ParseMessage(b[n:], &lim)
		switch {
		case errors.Is(err, pgproto.ErrIncomplete):
			return n
		case err != nil || !s.start.login.began:
			s.loginFailed("dragoman: the server does not speak PostgreSQL's protocol", err)
			return len(b)
		}
		if s.loginMessage(typ, payload, b[n:n+size]) == again {
			return n
		}
		n += size
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
		l.shaking = true
		c.StartTLS(s.To.Endpoint.TLS, tlsLimit)
	case b[0] == 'N' && s.Part.Conf.TLSOptional:
		s.introduce()
	default:
		s.loginFailed("dragoman: the server does not offer TLS, which this environment demands", nil)
	}
	return len(b)
}

// outcome is what follows a message of the server.
type outcome uint8

const (
	next  outcome = iota // the next message
	again                // the same message, later
)

// loginMessage takes one message of the server that comes before it lets us in.
func (s *session) loginMessage(typ byte, payload, whole []byte) outcome {
	switch typ {
	case pgproto.TypeAuthentication:
		return s.authenticate(payload)
	case pgproto.TypeNoticeResponse:
		if s.errand == nil {
			s.Down.Write(whole)
		}
	case pgproto.TypeNegotiateProtocolVersion:
		s.versionTold(payload, whole)
	case pgproto.TypeErrorResponse:
		s.loginRefused(payload, whole)
	default:
		s.loginFailed("dragoman: the server does not speak PostgreSQL's protocol: it says something that does not belong in a login", nil)
	}
	return next
}

func (s *session) authenticate(payload []byte) outcome {
	l := &s.start.login
	l.asked = true
	out, done, err := l.auth.Step(l.out[:0], payload)
	switch {
	case errors.Is(err, errDeriving):
		s.awaitKeys()
		return again
	case err != nil:
		s.loginFailed("dragoman: the proxy does not log in at this server: "+err.Error(), err)
		return next
	case done:
		l.entered = true
		s.start.Accept()
		return next
	}
	s.Up.Write(out)
	return next
}

// awaitKeys has keys derived beside the loop, and shows the message again then.
func (s *session) awaitKeys() {
	l, up, loop := &s.start.login, s.Up, s.Part.Loop
	up.Pause()
	s.b.keys.derive(l.need.id, s.start.By.Password, l.need.salt, l.need.iterations, func(err error) {
		loop.Post(func() {
			switch {
			case s.Is(database.Ended) || s.Up != up || s.start == nil:
			case err != nil:
				s.loginFailed("dragoman: "+err.Error(), err)
			default:
				up.Resume()
			}
		})
	})
}

// Drained implements netloop.Driver.
func (*loginStep) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (d *loginStep) EOF(c *netloop.Conn) { c.Close() }

// Closed implements netloop.Driver.
func (d *loginStep) Closed(c *netloop.Conn, err error) {
	s := (*session)(d)
	if c != s.Up {
		return
	}
	if s.start != nil && s.start.login.shaking && s.mayBePlain() && !errors.Is(err, netloop.ErrHandshakeTimeout) {
		s.dialPlain(nil, cmp.Or(err, errClosed).Error())
		return
	}
	s.LostUp(nil)
	if s.Is(database.Ended) {
		s.Settle()
		return
	}
	s.start.login.timer.Stop()
	s.Part.Stats.ConnectFailures.Add(1)
	s.Part.Report(s.To.Endpoint, filters.ConnectFailure)
	err = cmp.Or(err, errClosed)
	s.start.Failed(reasonOf(err))
	s.Part.Log.Warn("connecting to the database failed", "endpoint", s.To.Endpoint.Address, "error", err)
	entered := s.start.login.began || s.To.StartTLS && c.TLSState() != nil
	if entered && !s.Part.Route.ByRole() {
		s.refuse(database.ConnectFailed, pgproto.StateConnectionFailure, "dragoman: the database closed the connection during the login", "")
		s.Settle()
		return
	}
	s.Up = nil
	s.start.Connect()
}
