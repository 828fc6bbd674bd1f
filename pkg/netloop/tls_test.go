package netloop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testTLS returns a server's and a client's configuration that trust each other.
func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"db.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots, ServerName: "db.test"}
}

// The transport says "not now" with an error whose Temporary method is
// deprecated. If crypto/tls stops honouring it, its session dies at the first
// pause, and this test says so.
func TestWouldBlockIsResumable(t *testing.T) {
	t.Parallel()
	if !errWouldBlock.Temporary() { //nolint:staticcheck // that is the point
		t.Fatal("not temporary")
	}
	server, client := testTLS(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := net.Pipe()
		wire := &throttled{Conn: near}
		server, client := server.Clone(), client.Clone()
		server.MaxVersion = version
		session, peer := tls.Server(wire, server), tls.Client(far, client)
		go func() { _ = peer.Handshake() }()
		if err := session.Handshake(); err != nil {
			t.Fatal(err)
		}
		wire.dry = true
		go func() { _, _ = peer.Write([]byte("hello")) }()
		var got []byte
		blocked := 0
		for b := make([]byte, 100); len(got) < 5; {
			n, err := session.Read(b)
			got = append(got, b[:n]...)
			if err == nil {
				continue
			}
			if !errors.Is(err, errWouldBlock) {
				t.Fatalf("%x: %v", version, err)
			}
			blocked++
		}
		if string(got) != "hello" || blocked < 10 {
			t.Errorf("%x: got %q after %d refusals", version, got, blocked)
		}
		near.Close()
		far.Close()
	}
}

// throttled gives one byte at a time and refuses every second read.
type throttled struct {
	net.Conn
	dry, toggle bool
}

func (c *throttled) Read(b []byte) (int, error) {
	if !c.dry {
		return c.Conn.Read(b)
	}
	if c.toggle = !c.toggle; c.toggle {
		return 0, errWouldBlock
	}
	return c.Conn.Read(b[:1])
}

func TestTLSEcho(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		g := startGroup(t, GroupOptions{Loops: 1})
		cfg := server.Clone()
		cfg.MaxVersion = version
		n := serve(t, g, ListenOptions{TLS: cfg}, func(*Conn) Driver {
			s := echo()
			s.data = func(c *Conn, b []byte) int {
				if st := c.TLSState(); st == nil || st.Version != version {
					t.Errorf("TLS state: %+v", st)
				}
				c.Write(b)
				return len(b)
			}
			return s
		})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				c := tls.Client(dial(t, n.Addr()), client)
				want := randomBytes(1000 + i*500<<10)
				go func() {
					_, _ = c.Write(want)
					_ = c.CloseWrite()
				}()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
				}
			})
		}
		wg.Wait()
	}
}

// A chain of two relays, with TLS between them: both roles of a handshake,
// payloads in chunks, FIN through close_notify, bounded memory.
func TestTLSRelay(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	var most atomic.Int64
	inner := serveTunnel(t, g, ListenOptions{TLS: server}, "tcp", sink(t), DialOptions{}, &most)
	outer := serveTunnel(t, g, ListenOptions{}, "tcp", inner.Addr(), DialOptions{TLS: client}, &most)
	c := dial(t, outer.Addr())
	want, got := sendAndSum(t, c, c.CloseWrite, 16<<20)
	if !bytes.Equal(got, want) {
		t.Error("sums differ")
	}
	if most.Load() > 2<<20 {
		t.Errorf("%d bytes buffered", most.Load())
	}
	await(t, "closing", func() bool { return inner.Connections()+outer.Connections() == 0 })
	if s := readStats(t, g.Loops()[0]); s.HeldBytes > 4*largeChunk {
		t.Errorf("buffers left: %+v", s)
	}
}

func TestTLSHandshakeOfASilentClient(t *testing.T) {
	t.Parallel()
	server, _ := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1, Loop: Options{Handshake: 100 * time.Millisecond}})
	ended := make(chan error, 1)
	note := &script{closed: func(_ *Conn, err error) { ended <- err }}
	n := serve(t, g, ListenOptions{TLS: server}, func(*Conn) Driver { return note })
	dial(t, n.Addr())
	if err := <-ended; !errors.Is(err, ErrHandshakeTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestTLSHandshakeFailures(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	l := g.Loops()[0]
	ended := make(chan error, 10)
	note := &script{closed: func(_ *Conn, err error) { ended <- err }}
	n := serve(t, g, ListenOptions{TLS: server}, func(*Conn) Driver { return note })

	c := dial(t, n.Addr())
	_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "TLS handshake") {
		t.Errorf("plain client: %v", err)
	}
	if err := dial(t, n.Addr()).Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("client that leaves: no error")
	}

	other := client.Clone()
	other.ServerName = "elsewhere.test"
	l.Post(func() { l.Dial("tcp", n.Addr(), DialOptions{TLS: other}, note).Write([]byte("secret")) })
	var wrong x509.HostnameError
	for range 2 { // both sides
		if err := <-ended; !errors.As(err, &wrong) && !strings.Contains(err.Error(), "bad certificate") {
			t.Errorf("wrong name: %v", err)
		}
	}
	if wrong.Host == "" {
		t.Error("no HostnameError")
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l.Post(func() {
		l.Dial("tcp", silent.Addr().String(), DialOptions{TLS: client, Timeout: 50 * time.Millisecond}, note)
	})
	if err := <-ended; !errors.Is(err, ErrDialTimeout) {
		t.Errorf("silent server: %v", err)
	}
}

// A client gone in the middle of its handshake leaves no goroutine waiting,
// and a stopped loop neither.
func TestTLSStopDuringHandshake(t *testing.T) {
	t.Parallel()
	server, _ := testTLS(t)
	g, err := NewGroup(GroupOptions{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{})
	returned := make(chan struct{})
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }
	g.Start()
	n := serve(t, g, ListenOptions{TLS: server}, func(c *Conn) Driver {
		hs := c.rare.tls
		go func() {
			close(began)
			_ = hs.conn.Handshake() // waits for the one under way
			close(returned)
		}()
		return echo()
	})
	dial(t, n.Addr())
	<-began
	stopGroup(t, g)
	select {
	case <-returned:
	case <-time.After(10 * time.Second):
		t.Error("handshake still waits")
	}
}

func TestTLSTruncation(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	ended := make(chan error, 1)
	n := serve(t, g, ListenOptions{TLS: server}, func(*Conn) Driver {
		return &script{
			data:   func(c *Conn, b []byte) int { c.Write(b); return len(b) },
			closed: func(_ *Conn, err error) { ended <- err },
		}
	})
	raw := dial(t, n.Addr())
	c := tls.Client(raw, client)
	roundTrip(t, c, "hello")
	_, _ = raw.Write([]byte{23, 3, 3, 1, 0, 'x'}) // the start of a record of 256 bytes
	_ = raw.CloseWrite()
	if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}
