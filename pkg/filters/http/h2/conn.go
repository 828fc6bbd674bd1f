package h2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	bufferSize = 4 << 10
	frameSize  = 16 << 10         // of a frame's content, either way: RFC 9113's own
	initial    = 65535            // window of RFC 9113 section 6.9.2
	maxWindow  = 1<<31 - 1        // section 6.9.1
	maxStream  = 1<<31 - 1        // section 5.1.1
	patience   = time.Second      // for a client to hear the last word
	greeting   = 10 * time.Second // for the preface, where Options.Headers says nothing
)

// conn is one connection.
type conn struct {
	// read-only after construction
	server  *Server
	socket  net.Conn
	spill   *Spill        // beneath it; nil: it is TLS over something else
	request *http.Request // what all requests have in common
	secure  *tls.ConnectionState
	born    time.Time
	wake    chan struct{} // the writer has something to do; holds one
	written chan struct{} // closed when the writer has ended

	// the reader's
	ahead   []byte
	in      *bufio.Reader
	framer  *http2.Framer
	decoder *hpack.Decoder
	block   block
	guard   guard // but for what is said there

	lastRead atomic.Int64 // ns since 1970, where pings are sent
	others   sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the streams' state
	streams map[uint32]*stream
	running int    // handlers, also of streams that have ended
	opened  int    // streams
	last    uint32 // the highest that the client has opened
	recent  recent

	inWindow int // what the client may send
	inCredit int // what was read and not given back yet

	out       []byte // what is to be written
	spare     []byte
	flushing  bool
	flusher   *stream // whose handler is at that; nil: none's
	handed    bool    // the writer is to go on with it
	writeErr  error
	writeTill time.Time // deadline that is set
	control   int       // frames in out that are no part of a response
	frames    int       // in out
	data      int       // DATA frames sent so far
	tail      *stream   // out ends with a DATA frame of it, from tailAt on; nil: with something else
	tailAt    int
	encoder   *hpack.Encoder
	encoded   bytes.Buffer
	lower     map[string]string // of headers' names
	outWindow int64             // what the client takes
	outFirst  int64             // and of a new stream
	waiting   []*stream         // for room, in their order

	timer      *time.Timer
	blockSince time.Time // a header block is incomplete; zero: none is
	idleSince  time.Time
	pinged     time.Time // zero: no answer is expected
	greeted    bool      // the preface was received, and SETTINGS sent
	draining   bool      // GOAWAY was sent, for which streams is not said yet
	drainTill  time.Time
	final      bool   // it was said for which
	lastServed uint32 // then
	ending     *fatal // the connection ends
	dead       bool   // it has ended, and nothing more is put into out
}

func newConn(s *Server, socket net.Conn, ahead []byte) *conn {
	if _, ok := socket.(*tls.Conn); !ok {
		socket = NewSpill(socket)
	}
	c := &conn{
		server: s, socket: socket, spill: spillOf(socket), ahead: ahead, born: time.Now(), wake: make(chan struct{}, 1), written: make(chan struct{}),
		streams: map[uint32]*stream{}, inWindow: int(s.o.ConnectionWindow), outWindow: initial, outFirst: initial, lower: map[string]string{},
	}
	if t, ok := socket.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.secure = &state
	}
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, socket.LocalAddr())
	c.request = (&http.Request{
		Proto: "HTTP/2.0", ProtoMajor: 2, RemoteAddr: socket.RemoteAddr().String(), TLS: c.secure, Body: http.NoBody,
	}).WithContext(ctx)
	c.in = bufio.NewReaderSize((*source)(c), bufferSize)
	c.framer = http2.NewFramer(nil, c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(frameSize)
	c.decoder = hpack.NewDecoder(s.o.TableSize, c.block.add)
	c.decoder.SetMaxStringLength(4*s.o.HeaderBytes + frameSize)
	c.block.names = map[string]string{}
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.encoder.SetMaxDynamicTableSizeLimit(defaultTable)
	c.guard.resets, c.guard.at = resetsAtOnce, c.born
	c.idleSince = c.born
	return c
}

// source is what the reader reads from.
type source conn

// Read implements io.Reader. It is called when nothing is left in the reader's
// buffer: now what was put into the output must go.
func (r *source) Read(p []byte) (int, error) {
	if len(r.ahead) > 0 {
		n := copy(p, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	}
	c := (*conn)(r)
	c.mu.Lock()
	if len(c.out) > 0 && !c.flushing {
		c.kick()
	}
	c.mu.Unlock()
	n, err := c.socket.Read(p)
	if c.server.o.PingEvery > 0 {
		c.lastRead.Store(time.Now().UnixNano())
	}
	return n, err
}

// serve serves the connection until it ends.
func (c *conn) serve() {
	go c.write()
	err := c.read()
	c.end(err)
	c.others.Wait()
}

// read reads frames until there is a reason to end the connection.
func (c *conn) read() error {
	if weak(c.secure) {
		return &fatal{code: http2.ErrCodeInadequateSecurity, why: "TLS is too weak for HTTP/2"}
	}
	if err := c.greet(); err != nil {
		return err
	}
	for {
		if err := c.next(); err != nil {
			return err
		}
	}
}

// greet reads the client's preface, answers with that of the server, and reads the
// client's first SETTINGS.
func (c *conn) greet() error {
	limit := c.server.o.Headers
	if limit <= 0 {
		limit = greeting
	}
	c.readTill(time.Now().Add(limit))
	for n := 1; n <= len(Preface); n++ {
		b, err := c.in.Peek(n)
		if err != nil {
			return err
		}
		if b[n-1] != Preface[n-1] {
			return protocolError("this is no preface of HTTP/2")
		}
	}
	_, _ = c.in.Discard(len(Preface)) // they are there
	c.hello()
	h, err := c.framer.ReadFrameHeader()
	if err != nil {
		return readError(h, err)
	}
	if h.Type != http2.FrameSettings || h.Flags.Has(http2.FlagSettingsAck) {
		return protocolError("the first frame is not SETTINGS")
	}
	f, err := c.framer.ReadFrameForHeader(h)
	if err != nil {
		return readError(h, err)
	}
	if err := c.frame(f); err != nil {
		return err
	}
	c.readTill(time.Time{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armLocked(time.Now())
	return nil
}

// readTill sets a deadline for reading, unless the connection is to end.
func (c *conn) readTill(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		_ = c.socket.SetReadDeadline(t)
	}
}

// next reads one frame and does what it says.
func (c *conn) next() error {
	h, err := c.framer.ReadFrameHeader()
	if err != nil {
		return readError(h, err)
	}
	f, err := c.framer.ReadFrameForHeader(h)
	if err != nil {
		err = readError(h, err)
	} else {
		err = c.frame(f)
	}
	var s http2.StreamError
	if err != nil && errors.As(err, &s) {
		return c.streamError(&s)
	}
	return err
}

// readError says what becomes of a connection whose frame could not be read.
func readError(h http2.FrameHeader, err error) error {
	var code http2.ConnectionError
	var s http2.StreamError
	switch {
	case errors.As(err, &code):
		return &fatal{code: http2.ErrCode(code), why: "bad " + h.Type.String() + " frame"}
	case errors.As(err, &s):
		if h.Type == http2.FrameHeaders { // what it says of compression is lost
			return &fatal{code: s.Code, why: "bad HEADERS frame"}
		}
		return err
	case errors.Is(err, http2.ErrFrameTooLarge):
		return &fatal{code: http2.ErrCodeFrameSize, why: "a frame is larger than SETTINGS_MAX_FRAME_SIZE"}
	case errors.Is(err, io.ErrUnexpectedEOF): // of the connection, or of a frame
		return &fatal{code: http2.ErrCodeFrameSize, why: "a frame is too short"}
	}
	return err
}

// streamError resets a stream.
func (c *conn) streamError(e *http2.StreamError) error {
	if bad, ok := e.Cause.(*malformed); ok && c.server.o.Refused != nil { //nolint:errorlint // as this package makes it
		c.server.o.Refused(http.StatusBadRequest, bad)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.StreamID > c.last {
		return &fatal{code: e.Code, why: "error on a stream that nobody has opened"}
	}
	if c.guard.wasted(time.Now()) {
		return flood("too many streams with errors")
	}
	if s := c.streams[e.StreamID]; s != nil {
		why := e.Cause
		if why == nil {
			why = ErrClientReset
		}
		s.failLocked(why)
		return c.resetLocked(s, e.Code)
	}
	c.recent.add(e.StreamID, true)
	return c.controlLocked(http2.FrameRSTStream, 0, e.StreamID, uint32(e.Code))
}

// stopLocked has the reader end the connection.
func (c *conn) stopLocked(code http2.ErrCode, why string) {
	if c.ending == nil {
		c.ending = &fatal{code: code, why: why}
		_ = c.socket.SetReadDeadline(time.Unix(1, 0))
	}
}

// abort closes the connection at once.
func (c *conn) abort() { _ = c.socket.Close() }

// end ends the connection, with a last word where somebody may hear it.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	why := c.ending
	if why == nil {
		why, _ = err.(*fatal) //nolint:errorlint // as this package makes it
	}
	c.ending = why
	if why == nil {
		why = &fatal{}
	}
	for _, s := range c.streams {
		s.failLocked(ErrClientReset)
	}
	clear(c.streams)
	speaks := c.ending != nil && c.writeErr == nil && (c.greeted || why.code != http2.ErrCodeNo)
	if speaks && (why.code != http2.ErrCodeNo || !c.final) {
		c.goAwayLocked(c.last, why.code)
	}
	c.dead, c.tail = true, nil
	c.writeTill = time.Now().Add(patience)
	_ = c.socket.SetWriteDeadline(c.writeTill)
	if !speaks {
		c.out = nil
	}
	c.kick()
	c.mu.Unlock()
	if why.code != http2.ErrCodeNo && c.server.o.Refused != nil {
		c.server.o.Refused(http.StatusBadRequest, why)
	}
	if speaks {
		<-c.written
		c.linger()
	}
	_ = c.socket.Close()
	<-c.written
}

// linger reads on for a while: unread input would turn the close into a reset,
// which may overtake the last word.
func (c *conn) linger() {
	half, ok := c.socket.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	const most = 16 << 20
	_ = c.socket.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.CopyN(io.Discard, c.socket, most)
}
