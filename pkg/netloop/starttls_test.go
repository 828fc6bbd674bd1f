package netloop

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// upgrading asks for TLS, or is asked, in the clear; then it echoes, or says hello.
type upgrading struct {
	*script
	cfg    *tls.Config
	secure chan bool
}

func (u upgrading) Data(c *Conn, b []byte) int {
	if c.TLSState() != nil {
		return u.script.Data(c, b)
	}
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return 0
	}
	if c.Side() == Downstream {
		c.WriteString("go on\n")
	}
	c.StartTLS(u.cfg, 20*time.Second)
	return i + 1
}

func (u upgrading) Connected(c *Conn) {
	if c.TLSState() == nil { // of the dial
		c.WriteString("TLS, please\n")
		return
	}
	if u.secure != nil {
		u.secure <- true
	}
	if c.Side() == Upstream {
		c.WriteString("hello")
	}
}

// Both sides of a connection that begins in the clear.
func TestStartTLS(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return upgrading{echo(), server, nil} })
	got := make(chan string, 1)
	d := upgrading{&script{data: func(c *Conn, b []byte) int { got <- string(b); c.Close(); return len(b) }}, client, make(chan bool, 1)}
	g.Loops()[0].Post(func() { g.Loops()[0].Dial("tcp", n.Addr(), DialOptions{}, d) })
	if !<-d.secure || <-got != "hello" {
		t.Error("no echo over TLS")
	}
	await(t, "closing", func() bool { return n.Connections() == 0 })
	if s := readStats(t, g.Loops()[0]); s.HeldBytes > 4*largeChunk {
		t.Errorf("buffers left: %+v", s)
	}
}

// pushy sends its request for TLS and its first flight in one piece, as MySQL's
// clients may.
type pushy struct {
	net.Conn
	first []byte
}

func (p *pushy) Write(b []byte) (int, error) {
	if p.first == nil {
		return p.Conn.Write(b)
	}
	all := append(p.first, b...)
	p.first = nil
	_, err := p.Conn.Write(all)
	return len(b), err
}

func TestStartTLSTakesInputThatIsThere(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver {
		return &script{data: func(c *Conn, b []byte) int {
			c.SetDriver(echo())
			c.StartTLS(server, 20*time.Second)
			return bytes.IndexByte(b, '\n') + 1
		}}
	})
	c := tls.Client(&pushy{dial(t, n.Addr()), []byte("TLS, please\n")}, client)
	want := randomBytes(300 << 10)
	go func() {
		_, _ = c.Write(want)
		_ = c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
}

func TestStartTLSFailures(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	l := g.Loops()[0]
	ended := make(chan error, 1)
	closed := &script{closed: func(_ *Conn, err error) { ended <- err }}
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return upgrading{echo(), server, nil} })
	stranger := client.Clone()
	stranger.ServerName = "other.test"
	l.Post(func() { l.Dial("tcp", n.Addr(), DialOptions{}, upgrading{closed, stranger, nil}) })
	var wrongName x509.HostnameError
	if err := <-ended; !errors.As(err, &wrongName) {
		t.Errorf("a certificate for another name: %v", err)
	}
	mute := serve(t, g, ListenOptions{}, func(*Conn) Driver {
		return &script{data: func(c *Conn, b []byte) int {
			if bytes.HasSuffix(b, []byte("\n")) {
				c.WriteString("go on\n")
			}
			return len(b)
		}}
	})
	l.Post(func() {
		d := &script{data: func(c *Conn, b []byte) int { c.StartTLS(client, 50*time.Millisecond); return len(b) }, closed: closed.closed}
		l.Dial("tcp", mute.Addr(), DialOptions{}, d).WriteString("TLS, please\n")
	})
	if err := <-ended; !errors.Is(err, ErrHandshakeTimeout) {
		t.Errorf("a server that says nothing more: %v", err)
	}
}
