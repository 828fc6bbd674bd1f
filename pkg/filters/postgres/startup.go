package postgres

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// startup is what a session needs until it is let in.
type startup struct {
	database.Entry
	message pgproto.Startup // what the app has asked for
	timer   *netloop.Timer  // bounds what the client does
	login   login

	askedTLS, askedGSS bool
	password           *pgproto.AuthServer // while the app is asked for its password
	negotiated         bool                // the client knows which version it gets
}

func (st *startup) stop() {
	for _, t := range []*netloop.Timer{st.timer, st.login.timer} {
		if t != nil {
			t.Stop()
		}
	}
}

// greet waits for the client's first packet.
func (s *session) greet() {
	s.start = &startup{}
	s.start.Begin(&s.Session, s)
	s.start.Then = s.myTurn
	s.start.timer = s.Part.Loop.After(s.b.startLimit, func() {
		s.Part.Stats.Refused[database.SlowClient].Add(1)
		s.abandon()
	})
}

func limits() *pgproto.Limits {
	return &pgproto.Limits{MaxStartup: 10_000, MaxMessage: 1 << 30}
}

// Connected implements netloop.ConnectDriver: TLS with the client has begun.
func (*greeter) Connected(*netloop.Conn) {}

// Data implements netloop.Driver.
func (g *greeter) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(g)
	if s.Is(database.Ended) {
		return len(b)
	}
	if s.start.password != nil {
		return s.readPassword(b)
	}
	packet, n, err := pgproto.ParseStartup(b, s.b.framing.limits)
	switch {
	case errors.Is(err, pgproto.ErrIncomplete):
		return 0
	case err != nil:
		s.refuse(database.BadClient, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err), "")
		return len(b)
	}
	switch packet.Kind {
	case pgproto.DirectTLS:
		return s.beginTLS(c, b)
	case pgproto.SSLRequest, pgproto.GSSENCRequest:
		return s.answerEncryption(packet.Kind, b, n)
	case pgproto.CancelRequest:
		s.cancelOther(cancelID{packet.PID, string(packet.Key)})
		return len(b)
	case pgproto.StartupMessage:
		s.start.message = packet
		s.admit()
	}
	return n
}

func reasonOf(err error) string {
	if p, ok := errors.AsType[*pgproto.ProtocolError](err); ok {
		return p.Reason
	}
	return err.Error()
}

// beginTLS is for a client that begins with TLS at once.
func (s *session) beginTLS(c *netloop.Conn, b []byte) int {
	cfg := c.ListenerTLS()
	if cfg == nil || c.TLSState() != nil {
		s.refuse(database.BadClient, pgproto.StateProtocolViolation, "dragoman: this listener does not speak TLS", "")
		return len(b)
	}
	c.StartTLS(cfg, tlsLimit)
	return 0
}

// answerEncryption answers a request for TLS, or GSSAPI's encryption, which
// there is none of. What came behind the request came in plain text and would be
// taken for encrypted: nobody but an attacker sends that.
func (s *session) answerEncryption(kind pgproto.StartupKind, b []byte, n int) int {
	st, c := s.start, s.Down
	again := &st.askedTLS
	if kind == pgproto.GSSENCRequest {
		again = &st.askedGSS
	}
	if *again || n != len(b) || c.TLSState() != nil {
		s.refuse(database.BadClient, pgproto.StateProtocolViolation, "dragoman: unencrypted data after a request for encryption, or the request twice", "")
		return len(b)
	}
	*again = true
	cfg := c.ListenerTLS()
	if kind == pgproto.GSSENCRequest || cfg == nil {
		c.WriteString("N")
		return n
	}
	c.WriteString("S")
	c.StartTLS(cfg, tlsLimit)
	return n
}

// cancelOther passes a request to cancel on to the server that it is for.
func (s *session) cancelOther(id cancelID) {
	to, lent, ok := s.b.cancels.find(id)
	if !ok {
		s.Part.Stats.LostCancels.Add(1)
		s.abandon()
		return
	}
	s.Part.Stats.Cancels.Add(1)
	s.start.timer.Reset(2 * cancelLimit)
	if lent != nil {
		s.cancelLent(lent)
		return
	}
	cancelAt(s.Part.Loop, to, id, func(bool) { s.abandon() }) // the client waits for our close as it would for the server's
}

// admit looks at what an app asks for, and whether it may.
func (s *session) admit() {
	m, peer := &s.start.message, database.PeerRefusal(s.Down.FD(), s.Part.Conf.AppAuth)
	switch {
	case s.Down.ListenerTLS() != nil && s.Down.TLSState() == nil:
		s.refuse(database.BadClient, pgproto.StateInvalidAuth, "dragoman: this listener takes connections with TLS only", "Use sslmode=require.")
	case m.User() == "":
		s.refuse(database.BadClient, pgproto.StateInvalidAuth, "no PostgreSQL user name specified in startup packet", "")
	case m.Replication():
		s.refuse(database.BadClient, pgproto.StateFeatureNotSupported, "dragoman: replication connections are not passed on", "Connect to the server itself.")
	case peer != "":
		s.refuse(database.BadPassword, pgproto.StateInvalidAuth, peer, "")
	case !s.userAllowed():
		s.refuse(database.BadPassword, pgproto.StateInvalidAuth, `dragoman: user "`+m.User()+`" may not use this listener (appAuth.username)`, "")
	case s.Part.Conf.AppAuth != nil && s.Part.Conf.AppAuth.Password.Set():
		s.askPassword()
	default:
		s.proceed()
	}
}

// userAllowed looks at the name that an app gives, where it need not give a
// password: one with a wrong name is asked for that nevertheless.
func (s *session) userAllowed() bool {
	a := s.Part.Conf.AppAuth
	return a == nil || a.Username == "" || a.Password.Set() || a.Username == s.start.message.User()
}

// proceed has the client wait until it is let in: for its turn first.
func (s *session) proceed() {
	st := s.start
	st.Since = s.Part.Loop.Now()
	st.timer.Stop()
	s.Down.Pause()
	s.Down.SetHangupNotice(true)
	st.Queue()
}

// myTurn begins to connect, or shares what others have begun.
func (s *session) myTurn() {
	if localOf(s.Part).filter.conf.Pool != nil {
		s.joinPool()
		return
	}
	s.start.Connect()
}

// Drained implements netloop.Driver.
func (*greeter) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (g *greeter) EOF(*netloop.Conn) { (*session)(g).abandon() }

// Closed implements netloop.Driver.
func (g *greeter) Closed(_ *netloop.Conn, err error) { (*session)(g).downGone(err) }

// downGone is the end of the client's connection.
func (s *session) downGone(err error) {
	s.LostDown(err)
	s.abandon()
	s.Settle()
}

// serverParams are the settings that the server is given: the app's, and ours
// over them.
func (s *session) serverParams(user string) pgproto.Startup {
	conf := s.Part.Conf
	m := pgproto.Startup{Kind: pgproto.StartupMessage, Version: s.start.message.Version}
	ours := s.ourParams()
	for _, p := range s.start.message.Params {
		if p.Name == "replication" || slices.ContainsFunc(ours, func(o pgproto.Param) bool { return strings.EqualFold(o.Name, p.Name) }) {
			continue
		}
		m.Params = append(m.Params, p)
	}
	m.Set("user", user)
	database := conf.Login.Database
	if database == "" {
		database = s.start.message.Database()
	}
	m.Set("database", database)
	m.Params = append(m.Params, ours...)
	return m
}

// ourParams are settings that come after the app's own, also after those in its
// options.
func (s *session) ourParams() []pgproto.Param {
	var ours []pgproto.Param
	if d := s.Part.Conf.StatementTimeout; d != nil {
		ours = append(ours, pgproto.Param{Name: "statement_timeout", Value: strconv.FormatInt(d.Milliseconds(), 10)})
	}
	if s.Part.Conf.ReadOnly {
		ours = append(ours, pgproto.Param{Name: "default_transaction_read_only", Value: "on"})
	}
	return ours
}
