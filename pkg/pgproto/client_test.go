package pgproto_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// client is a minimal client made of the codec. A Tracker hears all that it says and is told.
type client struct {
	t       *testing.T
	conn    net.Conn
	tracker pgproto.Tracker
	out, in pgproto.Framer
	lim     pgproto.Limits
	unread  []byte
	started bool // the Tracker listens
	unasked int  // how often the server was ready when the Tracker did not await it: once, after the start-up
	pid     uint32
	key     []byte
	method  pgproto.Methods
	params  map[string]string
}

// login is how a client logs in.
type login struct {
	user, password, database string
	allow                    pgproto.Methods
	tls                      *tls.Config // nil for none
	params                   []pgproto.Param
	version                  pgproto.Version
}

const everyMethod = pgproto.MethodNone | pgproto.MethodCleartext | pgproto.MethodMD5 | pgproto.MethodSCRAM | pgproto.MethodSCRAMPlus

// connect logs in, and returns what the server or the codec refuses.
func connect(t *testing.T, addr string, l login) (*client, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn, lim: pgproto.DefaultLimits(), params: map[string]string{}}
	t.Cleanup(func() { _ = c.conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var binding []byte
	if l.tls != nil {
		binding = c.upgrade(l.tls)
	}
	if l.version == 0 {
		l.version = pgproto.Version30
	}
	s := pgproto.Startup{Kind: pgproto.StartupMessage, Version: l.version, Params: append([]pgproto.Param{{Name: "user", Value: l.user}, {Name: "database", Value: l.database}}, l.params...)}
	packet, err := s.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.write(packet)
	return c, c.authenticate(pgproto.NewAuth(pgproto.AuthConfig{User: l.user, Password: l.password, Allow: l.allow, Binding: binding, Nonce: nonce(t)}))
}

func nonce(t *testing.T) string {
	t.Helper()
	b := make([]byte, 18)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func (c *client) upgrade(config *tls.Config) (binding []byte) {
	c.t.Helper()
	request, err := (&pgproto.Startup{Kind: pgproto.SSLRequest}).AppendTo(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(request)
	answer := make([]byte, 1)
	if _, err := io.ReadFull(c.conn, answer); err != nil || answer[0] != 'S' {
		c.t.Fatalf("SSLRequest is answered with %q, %v", answer, err)
	}
	config = config.Clone()
	config.ServerName = "localhost"
	secure := tls.Client(c.conn, config)
	if err := secure.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn = secure
	return pgproto.EndpointBinding(secure.ConnectionState().PeerCertificates[0])
}

func (c *client) authenticate(auth *pgproto.Auth) error {
	c.t.Helper()
	for done := false; !done; {
		typ, payload := c.receive()
		switch typ {
		case pgproto.TypeErrorResponse:
			n, err := pgproto.ParseNotice(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			return errors.New(n.State + " " + n.Message)
		case pgproto.TypeNegotiateProtocolVersion:
			newest, unknown, err := pgproto.ParseNegotiateProtocolVersion(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			c.params["newest"] = fmt.Sprintf("%d.%d %v", newest.Major(), newest.Minor(), unknown)
			continue
		case pgproto.TypeAuthentication:
		default:
			c.t.Fatalf("%q during authentication", typ)
		}
		out, finished, err := auth.Step(nil, payload)
		if err != nil {
			return err
		}
		c.write(out)
		done = finished
	}
	c.method, c.started = auth.Method(), true
	for {
		switch typ, payload := c.receive(); typ {
		case pgproto.TypeBackendKeyData:
			pid, key, err := pgproto.ParseBackendKeyData(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			c.pid, c.key = pid, append([]byte(nil), key...)
		case pgproto.TypeParameterStatus:
			name, value, err := pgproto.ParseParameterStatus(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			c.params[name] = value
		case pgproto.TypeReadyForQuery:
			return nil
		case pgproto.TypeErrorResponse:
			n, err := pgproto.ParseNotice(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			return errors.New(n.State + " " + n.Message)
		}
	}
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if c.started {
		for rest := b; len(rest) > 0; {
			n, step, err := c.out.Next(rest, nil, &c.lim)
			if err != nil {
				c.t.Fatal(err)
			}
			if rest = rest[n:]; step == pgproto.StepHead {
				c.tracker.Client(c.out.Head().Type)
			}
		}
	}
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// receive returns the next message, which it tells the Tracker.
func (c *client) receive() (typ byte, payload []byte) {
	c.t.Helper()
	asked := false
	for {
		n, step, err := c.in.Next(c.unread, nil, &c.lim)
		if err != nil {
			c.t.Fatal(err)
		}
		c.unread = c.unread[n:]
		switch step {
		case pgproto.StepHead:
			c.in.Gather(c.in.Head().Len)
			asked = true
		case pgproto.StepPayload:
			typ, payload = c.in.Head().Type, c.in.Payload()
			if c.started {
				if typ == pgproto.TypeReadyForQuery && c.tracker.Outstanding() == 0 {
					c.unasked++
				}
				var first byte
				if len(payload) > 0 {
					first = payload[0]
				}
				c.tracker.Server(typ, first)
			}
			return typ, payload
		default:
			b := make([]byte, 97) // an odd size, so that messages are cut everywhere
			n, err := c.conn.Read(b)
			if err != nil {
				c.t.Fatalf("reading (in a message: %v): %v", asked, err)
			}
			c.unread = b[:n]
		}
	}
}

// until receives messages up to one of the given type, and returns their types.
func (c *client) until(last byte) string {
	c.t.Helper()
	var types []byte
	for {
		typ, _ := c.receive()
		switch typ {
		case pgproto.TypeNoticeResponse, pgproto.TypeParameterStatus:
			continue // they come when they like
		}
		if types = append(types, typ); typ == last {
			return string(types)
		}
	}
}

// query runs a simple query, and returns the first column of its rows, and its error's SQLSTATE.
func (c *client) query(sql string) string {
	c.t.Helper()
	c.write(pgproto.AppendQuery(nil, sql))
	var rows []string
	for {
		switch typ, payload := c.receive(); typ {
		case pgproto.TypeDataRow:
			rows = append(rows, string(payload[6:]))
		case pgproto.TypeErrorResponse:
			rows = append(rows, "ERROR "+string(pgproto.NoticeState(payload)))
		case pgproto.TypeReadyForQuery:
			return strings.Join(rows, ",")
		}
	}
}

func startServer(t *testing.T) (*dbtest.Postgres, *redistest.PKI) {
	t.Helper()
	pki := redistest.NewPKI(t)
	return dbtest.StartPostgres(t, dbtest.PostgresTLS(pki)), pki
}

// withCertificate is a client's configuration with a certificate of the given name.
func withCertificate(t *testing.T, pki *redistest.PKI, name string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(pki.Issue(name))
	if err != nil {
		t.Fatal(err)
	}
	config := pki.ClientConfig()
	config.Certificates = []tls.Certificate{pair}
	return config
}
