package mysql

import (
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Numbers of errors that package mysqlproto has no name for.
const (
	errnoInsecure    uint16 = 3159 // ER_SECURE_TRANSPORT_REQUIRED
	errnoUnreachable uint16 = 1429 // ER_CONNECT_TO_FOREIGN_DATA_SOURCE
	errnoMalformed   uint16 = 1835 // ER_MALFORMED_PACKET
)

// startup is what a session needs until it is let in.
type startup struct {
	timer    *netloop.Timer // bounds what the client does
	hold     *netloop.Timer // until the next look at what is waited for
	accepted int64          // loop time, ns

	seq      byte                         // of the next packet to the client; 0: it has not got a greeting
	answered bool                         // the client has done its part
	switched bool                         // the client has been asked for another method
	fast     bool                         // the client expects a word of caching_sha2_password before the OK
	offered  mysqlproto.Capabilities      // to the client
	response mysqlproto.HandshakeResponse // the client's

	tried   []*filters.Endpoint
	failure error // of the latest attempt
	login   *login
	turn    *database.Turn
	retried bool // with credentials that were read again
}

func (st *startup) stop() {
	st.turn.Leave()
	for _, t := range []*netloop.Timer{st.timer, st.hold} {
		if t != nil {
			t.Stop()
		}
	}
	if st.login != nil {
		st.login.drop()
	}
}

// begin has a new client wait for its turn.
func (s *session) begin() {
	s.start = &startup{accepted: s.down.Loop().Now()}
	s.down.Pause()
	s.down.SetHangupNotice(true)
	if why := database.PeerRefusal(s.down.FD(), s.f.conf.AppAuth); why != "" {
		s.refuse(badPassword, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, why)
		return
	}
	s.queue()
}

// queue has the client wait for its turn.
func (s *session) queue() {
	st := s.start
	s.place = &database.Waiter{Loop: s.f.loop, Entered: s.myTurn}
	switch s.f.gate.Enter(s.place, int(s.f.conf.Limits.MaxWaiting)) {
	case database.Entered:
		s.connect()
	case database.Queued:
		s.f.stats.queued.Add(1)
		st.hold = s.f.loop.After(s.f.conf.Limits.MaxWait, func() {
			s.refuse(tooMany, mysqlproto.ErrnoTooManyConnections, mysqlproto.StateTooMany, "dragoman: all "+
				strconv.FormatUint(uint64(s.f.conf.Limits.MaxSessions), 10)+" connections of this listener are in use (limits.maxConnections, limits.maxWait)")
		})
	case database.Refused:
		s.place = nil
		s.refuse(tooMany, mysqlproto.ErrnoTooManyConnections, mysqlproto.StateTooMany, "dragoman: too many clients wait for a connection already")
	}
}

// myTurn begins to connect.
func (s *session) myTurn() {
	if s.is(isEnded) || s.start == nil {
		return // settle gives the place back
	}
	if s.start.hold != nil {
		s.start.hold.Stop()
	}
	s.connect()
}

// wait looks again soon for what is missing, until the client has waited long
// enough.
func (s *session) wait(why reason, message string) {
	st := s.start
	if time.Duration(s.f.loop.Now()-st.accepted)+holdEvery > s.f.conf.Limits.MaxWait {
		s.refuse(why, errnoUnreachable, mysqlproto.StateLinkFailure, message)
		return
	}
	st.hold = s.f.loop.After(holdEvery, s.connect)
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
	if s.down.ListenerTLS() != nil {
		g.Capabilities |= mysqlproto.SSL
	}
	payload, err := g.AppendTo(nil)
	if err != nil {
		s.loginFailed("dragoman: the server's greeting cannot be passed on", err)
		return
	}
	s.f.stats.wait.Observe(s.f.loop.Now() - st.accepted)
	s.down.Write(mysqlproto.AppendPacket(nil, 0, payload))
	st.offered = g.Capabilities
	st.seq = 2 // the client's answer has 1
	st.timer = s.f.loop.After(s.f.b.startLimit, func() {
		s.f.stats.refused[slowClient].Add(1)
		s.abandon()
	})
	s.down.SetHangupNotice(false)
	s.down.Resume()
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
	if s.is(isEnded) {
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
	s.refuse(badClient, mysqlproto.ErrnoHandshake, mysqlproto.StateLinkFailure, "dragoman: bad handshake: "+reasonOf(err))
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
	if s.down.ListenerTLS() != nil && s.down.TLSState() == nil {
		s.refuse(badClient, errnoInsecure, mysqlproto.StateGeneral, "dragoman: this listener takes connections with TLS only")
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
		s.down.Write(s.appendSwitch(nil, st.seq))
	case wrongPassword:
		s.refuse(badPassword, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, deniedApp(st.response.User))
	case noPassword:
		s.refuse(noSecret, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the password that apps have to give is not there")
	case welcome:
		st.fast = wantsWord(plugin, auth)
		st.answered = true
		st.timer.Stop()
		s.down.Pause()
		s.down.SetHangupNotice(true)
		s.enter()
	}
}

// enter answers the server's greeting, if both that and the client's answer are
// there.
func (s *session) enter() {
	st := s.start
	l := st.login
	if l == nil || l.stage != introduced || !st.answered {
		return
	}
	r := st.response
	r.Database = s.databaseFor(r.Database)
	if !s.agree(&l.greeting, r.Database != "") {
		s.refuse(retired, mysqlproto.ErrnoServerShutdown, mysqlproto.StateLinkFailure, shutdownMessage)
		return
	}
	r.Capabilities = s.agreed.up
	l.enter(r)
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

// databaseFor is the environment's database, or the one that the app asks for.
func (s *session) databaseFor(app string) string {
	if name := s.f.conf.Login.Database; name != "" {
		return name
	}
	return app
}

// Drained implements netloop.Driver.
func (*greeter) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (g *greeter) EOF(*netloop.Conn) { (*session)(g).abandon() }

// Closed implements netloop.Driver.
func (g *greeter) Closed(_ *netloop.Conn, err error) { (*session)(g).downGone(err) }

// downGone is the end of the client's connection.
func (s *session) downGone(err error) {
	s.state |= downClosed
	if err != nil && !s.is(isEnded) {
		s.f.log.Debug("a client's connection failed", "error", err)
	}
	s.abandon()
	s.settle()
}
