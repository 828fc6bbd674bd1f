package mysql

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// bare is a client that is made of the codec, for what drivers do not do.
type bare struct {
	tb       testing.TB
	conn     net.Conn
	seq      byte
	greeting mysqlproto.Greeting
	plugin   string                  // that it claims to use
	caps     mysqlproto.Capabilities // besides bareCaps
}

const bareCaps = mysqlproto.LongPassword | mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.ConnectWithDB |
	mysqlproto.Transactions | mysqlproto.MultiStatements | mysqlproto.MultiResults | mysqlproto.DeprecateEOF

// dial connects without logging in.
func (f *fixture) dial() *bare {
	f.tb.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	return &bare{tb: f.tb, conn: c, plugin: mysqlproto.PluginNative}
}

// login logs in as an app that sends the auth data as they are.
func (f *fixture) login(plugin string, auth []byte) *bare {
	f.tb.Helper()
	c := f.dial()
	c.plugin = plugin
	c.greet()
	c.respond(auth)
	return c
}

func (c *bare) greet() {
	c.tb.Helper()
	g, err := mysqlproto.ParseGreeting(c.read())
	if err != nil {
		c.tb.Fatal(err)
	}
	c.greeting = g
}

func (c *bare) respond(auth []byte) {
	c.tb.Helper()
	r := mysqlproto.HandshakeResponse{Capabilities: (bareCaps | c.caps) & (c.greeting.Capabilities | mysqlproto.LongPassword), MaxPacket: 1 << 24, Charset: 45, User: "app", Auth: auth, Database: "placeholder", AuthPlugin: c.plugin}
	payload, err := r.AppendTo(nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.write(payload)
}

// read reads one packet.
func (c *bare) read() []byte {
	c.tb.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		c.tb.Fatalf("reading: %v", err)
	}
	if c.seq != head[3] {
		c.tb.Errorf("packet %d, not %d", head[3], c.seq)
	}
	c.seq = head[3] + 1
	b := make([]byte, payloadLen(head[:]))
	if _, err := io.ReadFull(c.conn, b); err != nil {
		c.tb.Fatalf("reading: %v", err)
	}
	return b
}

func (c *bare) write(payload []byte) {
	c.tb.Helper()
	if _, err := c.conn.Write(mysqlproto.AppendPacket(nil, c.seq, payload)); err != nil {
		c.tb.Fatalf("writing: %v", err)
	}
	c.seq++
}

// ask sends a command and returns the first packet of the response.
func (c *bare) ask(command mysqlproto.Command, arg string) []byte {
	c.tb.Helper()
	c.seq = 0
	c.write(append([]byte{byte(command)}, arg...))
	return c.read()
}

// value asks for a row of one column.
func (c *bare) value(query string) string {
	c.tb.Helper()
	if b := c.ask(mysqlproto.ComQuery, query); len(b) != 1 || b[0] != 1 {
		c.tb.Fatalf("%s: %q", query, b)
	}
	c.read()
	row := c.read()
	c.read()
	return string(row[1:])
}
