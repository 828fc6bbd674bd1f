package mysql

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// login is the proxy's side of one login at a server, and the driver of the
// connection until it is done: at a session's beginning, for a KILL, and anew in
// COM_CHANGE_USER.
type login struct {
	// read-only after construction
	conn  *netloop.Conn
	to    *database.Server
	by    *database.Credentials
	owner loginOwner
	timer *netloop.Timer // bounds what the server has to do
	limit time.Duration

	stage    stage
	greeting mysqlproto.Greeting
	response mysqlproto.HandshakeResponse // ours to the greeting
	auth     *mysqlproto.Auth
	scramble []byte // the latest of those that COM_CHANGE_USER answers
	seq      byte   // of our next packet
	several  bool   // users may have several methods
	dropped  bool   // nobody is interested any more
}

// stage is how far a login has come.
type stage uint8

const (
	connecting     stage = iota // until the greeting is here
	introduced                  // until the greeting is answered
	startingTLS                 // until TLS has begun
	authenticating              // until the server says OK
	through
)

// loginOwner is who wants to be let in. Each login ends with one call of entered,
// denied or broken, and is not heard of again. Slices are valid during a call.
type loginOwner interface {
	// introduced says that the greeting is there: login.enter goes on.
	introduced()
	// entered has the payload of the server's OK.
	entered(ok []byte)
	// denied has the server's error, and its payload.
	denied(e *mysqlproto.ServerError, payload []byte)
	// broken says that the server is none to log in at. The error wraps errGone if
	// the connection has ended.
	broken(err error)
}

// What a login can break by, besides errors of package mysqlproto.
var (
	errGone    = errors.New("the connection ended")
	errTimeout = errors.New("the server does not answer")
	errNoTLS   = errors.New("the server does not offer TLS, which this environment demands")
	errTooMuch = errors.New("the server says something that does not belong in a login")
)

// dial begins a login.
func (b *Builder) dial(loop *netloop.Loop, to *database.Server, by *database.Credentials, owner loginOwner) *login {
	g := &login{to: to, by: by, owner: owner, limit: b.loginLimit}
	g.conn = to.Dial(loop, g)
	g.timer = loop.After(to.Timeout()+g.limit, func() { g.fail(errTimeout) })
	return g
}

// Connected implements netloop.ConnectDriver: the connection stands, or TLS has
// begun on it.
func (g *login) Connected(c *netloop.Conn) {
	g.to.TLS = c.TLSState() != nil
	if g.stage == startingTLS {
		g.authenticate()
	}
}

// Data implements netloop.Driver.
func (g *login) Data(c *netloop.Conn, b []byte) int {
	n := 0
	for g.stage != through && c.Driver() == netloop.Driver(g) {
		seq, payload, size, err := mysqlproto.ParsePacket(b[n:], mysqlproto.MaxHandshake)
		switch {
		case errors.Is(err, mysqlproto.ErrIncomplete):
			return n
		case err != nil:
			g.fail(err)
			return len(b)
		}
		n += size
		g.seq = seq + 1
		g.packet(payload)
		if c.Paused() {
			return n
		}
	}
	return n
}

func (g *login) packet(payload []byte) {
	switch g.stage {
	case connecting:
		var err error
		if g.greeting, err = mysqlproto.ParseGreeting(payload); err != nil {
			g.failWith(err, payload)
			return
		}
		g.stage, g.several = introduced, g.greeting.MariaDB()
		g.timer.Stop()
		g.owner.introduced()
	case introduced, startingTLS:
		// It may have lost its patience; nothing else is its turn.
		if e, err := mysqlproto.ParseError(payload); err == nil {
			g.failWith(e, payload)
			return
		}
		g.fail(errTooMuch)
	case authenticating:
		g.step(payload)
	case through:
	}
}

// enter answers the greeting, after TLS if there is to be any. User, scramble and
// method are put into r.
func (g *login) enter(r mysqlproto.HandshakeResponse) {
	g.response = r
	g.timer.Reset(g.limit)
	cfg := g.to.Endpoint.TLS
	switch {
	case !g.to.StartTLS || cfg == nil:
		g.authenticate()
	case g.greeting.Capabilities.Has(mysqlproto.SSL):
		g.response.Capabilities |= mysqlproto.SSL
		g.stage = startingTLS
		g.write(g.response.AppendSSLRequest(nil))
		g.conn.StartTLS(cfg, tlsLimit)
	case g.to.Optional:
		g.authenticate()
	default:
		g.fail(errNoTLS)
	}
}

func (g *login) authenticate() {
	name, answer, err := g.begin(g.greeting.AuthPlugin, g.greeting.Scramble)
	if err != nil {
		g.fail(err)
		return
	}
	r := &g.response
	r.User, r.Auth, r.AuthPlugin = g.by.User, answer, name
	payload, err := r.AppendTo(nil)
	if err != nil {
		g.fail(err)
		return
	}
	g.write(payload)
}

// begin begins the exchange of one authentication.
func (g *login) begin(plugin string, scramble []byte) (name string, answer []byte, err error) {
	allow := mysqlproto.MethodsDefault
	if g.secure() {
		allow |= mysqlproto.MethodCleartext
	}
	g.auth = mysqlproto.NewAuth(mysqlproto.AuthConfig{
		User: g.by.User, Password: g.by.Password, Allow: allow, Secure: g.secure(), Random: rand.Reader,
		Several: g.several,
	})
	g.scramble, g.stage = scramble, authenticating
	return g.auth.Begin(plugin, scramble)
}

// secure reports whether nobody but the right server can read what is sent.
func (g *login) secure() bool {
	return g.to.Endpoint.Network == "unix" || g.to.TLS && database.Verified(g.to.Endpoint.TLS)
}

// step answers a packet of the exchange.
func (g *login) step(payload []byte) {
	if s, err := mysqlproto.ParseAuthSwitch(payload); err == nil && len(s.Scramble()) == scrambleLen {
		g.scramble = slices.Clone(s.Scramble())
	}
	if g.auth.Plugin() == mysqlproto.PluginParsec && len(payload) > 0 && payload[0] != 0xfe {
		g.stepBeside(slices.Clone(payload))
		return
	}
	out, answer, done, err := g.auth.Step(nil, payload)
	g.stepped(payload, out, answer, done, err)
}

// stepBeside answers in a goroutine: deriving a key takes some milliseconds, which
// an event loop does not have.
func (g *login) stepBeside(payload []byte) {
	loop := g.conn.Loop()
	g.conn.Pause()
	go func() {
		out, answer, done, err := g.auth.Step(nil, payload)
		loop.Post(func() {
			if g.dropped {
				return
			}
			g.conn.Resume()
			g.stepped(payload, out, answer, done, err)
		})
	}()
}

func (g *login) stepped(payload, out []byte, answer, done bool, err error) {
	switch {
	case err != nil:
		g.failWith(err, payload)
	case done:
		g.stage = through
		g.timer.Stop()
		g.owner.entered(payload)
	case answer:
		g.write(out)
	}
}

func (g *login) write(payload []byte) {
	g.conn.Write(mysqlproto.AppendPacket(nil, g.seq, payload))
	g.seq++
}

func (g *login) fail(err error) { g.failWith(err, nil) }

// failWith ends the login.
func (g *login) failWith(err error, payload []byte) {
	if g.dropped || g.stage == through {
		return
	}
	g.drop()
	if e, ok := errors.AsType[*mysqlproto.ServerError](err); ok && payload != nil {
		g.owner.denied(e, payload)
		return
	}
	g.owner.broken(err)
}

// drop gives the login and its connection up, without a word to the owner.
func (g *login) drop() {
	g.timer.Stop()
	if g.dropped || g.stage == through {
		return
	}
	g.dropped = true
	if g.conn.Driver() == netloop.Driver(g) {
		database.Forsake(g.conn)
		return
	}
	g.conn.Close()
}

// Drained implements netloop.Driver.
func (*login) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (g *login) EOF(*netloop.Conn) { g.fail(errGone) }

// Closed implements netloop.Driver.
func (g *login) Closed(_ *netloop.Conn, err error) {
	if err == nil {
		g.fail(errGone)
		return
	}
	g.fail(fmt.Errorf("%w: %w", errGone, err))
}
