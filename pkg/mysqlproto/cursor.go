package mysqlproto

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// First bytes of what is no plain length-encoded integer.
const (
	lenencNull = 0xfb
	lenenc2    = 0xfc
	lenenc3    = 0xfd
	lenenc8    = 0xfe
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
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if v := c.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// lenenc reads a length-encoded integer. NULL and the byte of errors are none.
func (c *cursor) lenenc() uint64 {
	first := c.uint8()
	switch first {
	case lenenc2:
		return uint64(c.uint16())
	case lenenc3:
		if v := c.take(3); v != nil {
			return uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16
		}
		return 0
	case lenenc8:
		if v := c.take(8); v != nil {
			return binary.LittleEndian.Uint64(v)
		}
		return 0
	case lenencNull, 0xff:
		c.short = true
		return 0
	}
	return uint64(first)
}

// lenencBytes reads a string with its length before it.
func (c *cursor) lenencBytes() []byte {
	n := c.lenenc()
	if n > uint64(len(c.b)) {
		c.short = true
		return nil
	}
	return c.take(int(n))
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

// lastString reads up to a zero byte or, as servers do, to the end.
func (c *cursor) lastString() []byte {
	if c.short || bytes.IndexByte(c.b, 0) >= 0 {
		return c.cstring()
	}
	return c.rest()
}

// rest reads what is left.
func (c *cursor) rest() []byte {
	v := slices.Clip(c.b)
	c.b = nil
	return v
}

// appendLenenc appends a length-encoded integer in its shortest form.
func appendLenenc(dst []byte, v uint64) []byte {
	switch {
	case v < lenencNull:
		return append(dst, byte(v))
	case v < 1<<16:
		return append(dst, lenenc2, byte(v), byte(v>>8))
	case v < 1<<24:
		return append(dst, lenenc3, byte(v), byte(v>>8), byte(v>>16))
	}
	return binary.LittleEndian.AppendUint64(append(dst, lenenc8), v)
}

func appendLenencString[T string | []byte](dst []byte, s T) []byte {
	return append(appendLenenc(dst, uint64(len(s))), s...)
}

func appendCString(dst []byte, s string) []byte {
	if i := bytes.IndexByte([]byte(s), 0); i >= 0 {
		s = s[:i]
	}
	return append(append(dst, s...), 0)
}
