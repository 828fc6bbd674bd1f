package mysql

import (
	"crypto/rand"
	"errors"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Numbers of errors that package mysqlproto has no name for.
const (
	errnoInsecure    uint16 = 3159 // ER_SECURE_TRANSPORT_REQUIRED
	errnoUnreachable uint16 = 1429 // ER_CONNECT_TO_FOREIGN_DATA_SOURCE
	errnoMalformed   uint16 = 1835 // ER_MALFORMED_PACKET

	errnoDatabaseDenied uint16 = 1044 // ER_DBACCESS_DENIED_ERROR
	errnoNoDatabase     uint16 = 1049 // ER_BAD_DB_ERROR
)

// startup is what a session needs until it is let in.
type startup struct {
	database.Entry
	timer *netloop.Timer // bounds what the client does
	login *login

	greeted  int64                        // loop time, ns
	seq      byte                         // of the next packet to the client; 0: it has not got a greeting
	answered bool                         // the client has done its part
	switched bool                         // the client has been asked for another method
	fast     bool                         // the client expects a word of caching_sha2_password before the OK
	offered  mysqlproto.Capabilities      // to the client
	response mysqlproto.HandshakeResponse // the client's
}

func (st *startup) stop(b *Builder, r *database.Rotation) {
	if st.timer != nil {
		st.timer.Stop()
	}
	if st.login != nil {
		st.login.forgo(b, r)
	}
}

// begin has a new client wait for its turn.
func (s *session) begin() {
	s.start = &startup{}
	s.start.Begin(&s.Session, s)
	s.Down.Pause()
	s.Down.SetHangupNotice(true)
	if why := database.PeerRefusal(s.Down.FD(), s.Part.Conf.AppAuth); why != "" {
		s.refuse(database.BadPassword, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, why)
		return
	}
	s.start.Queue()
}

// greet tells the client what its server has told us, but for the scramble and
// what a proxy cannot do.
func (s *session) greet(up *mysqlproto.Greeting) {
	st := s.start
	s.agreed.downScramble = newScramble()
	s.agreed.downPlugin = greetedPlugin(up.AuthPlugin)
	s.keepThread(up.ThreadID)
	g := mysqlproto.Greeting{
		ServerVersion: up.ServerVersion, ThreadID: s.told, Scramble: s.agreed.downScramble[:], Charset: up.Charset, Status: up.Status,
		Capabilities: offered(up.Capabilities), AuthPlugin: s.agreed.downPlugin,
	}
	if s.Down.ListenerTLS() != nil {
		g.Capabilities |= mysqlproto.SSL
	}
	payload, err := g.AppendTo(nil)
	if err != nil {
		s.loginFailed("dragoman: the server's greeting cannot be passed on", err)
		return
	}
	s.Part.Stats.Wait.Observe(s.Part.Loop.Now() - st.Accepted)
	s.Down.Write(mysqlproto.AppendPacket(nil, 0, payload))
	st.offered, st.greeted = g.Capabilities, s.Part.Loop.Now()
	st.seq = 2 // the client's answer has 1
	st.timer = s.Part.Loop.After(s.b.startLimit, func() {
		s.Part.Stats.Refused[database.SlowClient].Add(1)
		s.abandon()
	})
	s.Down.SetHangupNotice(false)
	s.Down.Resume()
}

// greetedPlugin is the method that clients are greeted with: what the server does,
// since clients of MySQL 9 need not know the older one, and old ones not the newer.
func greetedPlugin(server string) string {
	if server == mysqlproto.PluginCachingSHA2 {
		return server
	}
	return mysqlproto.PluginNative
}

// offered are the capabilities that a client may choose from. How the client
// logs in is between it and us.
func offered(c mysqlproto.Capabilities) mysqlproto.Capabilities {
	return c.Relayable() | mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.ConnectWithDB
}

// newScramble makes one without zero bytes.
func newScramble() (b [scrambleLen]byte) {
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = b[i]%126 + 1 // as servers do: 7 bits, for clients that convert it
	}
	return b
}

// Connected implements netloop.ConnectDriver: TLS with the client has begun.
func (*greeter) Connected(*netloop.Conn) {}

// Data implements netloop.Driver.
func (g *greeter) Data(c *netloop.Conn, b []byte) int {
	s := (*session)(g)
	if s.Is(database.Ended) {
		return len(b)
	}
	if s.start.answered {
		return 0 // it sends ahead
	}
	seq, payload, n, err := mysqlproto.ParsePacket(b, mysqlproto.MaxHandshake)
	switch {
	case errors.Is(err, mysqlproto.ErrIncomplete):
		return 0
	case err != nil:
		s.badHandshake(err)
		return len(b)
	}
	s.start.seq = seq + 1
	if s.start.switched {
		s.checkApp(s.agreed.downPlugin, payload)
		return n
	}
	r, wantsTLS, err := mysqlproto.ParseHandshakeResponse(payload)
	switch {
	case err != nil:
		s.badHandshake(err)
		return len(b)
	case wantsTLS && (c.ListenerTLS() == nil || c.TLSState() != nil):
		s.badHandshake(errors.New("it asks for TLS, which it has or was not offered"))
		return len(b)
	case wantsTLS:
		c.StartTLS(c.ListenerTLS(), tlsLimit) // with what has come of the client's part of it
		return n
	}
	s.start.response = r
	s.start.response.Auth, s.start.response.Attrs = nil, slices.Clone(r.Attrs)
	s.admit(r.Auth)
	return n
}

func (s *session) badHandshake(err error) {
	s.refuse(database.BadClient, mysqlproto.ErrnoHandshake, mysqlproto.StateLinkFailure, "dragoman: bad handshake: "+reasonOf(err))
}

func reasonOf(err error) string {
	if p, ok := errors.AsType[*mysqlproto.ProtocolError](err); ok {
		return p.Reason
	}
	return err.Error()
}

// admit looks at what an app answers to the greeting, and whether it may come in.
func (s *session) admit(auth []byte) {
	r := &s.start.response
	if s.Down.ListenerTLS() != nil && s.Down.TLSState() == nil {
		s.refuse(database.BadClient, errnoInsecure, mysqlproto.StateGeneral, "dragoman: this listener takes connections with TLS only")
		return
	}
	s.agreed.down = r.Capabilities & (s.start.offered.Relayable() | mysqlproto.LongPassword)
	s.agreed.maxPacket, s.agreed.charset = r.MaxPacket, r.Charset
	plugin := r.AuthPlugin
	if !r.Capabilities.Has(mysqlproto.PluginAuth) || plugin == "" {
		plugin = mysqlproto.PluginNative
	}
	s.checkApp(plugin, auth)
}

// checkApp goes on if the app has shown what appAuth demands.
func (s *session) checkApp(plugin string, auth []byte) {
	st := s.start
	switch s.judge(st.response.User, plugin, auth) {
	case anotherMethod:
		st.switched = true
		s.Down.Write(s.appendSwitch(nil, st.seq))
	case wrongPassword:
		s.refuse(database.BadPassword, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, deniedApp(st.response.User))
	case noPassword:
		s.refuse(database.NoSecret, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the password that apps have to give is not there")
	case welcome:
		st.fast = wantsWord(plugin, auth)
		st.answered = true
		st.Since += s.Part.Loop.Now() - st.greeted // that was its own time
		st.timer.Stop()
		s.Down.Pause()
		s.Down.SetHangupNotice(true)
		s.enter()
	}
}

// enter answers the server's greeting, if both that and the client's answer are
// there, and it is the session's turn.
func (s *session) enter() {
	st := s.start
	l := st.login
	if l == nil || l.stage != introduced || !st.answered {
		return
	}
	r := st.response
	r.Database = s.databaseFor(r.Database)
	if !s.agree(&l.greeting, r.Database != "") {
		s.refuse(database.Retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
		return
	}
	r.Capabilities = s.agreed.up
	st.GoOn(func() { l.enter(r) })
}

// agree makes what has been agreed upon with the client what is with the server.
// It is false if the server, which took the place of the one whose greeting the
// client has seen, does not know all of that.
func (s *session) agree(g *mysqlproto.Greeting, named bool) bool {
	if missing := s.agreed.down &^ (offered(g.Capabilities) | mysqlproto.LongPassword); missing != 0 {
		return false
	}
	s.agreed.up = s.agreed.down | mysqlproto.PluginAuth | g.Capabilities&mysqlproto.PluginAuthLenenc
	s.agreed.up &^= mysqlproto.ConnectWithDB
	if named {
		s.agreed.up |= mysqlproto.ConnectWithDB
	}
	return true
}

// databaseFor is the environment's database, whatever the app calls it from now on,
// or the one that the app asks for.
func (s *session) databaseFor(app string) string {
	s.alias = ""
	name := s.Part.Conf.Login.Database
	switch name {
	case "":
		return app
	case app:
	default:
		s.alias = app
	}
	return name
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
