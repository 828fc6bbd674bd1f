package h2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"
)

// frame does what a frame says. A *fatal ends the connection, an
// http2.StreamError a stream.
func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.headers(f)
	case *http2.ContinuationFrame:
		p := f.HeaderBlockFragment()
		if c.guard.blank(len(p), f.HeadersEnded(), c.server.o.Floods.Empty) {
			return flood("too many empty frames")
		}
		return c.fragment(p, f.HeadersEnded())
	case *http2.DataFrame:
		return c.dataFrame(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.RSTStreamFrame:
		return c.rstStream(f)
	case *http2.PriorityFrame:
		return c.priority(f)
	case *http2.GoAwayFrame:
		c.drain()
		return nil
	case *http2.PushPromiseFrame:
		return protocolError("a client must not push")
	default:
		return nil // of an extension, RFC 9113 section 5.5
	}
}

// headers begins a header block: a request, or the trailers of one.
func (c *conn) headers(f *http2.HeadersFrame) error {
	id, p := f.StreamID, f.HeaderBlockFragment()
	if id%2 == 0 {
		return protocolError("a client's stream has an even number")
	}
	if c.guard.blank(len(p), f.StreamEnded() || f.HeadersEnded(), c.server.o.Floods.Empty) {
		return flood("too many empty frames")
	}
	b := &c.block
	b.begin(id, f.StreamEnded(), c.server.o.HeaderBytes)
	c.decoder.SetEmitEnabled(true)
	c.mu.Lock()
	b.stream = c.streams[id]
	fresh := id > c.last
	if fresh {
		c.last = id
		c.opened++
	}
	if !f.HeadersEnded() {
		c.blockSince = time.Now()
	}
	known, ours := false, false
	if b.stream == nil && !fresh {
		known, ours = c.recent.find(id)
	}
	c.mu.Unlock()
	switch {
	case fresh || b.stream != nil:
	case ours:
		b.ignored = true
	case known:
		return &fatal{code: http2.ErrCodeStreamClosed, why: "HEADERS on a stream that has ended"}
	default:
		return protocolError("the numbers of streams do not rise")
	}
	if f.HasPriority() && f.Priority.StreamDep == id {
		b.refuse("its stream depends on itself")
	}
	return c.fragment(p, f.HeadersEnded())
}

// fragment takes a part of a header block.
func (c *conn) fragment(p []byte, ended bool) error {
	b := &c.block
	if err := b.count(len(p)); err != nil {
		return err
	}
	if _, err := c.decoder.Write(p); err != nil {
		return &fatal{code: http2.ErrCodeCompression, why: "bad header block", err: err}
	}
	if b.large {
		c.decoder.SetEmitEnabled(false)
	}
	if !ended {
		return nil
	}
	if err := c.decoder.Close(); err != nil {
		return &fatal{code: http2.ErrCodeCompression, why: "bad header block", err: err}
	}
	switch {
	case b.ignored:
		return nil
	case b.stream != nil:
		return c.trailers()
	default:
		return c.open()
	}
}

// trailers ends a request with the header block that was read.
func (c *conn) trailers() error {
	b, s := &c.block, c.block.stream
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockSince = time.Time{}
	switch {
	case s.closed:
		return nil // meanwhile
	case s.inEnded:
		return reset(b.id, http2.ErrCodeStreamClosed, nil)
	case !b.ended:
		b.refuse("HEADERS in the middle of the body")
	case b.pseudo.any():
		b.refuse("pseudo-header fields in trailers")
	case s.declared >= 0 && s.received != s.declared:
		b.refuse("its body is shorter than Content-Length says")
	case b.large:
		b.refuse("its trailers are too large")
	}
	if b.bad != nil {
		return reset(b.id, http2.ErrCodeProtocol, b.bad)
	}
	s.inEnded, s.trailer = true, b.trailers()
	signal(s.in)
	return nil
}

func (c *conn) dataFrame(f *http2.DataFrame) error {
	p, n := f.Data(), int(f.Length)
	if c.guard.blank(len(p), f.StreamEnded(), c.server.o.Floods.Empty) {
		return flood("too many empty frames")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID > c.last {
		return protocolError("DATA on a stream that nobody has opened")
	}
	if n > c.inWindow {
		return &fatal{code: http2.ErrCodeFlowControl, why: "more DATA than the connection's window"}
	}
	c.inWindow -= n
	s := c.streams[f.StreamID]
	if s != nil && !s.inEnded {
		return s.arrivedLocked(p, n-len(p), f.StreamEnded())
	}
	c.creditLocked(n)
	if _, ours := c.recent.find(f.StreamID); s == nil && ours {
		return nil
	}
	return reset(f.StreamID, http2.ErrCodeStreamClosed, nil)
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guard.updates++; c.guard.updates > 5+2*(c.opened+c.server.o.Floods.WindowUpdates*c.data) {
		return flood("too many WINDOW_UPDATE frames")
	}
	if f.StreamID == 0 {
		if c.outWindow += int64(f.Increment); c.outWindow > maxWindow {
			return &fatal{code: http2.ErrCodeFlowControl, why: "the connection's window is too large"}
		}
		c.passLocked()
		return nil
	}
	if f.StreamID > c.last {
		return protocolError("WINDOW_UPDATE on a stream that nobody has opened")
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return nil // it has ended meanwhile
	}
	if s.outWindow += int64(f.Increment); s.outWindow > maxWindow {
		return reset(s.id, http2.ErrCodeFlowControl, nil)
	}
	signal(s.more)
	return nil
}

// settings applies the client's, one after the other.
func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return readError(f.FrameHeader, err)
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSize(s.Val)
		case http2.SettingInitialWindowSize:
			return c.resizeLocked(int64(s.Val))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.controlLocked(http2.FrameSettings, http2.FlagSettingsAck, 0)
}

// resizeLocked changes the windows of all streams, RFC 9113 section 6.9.2.
func (c *conn) resizeLocked(first int64) error {
	more := first - c.outFirst
	c.outFirst = first
	for _, s := range c.streams {
		if s.outWindow += more; s.outWindow > maxWindow {
			return &fatal{code: http2.ErrCodeFlowControl, why: "a stream's window is too large"}
		}
		signal(s.more)
	}
	return nil
}

func (c *conn) ping(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.IsAck() {
		c.pingFrameLocked(http2.FlagPingAck, f.Data[:])
		return c.countLocked()
	}
	if c.draining && binary.BigEndian.Uint64(f.Data[:]) == pingDrain {
		c.finalLocked()
	}
	return nil
}

func (c *conn) rstStream(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID > c.last {
		return protocolError("RST_STREAM on a stream that nobody has opened")
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return nil
	}
	s.failLocked(ErrClientReset)
	s.closeLocked(false)
	if !s.w.begun && c.guard.wasted(time.Now()) {
		return flood("too many streams are reset")
	}
	return nil
}

func (c *conn) priority(f *http2.PriorityFrame) error {
	c.mu.Lock()
	opened := c.opened
	c.mu.Unlock()
	if c.guard.priorities++; c.guard.priorities > c.server.o.Floods.Priority*(1+opened) {
		return flood("too many PRIORITY frames")
	}
	if f.StreamDep == f.StreamID {
		return reset(f.StreamID, http2.ErrCodeProtocol, nil)
	}
	return nil
}
