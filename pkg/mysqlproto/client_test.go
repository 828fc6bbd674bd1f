package mysqlproto_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// client is a minimal client made of the codec. A Tracker hears all that it says and is told.
type client struct {
	t       *testing.T
	conn    net.Conn
	caps    mysqlproto.Capabilities
	tracker *mysqlproto.Tracker
	out, in mysqlproto.Framer
	unread  []byte
	buffer  []byte // of the handshake
	seq     byte
	plugin  string
	greet   mysqlproto.Greeting
	scram   []byte // the latest scramble
	// uploads is what the client sends when it is asked for a file.
	uploads [][]byte
}

// login is how a client logs in.
type login struct {
	user, password, database string
	allow                    mysqlproto.Methods
	tls                      *tls.Config // nil for none
	without, with            mysqlproto.Capabilities
	attrs                    []mysqlproto.Attr
	fetchKey                 bool   // the server's public key may be asked for
	publicKey                []byte // the server's public key in PEM, nil for none
}

const (
	everyMethod = mysqlproto.MethodsDefault | mysqlproto.MethodCleartext
	// usual are the capabilities of a usual client.
	usual = mysqlproto.LongPassword | mysqlproto.LongFlag | mysqlproto.ConnectWithDB | mysqlproto.LocalFiles | mysqlproto.Protocol41 | mysqlproto.Transactions |
		mysqlproto.SecureConnection | mysqlproto.MultiStatements | mysqlproto.MultiResults | mysqlproto.PSMultiResults | mysqlproto.PluginAuth |
		mysqlproto.ConnectAttrs | mysqlproto.PluginAuthLenenc | mysqlproto.SessionTrack | mysqlproto.DeprecateEOF
)

// connect logs in, and returns what the server or the codec refuses.
func connect(t *testing.T, addr string, l login) (*client, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn}
	t.Cleanup(func() { _ = c.conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	payload := c.handshakePacket()
	if c.greet, err = mysqlproto.ParseGreeting(payload); err != nil {
		return nil, err
	}
	config := mysqlproto.AuthConfig{User: l.user, Password: l.password, Allow: l.allow, Secure: l.tls != nil, FetchPublicKey: l.fetchKey, Several: c.greet.MariaDB(), Random: rand.Reader}
	if l.publicKey != nil {
		if config.PublicKey, err = mysqlproto.ParsePublicKey(l.publicKey); err != nil {
			t.Fatal(err)
		}
	}
	auth := mysqlproto.NewAuth(config)
	plugin, response, err := auth.Begin(c.greet.AuthPlugin, c.greet.Scramble)
	if err != nil {
		return nil, err
	}
	c.scram = c.greet.Scramble
	r := mysqlproto.HandshakeResponse{
		Capabilities: (usual &^ l.without) | l.with, MaxPacket: 1 << 30, Charset: 45, User: l.user, Auth: response, Database: l.database, AuthPlugin: plugin,
		Attrs: mysqlproto.AppendAttrs(nil, l.attrs),
	}
	if l.with.Has(mysqlproto.MariaDBCacheMetadata) {
		r.Capabilities &^= mysqlproto.LongPassword
	}
	r.Capabilities &= c.greet.Capabilities | mysqlproto.LongPassword&^l.without
	if l.tls != nil {
		r.Capabilities |= mysqlproto.SSL
		c.upgrade(l.tls, r.AppendSSLRequest(nil))
	}
	c.caps = r.Capabilities
	payload, err = r.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.writeHandshake(payload)
	return c, c.authenticate(auth)
}

func (c *client) upgrade(config *tls.Config, request []byte) {
	c.t.Helper()
	c.writeHandshake(request)
	config = config.Clone()
	config.ServerName = "localhost"
	secure := tls.Client(c.conn, config)
	if err := secure.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn = secure
}

// authenticate ends a handshake, and begins the Tracker if there is none.
func (c *client) authenticate(auth *mysqlproto.Auth) error {
	c.t.Helper()
	for {
		payload := c.handshakePacket()
		if payload[0] == 0xfe {
			s, err := mysqlproto.ParseAuthSwitch(payload)
			if err != nil {
				return err
			}
			c.keep(s)
		}
		out, answer, done, err := auth.Step(nil, payload)
		if err != nil {
			return err
		}
		if answer {
			c.writeHandshake(out)
		}
		if done {
			ok, err := mysqlproto.ParseOK(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			c.plugin = auth.Plugin()
			if c.tracker == nil {
				c.tracker = mysqlproto.NewTracker(c.caps, ok.Status)
			}
			return nil
		}
	}
}

// keep keeps the scramble that COM_CHANGE_USER will have to answer: that of 20 bytes, which servers remember.
func (c *client) keep(s mysqlproto.AuthSwitch) {
	if len(s.Scramble()) == 20 {
		c.scram = append([]byte(nil), s.Scramble()...)
	}
}

func (c *client) writeHandshake(payload []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(mysqlproto.AppendPacket(nil, c.seq+1, payload)); err != nil {
		c.t.Fatal(err)
	}
	c.seq++
}

func (c *client) handshakePacket() []byte {
	c.t.Helper()
	for {
		seq, payload, n, err := mysqlproto.ParsePacket(c.buffer, mysqlproto.MaxHandshake)
		if err == nil {
			c.seq, c.buffer = seq, c.buffer[n:]
			return payload
		}
		c.buffer = append(c.buffer, c.read()...)
	}
}

func (c *client) read() []byte {
	c.t.Helper()
	b := make([]byte, 4099) // odd, so that messages are cut everywhere
	n, err := c.conn.Read(b[:min(len(b), 1+len(c.unread)+int(c.seq)%97+len(b)/2)])
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return b[:n]
}

// send sends packets and tells the Tracker.
func (c *client) send(packets []byte) {
	c.t.Helper()
	for rest := packets; len(rest) > 0; {
		n, step := c.out.Next(rest, false)
		if rest = rest[n:]; step == mysqlproto.StepHead {
			c.tracker.Client(c.out.Head(), rest)
		}
	}
	if _, err := c.conn.Write(packets); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// heard is one message of the server.
type heard struct {
	head    mysqlproto.Head
	payload []byte // the first bytes
	row     bool   // the Tracker took it for a row
}

// response receives until the Tracker says that a response is at its end, and returns what came.
func (c *client) response() (messages []heard) {
	c.t.Helper()
	for {
		n, step := c.in.Next(c.unread, false)
		c.unread = c.unread[n:]
		switch step {
		case mysqlproto.StepHead:
			c.in.Gather(1 << 10)
		case mysqlproto.StepPayload:
			h := c.in.Head()
			messages = append(messages, heard{h, append([]byte(nil), c.in.Payload()...), c.tracker.InRows()})
			want := c.tracker.Want(h)
			end, err := c.tracker.Server(h, c.in.Payload()[:want])
			if err != nil {
				c.t.Fatalf("after %s: %v", kinds(messages), err)
			}
			if c.tracker.Uploading() && len(c.uploads) > 0 {
				c.upload()
			}
			if end {
				return messages
			}
		default:
			c.unread = c.read()
		}
	}
}

func (c *client) upload() {
	c.t.Helper()
	seq := c.in.LastSeq() + 1
	for _, part := range append(c.uploads, nil) {
		c.send(mysqlproto.AppendPacket(nil, seq, part))
		seq++
	}
	c.uploads = nil
}

// kinds puts messages into a word: O for OK, E for EOF or OK at the end of rows, ! for an error, F for a wish for a file, and r for all else.
// What MariaDB tells of its progress, which depends on time, is left out.
func kinds(messages []heard) string {
	var word []byte
	for _, m := range messages {
		begins := len(word) == 0 || strings.IndexByte("OEF", word[len(word)-1]) >= 0 // a response begins here
		switch {
		case m.head.First == 0xff && m.payload[1] == 0xff && m.payload[2] == 0xff:
		case m.head.First == 0xff:
			word = append(word, '!')
		case m.head.First == 0xfe && m.head.Len < 0xffffff:
			word = append(word, 'E')
		case m.head.First == 0xfb && begins && !m.row:
			word = append(word, 'F')
		case m.head.First == 0 && begins && !m.row:
			word = append(word, 'O')
		default:
			word = append(word, 'r')
		}
	}
	return string(word)
}

// command is a command with its argument, as a packet.
func command(c mysqlproto.Command, arg string) []byte {
	return mysqlproto.AppendPacket(nil, 0, append([]byte{byte(c)}, arg...))
}

func query(sql string) []byte { return command(mysqlproto.ComQuery, sql) }

// ask sends packets and receives one response.
func (c *client) ask(packets []byte) []heard {
	c.t.Helper()
	c.send(packets)
	return c.response()
}

// value returns the first column of the first row of a query.
func (c *client) value(sql string) string {
	c.t.Helper()
	messages := c.ask(query(sql))
	if messages[0].head.First == 0xff {
		e, err := mysqlproto.ParseError(messages[0].payload)
		if err != nil {
			c.t.Fatal(err)
		}
		return fmt.Sprintf("ERROR %d %s", e.Errno, e.State)
	}
	row := messages[len(messages)-2].payload
	return string(row[1 : 1+row[0]])
}

// statement is the id of a prepared statement, four bytes.
func statement(messages []heard) string { return string(messages[0].payload[1:5]) }

func execute(id string, cursor byte, params string) []byte {
	return command(mysqlproto.ComStmtExecute, id+string([]byte{cursor})+"\x01\x00\x00\x00"+params)
}

func fetch(id string, rows uint32) []byte {
	return command(mysqlproto.ComStmtFetch, id+string(binary.LittleEndian.AppendUint32(nil, rows)))
}
