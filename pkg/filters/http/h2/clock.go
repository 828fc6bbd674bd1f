package h2

import (
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/net/http2"
)

// What PINGs of the server say.
const (
	pingAlive = 0x647261676f6d616e // whether the client is there
	pingDrain = 0x676f206177617921 // that GOAWAY has arrived
)

// armLocked sets the timer for what is due next. Nothing that is due can come
// closer but by a call of this function: what is not on yet is looked at within
// its own time.
func (c *conn) armLocked(now time.Time) {
	if c.dead {
		return
	}
	next := c.dueLocked(now)
	if next == math.MaxInt64 {
		return
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(next, c.tick)
		return
	}
	c.timer.Reset(next)
}

func (c *conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armLocked(time.Now())
	if len(c.out) > 0 {
		c.kick()
	}
}

// dueLocked does what is due, and tells when to look again.
func (c *conn) dueLocked(now time.Time) time.Duration {
	next := time.Duration(math.MaxInt64)
	// over tells whether d has passed since a time; zero: nothing has begun yet.
	over := func(since time.Time, d time.Duration) bool {
		if d <= 0 {
			return false
		}
		left := d
		if !since.IsZero() {
			left -= now.Sub(since)
		}
		if left > 0 {
			next = min(next, left)
		}
		return left <= 0
	}
	o := &c.server.o
	if over(c.blockSince, o.Headers) {
		c.stopLocked(http2.ErrCodeEnhanceYourCalm, "a header block takes too long")
	}
	idle := c.idleSince
	if len(c.streams) > 0 {
		idle = time.Time{}
	}
	if !c.draining && (over(idle, o.Idle) || over(c.born, o.MaxAge)) {
		c.drainLocked(now)
	}
	if c.draining && !c.final && over(c.drainTill, 1) {
		c.finalLocked()
	}
	c.pingLocked(now, over)
	return next
}

// pingLocked asks a client that is silent whether it is there.
func (c *conn) pingLocked(now time.Time, over func(time.Time, time.Duration) bool) {
	o := &c.server.o
	if o.PingEvery <= 0 {
		return
	}
	heard := c.born
	if ns := c.lastRead.Load(); ns > 0 {
		heard = time.Unix(0, ns)
	}
	if !c.pinged.IsZero() {
		if heard.After(c.pinged) {
			c.pinged = time.Time{}
		} else if over(c.pinged, o.PingAnswer) {
			c.stopLocked(http2.ErrCodeNo, "the client does not answer a PING")
			return
		}
	}
	if c.pinged.IsZero() && over(heard, o.PingEvery) {
		c.pinged = now
		over(now, o.PingAnswer)
		c.pingFrameLocked(0, binary.BigEndian.AppendUint64(nil, pingAlive))
	}
}

// drain asks the client to go.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.greeted {
		c.stopLocked(http2.ErrCodeNo, "the server shuts down")
		return
	}
	now := time.Now()
	c.drainLocked(now)
	c.armLocked(now)
}

// drainLocked is the first of two GOAWAYs: requests that are on their way are
// served still, RFC 9113 section 6.8.
func (c *conn) drainLocked(now time.Time) {
	if c.draining || c.dead {
		return
	}
	c.draining, c.drainTill = true, now.Add(patience)
	c.goAwayLocked(maxStream, http2.ErrCodeNo)
	c.pingFrameLocked(0, binary.BigEndian.AppendUint64(nil, pingDrain))
	c.kick()
}

// finalLocked is the second: the client has heard the first one.
func (c *conn) finalLocked() {
	if c.final || c.dead {
		return
	}
	c.final, c.lastServed = true, c.last
	c.goAwayLocked(c.last, http2.ErrCodeNo)
	c.kick()
	c.settleLocked()
}

// settleLocked notes that a stream has ended.
func (c *conn) settleLocked() {
	if len(c.streams) > 0 {
		return
	}
	c.idleSince = time.Now()
	if c.final {
		c.stopLocked(http2.ErrCodeNo, "the last request has ended")
	}
}
