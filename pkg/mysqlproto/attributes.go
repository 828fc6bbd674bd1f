package mysqlproto

import "math"

// QueryText returns the text of COM_QUERY, as far as it is there, from the
// beginning of the payload, with the command's byte. With QueryAttributes it stands
// behind the query's attributes (MySQL 8.4, "COM_QUERY"); it is not ok where these
// are cut off, or malformed.
func QueryText(payload []byte, caps Capabilities) (text []byte, ok bool) {
	c := cursor{b: payload}
	c.uint8()
	if caps.Has(QueryAttributes) {
		c.skipAttributes()
	}
	return c.b, !c.short
}

// skipAttributes reads past the attributes of a query.
func (c *cursor) skipAttributes() {
	count := c.lenenc()
	sets := c.lenenc()
	if count == 0 || c.short {
		return
	}
	if count > math.MaxUint16 || sets != 1 {
		c.short = true
		return
	}
	nulls := c.take(int(count+7) / 8)
	if c.uint8() != 1 { // their types are not those of the query before: there are no such
		c.short = true
	}
	types := *c
	for range count {
		c.uint16()
		c.lenencBytes() // the name
	}
	for i := 0; i < int(count) && !c.short; i++ {
		typ := byte(types.uint16()) // the upper byte tells the sign
		types.lenencBytes()
		if nulls[i/8]&(1<<(i%8)) == 0 {
			c.skipValue(typ)
		}
	}
}

// Types of values that have a fixed size, or none.
const (
	typeTiny     = 0x01
	typeShort    = 0x02
	typeLong     = 0x03
	typeFloat    = 0x04
	typeDouble   = 0x05
	typeNull     = 0x06
	typeLongLong = 0x08
	typeInt24    = 0x09
	typeYear     = 0x0d
)

// skipValue reads past a value of the binary protocol.
func (c *cursor) skipValue(typ byte) {
	switch typ {
	case typeNull:
	case typeTiny:
		c.take(1)
	case typeShort, typeYear:
		c.take(2)
	case typeLong, typeInt24, typeFloat:
		c.take(4)
	case typeLongLong, typeDouble:
		c.take(8)
	default:
		c.lenencBytes() // texts, and the parts of a time
	}
}
