package http_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
)

// Windows of a client of HTTP/2, in bytes.
const (
	closed = 0
	wide   = 1 << 30 // more than sockets hold
)

// mute is a client of HTTP/2 that reads nothing until it is told to.
type mute struct {
	*http2.Framer
	t   *testing.T
	buf bytes.Buffer
	enc *hpack.Encoder
	dec *hpack.Decoder
}

// mute connects, with TLS where cfg is not nil.
func (h *host) mute(window uint32, cfg *tls.Config) *mute {
	h.t.Helper()
	c := h.dial()
	must(h.t, c.SetDeadline(time.Now().Add(time.Minute)))
	if tcp, ok := c.(*net.TCPConn); ok {
		must(h.t, tcp.SetReadBuffer(64<<10))
	}
	if cfg != nil {
		c = tls.Client(c, cfg)
	}
	m := &mute{Framer: http2.NewFramer(c, c), t: h.t, dec: hpack.NewDecoder(4096, nil)}
	m.enc = hpack.NewEncoder(&m.buf)
	_, err := io.WriteString(c, h2.Preface)
	must(h.t, err)
	must(h.t, m.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
	must(h.t, m.WriteWindowUpdate(0, wide))
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *mute) ask(id uint32, path string) {
	m.t.Helper()
	m.buf.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", path}} {
		must(m.t, m.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	must(m.t, m.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: m.buf.Bytes(), EndStream: true, EndHeaders: true}))
}

// next reads a stream's next frame.
func (m *mute) next(id uint32) http2.Frame {
	m.t.Helper()
	for {
		f, err := m.ReadFrame()
		must(m.t, err)
		if g, ok := f.(*http2.GoAwayFrame); ok {
			m.t.Fatalf("the connection ends: %v", g.ErrCode)
		}
		if f.Header().StreamID == id {
			return f
		}
	}
}

// head reads the beginning of an answer, whose status it returns.
func (m *mute) head(id uint32) (status string) {
	m.t.Helper()
	h, ok := m.next(id).(*http2.HeadersFrame)
	if !ok {
		m.t.Fatal("the answer does not begin with HEADERS")
	}
	fields, err := m.dec.DecodeFull(h.HeaderBlockFragment())
	must(m.t, err)
	return fields[0].Value
}

// rest reads on until a stream is reset, and tells how.
func (m *mute) rest(id uint32) http2.ErrCode {
	m.t.Helper()
	for {
		switch f := m.next(id).(type) {
		case *http2.RSTStreamFrame:
			return f.ErrCode
		case *http2.DataFrame:
			if f.StreamEnded() {
				return http2.ErrCodeNo
			}
		}
	}
}

// TestUnreadStreamEnds is TestUnreadAnswerEnds for a stream of HTTP/2. Its
// connection goes on, and no byte of it is lost.
func TestUnreadStreamEnds(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	for client, window := range map[string]uint32{"no window": closed, "nothing read": wide} {
		for _, secure := range []bool{false, true} {
			for name, tt := range ends {
				t.Run(client+map[bool]string{true: ", TLS"}[secure]+", "+name, func(t *testing.T) {
					t.Parallel()
					addr, taken := endless(t)
					m := routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
					  {"match": {"path": "/well"}, "direct_response": {"status": 204}},
					  {"match": {"prefix": "/"}, "route": {"cluster": "c"`+tt.route+`}}]}]}`))
					m.Limits.MaxStream = tt.age
					var server, cfg *tls.Config
					if secure {
						server, cfg = pki.ServerConfig(), pki.ClientConfig()
						server.NextProtos, cfg.NextProtos, cfg.ServerName = []string{"h2"}, []string{"h2"}, "localhost"
					}
					h := proxyWith(t, m, server, clusterOf("c", addr))
					c := h.mute(window, cfg)
					c.ask(1, "/")
					if status := c.head(1); status != "200" {
						t.Fatalf("the answer begins with %s", status)
					}
					tt.await(h, m, taken)
					if reset := c.rest(1); reset == http2.ErrCodeNo {
						t.Error("the answer without an end has ended as it should")
					}
					c.ask(3, "/well")
					if status := c.head(3); status != "204" {
						t.Errorf("the next answer is %s", status)
					}
				})
			}
		}
	}
}
