package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
)

// limit is how long a test waits for what must come.
const limit = time.Minute

// server is one with a listener.
type server struct {
	*h2.Server
	t    *testing.T
	addr string

	mu      sync.Mutex
	refused []error // guarded by mu
	ended   sync.WaitGroup
}

// start serves a handler. What options leave out bounds nothing.
func start(t *testing.T, o h2.Options, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{t: t}
	if o.HeaderBytes == 0 {
		o.HeaderBytes = 16 << 10
	}
	o.Refused = func(_ int, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused = append(s.refused, err)
	}
	s.Server = h2.NewServer(handler, o)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.ended.Go(func() { s.Serve(c, nil) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Close()
		s.ended.Wait() // no goroutine of a connection outlives Serve
	})
	return s
}

// floods tells how many clients were found to flood.
func (s *server) floods() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, err := range s.refused {
		if errors.Is(err, h2.ErrFlood) {
			n++
		}
	}
	return n
}

// client uses the server as net/http does.
func (s *server) client() *http.Client {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	t := &http.Transport{Protocols: p}
	s.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// peer is a client that says what a test wants it to.
type peer struct {
	*http2.Framer
	t    *testing.T
	conn net.Conn
	buf  bytes.Buffer
	enc  *hpack.Encoder
	dec  *hpack.Decoder
}

// dial connects, and exchanges prefaces.
func (s *server) dial(settings ...http2.Setting) *peer {
	s.t.Helper()
	c, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		s.t.Fatal(err)
	}
	p := &peer{Framer: http2.NewFramer(c, c), t: s.t, conn: c}
	p.AllowIllegalWrites = true
	p.enc, p.dec = hpack.NewEncoder(&p.buf), hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, h2.Preface); err != nil {
		s.t.Fatal(err)
	}
	p.must(p.WriteSettings(settings...))
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// block encodes fields: names and values in turn.
func (p *peer) block(fields ...string) []byte {
	p.t.Helper()
	p.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.must(p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return bytes.Clone(p.buf.Bytes())
}

// get are the pseudo-header fields of a plain request.
func get(path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", path}, more...)
}

// post is get with another method.
func post(path string, more ...string) []string {
	fields := get(path, more...)
	fields[1] = "POST"
	return fields
}

// ask sends a header block.
func (p *peer) ask(id uint32, end bool, fields ...string) {
	p.t.Helper()
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(fields...), EndStream: end, EndHeaders: true}))
}

// answer is what has come for a stream.
type answer struct {
	status          string
	fields          map[string]string // trailers too
	body            string
	reset           http2.ErrCode
	wasReset, ended bool
}

// await reads frames until a stream has ended. The windows are never opened.
func (p *peer) await(id uint32) answer {
	p.t.Helper()
	a := answer{fields: map[string]string{}}
	for !a.ended && !a.wasReset {
		f, err := p.ReadFrame()
		if err != nil {
			p.t.Fatalf("waiting for stream %d: %v", id, err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			p.t.Fatalf("waiting for stream %d: %v", id, g)
		}
		if h, ok := f.(*http2.HeadersFrame); ok { // of any stream, for what it says of compression
			p.take(h, &a, h.StreamID == id)
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			a.body += string(f.Data())
			a.ended = f.StreamEnded()
		case *http2.RSTStreamFrame:
			a.reset, a.wasReset = f.ErrCode, true
		}
	}
	return a
}

func (p *peer) take(h *http2.HeadersFrame, a *answer, wanted bool) {
	p.t.Helper()
	fields, err := p.dec.DecodeFull(h.HeaderBlockFragment())
	p.must(err)
	if !wanted {
		return
	}
	for _, f := range fields {
		if f.Name == ":status" {
			a.status += f.Value
			continue
		}
		a.fields[f.Name] = f.Value
	}
	a.ended = h.StreamEnded()
}

// goAway reads frames until the connection ends, and tells what the last GOAWAY
// has said.
func (p *peer) goAway() http2.ErrCode {
	p.t.Helper()
	code := http2.ErrCode(0xffff)
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return code
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code = g.ErrCode
		}
	}
}

// settled waits until the server has done what was sent so far.
func (p *peer) settled() {
	p.t.Helper()
	p.must(p.WritePing(false, [8]byte{1}))
	for {
		f, err := p.ReadFrame()
		p.must(err)
		if h, ok := f.(*http2.HeadersFrame); ok {
			p.take(h, &answer{fields: map[string]string{}}, false)
		}
		if g, ok := f.(*http2.PingFrame); ok && g.IsAck() && g.Data == [8]byte{1} {
			return
		}
	}
}
