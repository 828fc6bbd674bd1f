package h2

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/net/http2"
)

const (
	sendAt   = 16 << 10   // output is sent at this size at the latest
	maxOut   = 64 << 10   // and nothing but control frames is added to more than this
	keepOut  = 2 * maxOut // memory for output that is kept while there are requests; without, sendAt
	maxTurns = 4          // how often one goroutine writes for others before the writer does
)

// kick has the writer look at the output.
func (c *conn) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write writes what nobody else does, until the connection is dead.
func (c *conn) write() {
	defer close(c.written)
	for range c.wake {
		c.mu.Lock()
		if c.handed {
			c.goOnLocked()
		}
		c.flushLocked(nil)
		over := c.dead && !c.flushing && (len(c.out) == 0 || c.writeErr != nil)
		c.mu.Unlock()
		if over {
			return
		}
	}
}

// flushLocked hands the output to the kernel, unless somebody is at that already:
// he sees what has come meanwhile. mu is released while it waits: not longer than
// until the time of by is over, the stream whose handler this is; nil: none.
func (c *conn) flushLocked(by *stream) {
	for turn := 0; len(c.out) > 0 && !c.flushing && c.writeErr == nil; turn++ {
		if turn == maxTurns || by != nil && by.doneLocked() {
			c.kick()
			return
		}
		b := c.out
		c.out, c.spare, c.tail = c.spare[:0], nil, nil
		c.control, c.frames = 0, 0
		c.flushing, c.flusher = true, by
		c.armWriteLocked()
		c.mu.Unlock()
		_, err := c.socket.Write(b)
		c.mu.Lock()
		c.flushing, c.flusher = false, nil
		if cap(b) <= sendAt || cap(b) <= keepOut && len(c.streams) > 0 {
			c.spare = b[:0]
		}
		c.writtenLocked(err)
	}
	if c.dead {
		c.kick() // the writer waits for the end of this
	}
}

// writtenLocked takes the result of a write.
func (c *conn) writtenLocked(err error) {
	if c.spill != nil && c.spill.short.Load() {
		c.spill.resume(c.writeTill)
		c.flushing, c.handed = true, true // nobody adds to what is left
		c.kick()
	}
	if err != nil {
		c.writeErr, c.out, c.tail = err, nil, nil
		c.stopLocked(http2.ErrCodeNo, "the client cannot be written to")
	}
	c.passLocked()
}

// goOnLocked writes what a handler has left whose time was over.
func (c *conn) goOnLocked() {
	c.handed = false
	c.armWriteLocked()
	c.mu.Unlock()
	err := c.spill.writeRest()
	c.mu.Lock()
	c.flushing = false
	c.writtenLocked(err)
}

// cutLocked has a stream's handler wait no longer that writes for the connection.
func (c *conn) cutLocked(s *stream) {
	if c.flusher == s && c.spill != nil {
		c.spill.cut()
	}
}

// armWriteLocked bounds the time for a client that does not read. A deadline that
// is about right stays.
func (c *conn) armWriteLocked() {
	d := c.server.o.Still
	if d <= 0 || c.dead {
		return
	}
	now := time.Now()
	if c.writeTill.Sub(now) < d-d/8 {
		c.writeTill = now.Add(d)
		_ = c.socket.SetWriteDeadline(c.writeTill)
	}
}

// frameLocked begins a frame of n bytes; false: the connection is dead.
func (c *conn) frameLocked(n int, t http2.FrameType, flags http2.Flags, id uint32) bool {
	if c.dead || c.writeErr != nil {
		return false
	}
	c.tail = nil
	c.frames++
	c.out = append(c.out, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags))
	c.out = binary.BigEndian.AppendUint32(c.out, id)
	return true
}

// controlLocked adds a frame of numbers that a client has caused without asking
// for anything.
func (c *conn) controlLocked(t http2.FrameType, flags http2.Flags, id uint32, values ...uint32) error {
	if c.frameLocked(4*len(values), t, flags, id) {
		for _, v := range values {
			c.out = binary.BigEndian.AppendUint32(c.out, v)
		}
	}
	return c.countLocked()
}

// countLocked counts a control frame.
func (c *conn) countLocked() error {
	f := &c.server.o.Floods
	if c.control++; c.control > f.Control || c.frames > f.Outbound {
		return flood("the client makes more frames than it reads")
	}
	return nil
}

func (c *conn) pingFrameLocked(flags http2.Flags, data []byte) {
	if c.frameLocked(len(data), http2.FramePing, flags, 0) {
		c.out = append(c.out, data...)
	}
}

func (c *conn) goAwayLocked(last uint32, code http2.ErrCode) {
	if c.frameLocked(8, http2.FrameGoAway, 0, 0) {
		c.out = binary.BigEndian.AppendUint32(c.out, last)
		c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
	}
}

// hello sends the server's preface.
func (c *conn) hello() {
	o := &c.server.o
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: o.Streams},
		{ID: http2.SettingInitialWindowSize, Val: o.StreamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(min(o.HeaderBytes, maxWindow))},
	}
	if o.TableSize != defaultTable {
		settings = append(settings, http2.Setting{ID: http2.SettingHeaderTableSize, Val: o.TableSize})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeted = true
	c.frameLocked(6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		c.out = binary.BigEndian.AppendUint16(c.out, uint16(s.ID))
		c.out = binary.BigEndian.AppendUint32(c.out, s.Val)
	}
	if more := o.ConnectionWindow - initial; o.ConnectionWindow > initial {
		c.windowLocked(0, more)
	}
}

// windowLocked lets the client send n bytes more.
func (c *conn) windowLocked(id, n uint32) {
	if c.frameLocked(4, http2.FrameWindowUpdate, 0, id) {
		c.out = binary.BigEndian.AppendUint32(c.out, n)
	}
}

// creditLocked gives n bytes of the connection's window back, some at a time. It
// tells whether a frame was added.
func (c *conn) creditLocked(n int) bool {
	c.inCredit += n
	if c.inCredit < int(c.server.o.ConnectionWindow/4) {
		return false
	}
	c.windowLocked(0, uint32(c.inCredit))
	c.inWindow += c.inCredit
	c.inCredit = 0
	return true
}

// resetLocked ends a stream with RST_STREAM.
func (c *conn) resetLocked(s *stream, code http2.ErrCode) error {
	err := c.controlLocked(http2.FrameRSTStream, 0, s.id, uint32(code))
	s.closeLocked(true)
	return err
}

// dataLocked adds a piece of a body, for which there is room.
func (c *conn) dataLocked(s *stream, p []byte, end bool) {
	s.outWindow -= int64(len(p))
	c.outWindow -= int64(len(p))
	if c.tail == s && len(c.out)-c.tailAt-9+len(p) <= frameSize {
		c.out = append(c.out, p...)
		n := len(c.out) - c.tailAt - 9
		head := c.out[c.tailAt:]
		head[0], head[1], head[2] = byte(n>>16), byte(n>>8), byte(n)
	} else {
		at := len(c.out)
		if !c.frameLocked(len(p), http2.FrameData, 0, s.id) {
			return
		}
		c.out = append(c.out, p...)
		c.tail, c.tailAt = s, at
		c.data++
	}
	if end {
		c.out[c.tailAt+4] |= byte(http2.FlagDataEndStream)
	}
}

// blockLocked adds a header block, which is in encoded.
func (c *conn) blockLocked(id uint32, end bool) {
	flags, t := http2.Flags(0), http2.FrameHeaders
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		p := c.encoded.Next(frameSize)
		if c.encoded.Len() == 0 {
			flags |= http2.FlagHeadersEndHeaders
		}
		if !c.frameLocked(len(p), t, flags, id) {
			c.encoded.Reset()
			return
		}
		c.out = append(c.out, p...)
		if c.encoded.Len() == 0 {
			return
		}
		flags, t = 0, http2.FrameContinuation
	}
}

// awaitLocked waits until some of n bytes of a stream's body may be added, and
// tells how many; with n of 0, until a frame may be.
func (c *conn) awaitLocked(s *stream, n int) (int, error) {
	for {
		if s.gone != nil {
			return 0, s.gone
		}
		idle := !c.flushing && !s.doneLocked()
		if len(c.out) >= sendAt && idle {
			c.flushLocked(s)
			continue
		}
		free := len(c.out) < maxOut
		if free && n == 0 {
			return 0, nil
		}
		if most := min(int64(n), s.outWindow, c.outWindow, frameSize); free && most > 0 {
			return int(most), nil
		}
		if len(c.out) > 0 && idle {
			c.flushLocked(s) // what the client waits for to open its window
			continue
		}
		switch {
		case free && c.outWindow > 0:
			c.passLocked() // it is this stream's own window that is closed
		case !s.waiting:
			s.waiting = true
			c.waiting = append(c.waiting, s)
		}
		if !s.sleepLocked(s.more, c.server.o.Still, s.writeTill) {
			if s.gone == nil {
				s.failLocked(os.ErrDeadlineExceeded)
				_ = c.resetLocked(s, http2.ErrCodeCancel) // who floods is found out by the reader
			}
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// passLocked wakes the first of the streams that wait for room, which wakes the
// next when it has taken what it needs.
func (c *conn) passLocked() {
	for len(c.waiting) > 0 && (c.outWindow > 0 && len(c.out) < maxOut || c.writeErr != nil) {
		s := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		s.waiting = false
		if s.gone != nil {
			continue
		}
		signal(s.more)
		return
	}
}

// signal wakes who waits for a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
