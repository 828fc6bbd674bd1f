package mysql

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// hello is the greeting of a server that does not speak TLS.
func hello(t testing.TB, caps mysqlproto.Capabilities) []byte {
	t.Helper()
	g := mysqlproto.Greeting{
		ServerVersion: "8.0.1", ThreadID: 1, Scramble: []byte("abcdefghijklmnopqrst"), Charset: 45, AuthPlugin: mysqlproto.PluginNative,
		Capabilities: bareCaps | caps, Status: mysqlproto.StatusAutocommit,
	}
	payload, err := g.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return mysqlproto.AppendPacket(nil, 0, payload)
}

// readPacket reads one packet of the proxy.
func readPacket(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, payloadLen(head[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// welcoming is a server that lets everybody in, and then does what serve does.
func welcoming(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	return nettest.Serve(t, func(c net.Conn) {
		_, _ = c.Write(hello(t, 0))
		if _, err := readPacket(c); err != nil {
			return
		}
		_, _ = c.Write(okPacket(2, mysqlproto.StatusAutocommit))
		serve(c)
	})
}

func switchTo(plugin string) []byte {
	s := mysqlproto.AuthSwitch{Plugin: plugin, Data: []byte("abcdefghijklmnopqrst\x00")}
	return mysqlproto.AppendPacket(nil, 2, s.AppendTo(nil))
}

// TestFakeServer: a server that asks for the password itself, or is none, gets
// nothing of use.
func TestFakeServer(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	afterHello := func(answer []byte) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Write(hello(t, 0))
			if _, err := readPacket(c); err == nil {
				_, _ = c.Write(answer)
			}
		}
	}
	wish := mysqlproto.AuthSwitch{Plugin: mysqlproto.PluginParsec, Data: bytes.Repeat([]byte{7}, 32)}
	parsec := mysqlproto.AppendPacket(nil, 2, wish.AppendTo(nil))
	tests := map[string]struct {
		tls   *tls.Config
		serve func(c net.Conn)
		want  string
	}{
		"cleartext":       {nil, afterHello(switchTo(mysqlproto.PluginCleartext)), "refused"},
		"a dialog":        {nil, afterHello(switchTo("dialog")), "refused"},
		"the old method":  {nil, afterHello([]byte{1, 0, 0, 2, 0xfe}), "mysql_old_password"},
		"full, in plain":  {nil, afterHello([]byte{2, 0, 0, 2, 1, 4}), "no use for"},
		"a second factor": {nil, afterHello([]byte{2, 0, 0, 2, 2, 'x'}), "second factor"},
		"no TLS":          {filtertest.Trusting(t, pki, "localhost"), afterHello(nil), "does not offer TLS"},
		"an empty packet": {nil, afterHello(append(parsec, 0, 0, 0, 4)), "empty packet"},
		"something else":  {nil, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "does not log in at this server"},
		"version 9":       {nil, func(c net.Conn) { _, _ = c.Write([]byte{2, 0, 0, 0, 9, 0}) }, "version 9"},
		"nothing":         {nil, func(c net.Conn) { c.Close() }, "the connection ended"},
		"nothing at last": {nil, func(c net.Conn) { afterHello(nil)(c); c.Close() }, "the connection ended"},
		"no room":         {nil, func(c net.Conn) { _, _ = c.Write(errorPacket(0, 1040, "", "Too many connections")) }, "1040"},
		"a long greeting": {nil, func(c net.Conn) { _, _ = c.Write([]byte{0xff, 0xff, 0x7f, 0, 10}) }, "before the first command"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			filtertest.Distrusted(t, tc.want, tc.serve, func(addr string) *filtertest.Fixture {
				f := start(t, config())
				f.main().Lead(tc.tls, addr)
				return f.shared()
			})
		})
	}
}
