package mysql

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// threadID is a thread's number as the clients of a listener know it.
type threadID struct {
	listener string
	number   uint32
}

// threadMap knows which server each session uses: a KILL comes over a session of
// its own, and is for that server and no other, whatever the environment is by
// now. Two servers may use the same number; the second session is told another.
type threadMap struct {
	mu     sync.Mutex // guards below
	byID   map[threadID]target
	spares uint32 // the latest number that was made up
}

// target is a session that can be killed.
type target struct {
	owner  *session
	thread uint32 // its server's number
	to     database.Server
	by     *database.Credentials
	others *database.Rotation // of its environment's credentials
}

func newThreadMap() *threadMap {
	return &threadMap{byID: map[threadID]target{}, spares: 1 << 31}
}

// put keeps a session under the wanted number or, if another session has that,
// under one that no server has.
func (m *threadMap) put(id threadID, t target) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		old, taken := m.byID[id]
		if !taken || old.owner == t.owner {
			m.byID[id] = t
			return id.number
		}
		m.spares = m.spares + 1 | 1<<31
		id.number = m.spares
	}
}

func (m *threadMap) drop(id threadID, s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID[id].owner == s {
		delete(m.byID, id)
	}
}

func (m *threadMap) find(id threadID) (target, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.byID[id]
	return t, ok
}

// keepThread makes the session one that can be killed by the wanted number.
func (s *session) keepThread(wanted uint32) {
	s.told = s.b.threads.put(threadID{s.Part.Context.Listener, wanted}, s.target())
}

// target is the session as one to be killed.
func (s *session) target() target { return target{s, s.thread, s.To, s.by, s.Part.Rotation} }

func (s *session) forgetThread() {
	s.b.threads.drop(threadID{s.Part.Context.Listener, s.told}, s)
}

// killStatement is a KILL of one thread by its number.
type killStatement struct {
	verb   string // with what stands before the number
	number uint32
}

// parseKill reads KILL [HARD | SOFT] [CONNECTION | QUERY] number, with comments
// anywhere. Other forms are for the server that the session is at.
func parseKill(text []byte) (killStatement, bool) {
	text = withoutLeadingComments(text)
	if len(text) == 0 || text[0]|0x20 != 'k' {
		return killStatement{}, false
	}
	words := strings.Fields(strings.TrimRight(string(withoutComments(text)), "; \t\r\n\x00"))
	if len(words) < 2 || len(words) > 4 || !strings.EqualFold(words[0], "KILL") {
		return killStatement{}, false
	}
	last := len(words) - 1
	for _, w := range words[1:last] {
		switch strings.ToUpper(w) {
		case "HARD", "SOFT", "CONNECTION", "QUERY":
		default:
			return killStatement{}, false
		}
	}
	n, err := strconv.ParseUint(words[last], 10, 32)
	return killStatement{strings.Join(words[:last], " "), uint32(n)}, err == nil
}

// withoutComments is a text with a blank in the place of each comment; nothing if
// the last is not closed. It does not know strings, which a KILL has none of.
func withoutComments(text []byte) (out []byte) {
	for len(text) > 0 {
		end := commentEnd(text)
		if end == "" {
			out, text = append(out, text[0]), text[1:]
			continue
		}
		_, rest, found := bytes.Cut(text, []byte(end))
		if !found && end != "\n" {
			return nil
		}
		out, text = append(out, ' '), rest
	}
	return out
}

func withoutLeadingComments(text []byte) []byte {
	for {
		text = bytes.TrimLeft(text, " \t\r\n")
		end := commentEnd(text)
		if end == "" {
			return text
		}
		_, rest, found := bytes.Cut(text, []byte(end))
		if !found {
			return nil
		}
		text = rest
	}
}

// commentEnd is what ends the comment that a text begins with; "" if it begins with
// none that the server ignores.
func commentEnd(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte("/*")) && !bytes.HasPrefix(text, []byte("/*!")) && !bytes.HasPrefix(text, []byte("/*M!")):
		return "*/"
	case bytes.HasPrefix(text, []byte("#")), beginsComment(text):
		return "\n"
	}
	return ""
}

// elsewhere finds the session that a KILL is for, if that is not to be found by
// this number at the server that the asking session is at.
func (s *session) elsewhere(k killStatement) (target, bool) {
	t, ok := s.b.threads.find(threadID{s.Part.Context.Listener, k.number})
	if !ok || t.to.Endpoint.Address == s.To.Endpoint.Address && t.thread == k.number {
		return target{}, false
	}
	return t, true
}

// serveKill takes a KILL that is not for the session's own server.
func (s *session) serveKill(k killStatement, ok bool, seq byte) {
	t, found := s.elsewhere(k)
	if !ok || !found { // it is gone just now
		s.answerError(seq, 1094, mysqlproto.StateGeneral, "Unknown thread id")
		return
	}
	s.killOther(k, t, seq)
}

// killOther brings a client's KILL to the server of the session that it is for.
func (s *session) killOther(k killStatement, t target, seq byte) {
	s.hold()
	s.killing = s.b.kill(s.Part, t, k.verb, func(e *mysqlproto.ServerError) {
		s.killing = nil
		if s.Is(database.Ended) {
			return
		}
		if e != nil {
			s.Part.Stats.LostCancels.Add(1)
			s.failed(e.Errno, e.State)
			s.Down.Write(mysqlproto.AppendPacket(nil, seq, e.AppendTo(nil)))
		} else {
			s.Part.Stats.Cancels.Add(1)
			s.Down.Write(okPacket(seq, s.tracker.Status()))
		}
		s.release()
		s.TryLeave()
	})
}

// killer logs in at a server to say KILL there.
type killer struct {
	b       *Builder
	part    *database.Part
	login   *login
	verb    string
	t       target
	done    func(*mysqlproto.ServerError) // nil if nobody waits
	retried bool                          // with other credentials than the session's
	over    bool
	begun   int64 // loop time, ns
	waited  bool  // for room at the server
}

// The proxy's own KILL is tried again where the server has no room for it: what takes
// the room may well be statements that clients have given up. killEvery is the time
// between two tries, and killLimit that of all.
const (
	killEvery = time.Second
	killLimit = 5 * time.Minute
)

// kill says KILL to a server, with the credentials that the session was begun
// with, or with those that its environment has by now. done gets nil for success.
func (b *Builder) kill(p *database.Part, t target, verb string, done func(*mysqlproto.ServerError)) *killer {
	x := &killer{b: b, part: p, verb: verb, t: t, done: done, begun: p.Loop.Now()}
	x.t.to.Optional = !t.to.TLS
	x.dial()
	return x
}

func (x *killer) dial() {
	x.t.to.TLS = false
	x.login = x.b.dial(x.part.Loop, &x.t.to, x.t.by, x)
}

// introduced implements loginOwner.
func (x *killer) introduced() {
	if x.waited && x.login.greeting.ThreadID <= x.t.thread { // a server counts up, from its start
		x.login.fail(errRestarted)
		return
	}
	x.login.enter(ownResponse(&x.login.greeting))
}

// entered implements loginOwner.
func (x *killer) entered([]byte) {
	c := x.login.conn
	c.SetDriver((*killAnswer)(x))
	x.login.timer = x.part.Loop.After(x.login.limit, c.Close)
	text := append([]byte{byte(mysqlproto.ComQuery)}, x.verb+" "+strconv.FormatUint(uint64(x.t.thread), 10)...)
	c.Write(mysqlproto.AppendPacket(nil, 0, text))
}

// denied implements loginOwner. The session may have begun with a password that
// has been changed since then.
func (x *killer) denied(e *mysqlproto.ServerError, _ []byte) {
	if e.NoRoom() && x.done == nil && time.Duration(x.part.Loop.Now()-x.begun) < killLimit {
		x.part.Log.Debug("no room for a KILL: trying again", "endpoint", x.t.to.Endpoint.Address)
		x.waited = true
		x.part.Loop.After(killEvery, x.dial)
		return
	}
	if x.retried || e.Errno != mysqlproto.ErrnoAccessDenied {
		x.end(e)
		return
	}
	x.retried = true
	x.t.others.Await(x.part.Loop, *x.t.by, x.part.Conf.Limits.MaxWait, func(by *database.Credentials) {
		if by == nil {
			x.end(e)
			return
		}
		x.t.by = by
		x.dial()
	})
}

// broken implements loginOwner.
func (x *killer) broken(err error) {
	x.end(&mysqlproto.ServerError{Errno: errnoUnreachable, State: mysqlproto.StateLinkFailure, Message: "dragoman: KILL does not reach its server: " + reasonOf(err)})
}

func (x *killer) end(e *mysqlproto.ServerError) {
	if x.over {
		return
	}
	x.over = true
	if e != nil {
		x.part.Log.Debug("KILL failed", "endpoint", x.t.to.Endpoint.Address, "error", e.Errno, "message", e.Message)
	}
	if x.done != nil {
		x.done(e)
	}
}

// errRestarted is a server where the number of a session may be another's by now.
var errRestarted = errors.New("the server is not the one that the session was at")

// killAnswer is the driver of a killer that awaits the answer.
type killAnswer killer

// Data implements netloop.Driver.
func (x *killAnswer) Data(c *netloop.Conn, b []byte) int {
	_, payload, n, err := mysqlproto.ParsePacket(b, mysqlproto.MaxHandshake)
	if n == 0 && err != nil && len(b) < mysqlproto.MaxHandshake {
		return 0
	}
	if e, err := mysqlproto.ParseError(payload); err == nil {
		(*killer)(x).end(e)
	} else {
		(*killer)(x).end(nil)
	}
	c.Write(quit())
	c.CloseAfterFlush()
	return len(b)
}

// Drained implements netloop.Driver.
func (*killAnswer) Drained(*netloop.Conn) {}

// EOF implements netloop.Driver.
func (*killAnswer) EOF(c *netloop.Conn) { c.Close() }

// Closed implements netloop.Driver. KILL may well have ended its own connection.
func (x *killAnswer) Closed(*netloop.Conn, error) {
	x.login.timer.Stop()
	(*killer)(x).end(&mysqlproto.ServerError{Errno: errnoUnreachable, State: mysqlproto.StateLinkFailure, Message: "dragoman: the server closed the connection at KILL"})
}
