package pgproto

import (
	"bytes"
	"encoding/binary"
)

// cursor reads a payload from its front. After the first read past the end,
// short is set and every read returns nothing.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short || n < 0 || n > len(c.b) {
		c.short = true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) uint8() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// cstring reads up to a zero byte, which it drops.
func (c *cursor) cstring() []byte {
	i := bytes.IndexByte(c.b, 0)
	if c.short || i < 0 {
		c.short = true
		return nil
	}
	v := c.b[:i:i]
	c.b = c.b[i+1:]
	return v
}

// done reports whether everything was there and nothing is left.
func (c *cursor) done() bool { return !c.short && len(c.b) == 0 }
