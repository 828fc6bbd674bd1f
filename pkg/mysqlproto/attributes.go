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
		c.attributes(nil)
	}
	return c.b, !c.short
}

// flagParameterCount says in COM_STMT_EXECUTE that the number of parameters stands
// there, as it does where there are attributes among them.
const flagParameterCount = 1 << 3

// Attribute returns the text that COM_QUERY or COM_STMT_EXECUTE has as an attribute of
// this name; not ok where it has none, or the payload is cut off before it.
func Attribute(payload []byte, caps Capabilities, name string) (value string, ok bool) {
	if !caps.Has(QueryAttributes) {
		return "", false
	}
	visit := func(n, v []byte) {
		if string(n) == name && !ok {
			value, ok = string(v), true
		}
	}
	c := cursor{b: payload}
	switch Command(c.uint8()) {
	case ComQuery:
		c.attributes(visit)
	case ComStmtExecute:
		c.uint32() // the statement
		if flags := c.uint8(); flags&flagParameterCount != 0 {
			c.uint32() // 1
			c.parameters(c.lenenc(), visit)
		}
	}
	return value, ok
}

// attributes reads past the attributes of a query, and shows those that are texts.
func (c *cursor) attributes(visit func(name, value []byte)) {
	count := c.lenenc()
	if sets := c.lenenc(); count > 0 && sets != 1 {
		c.short = true
	}
	c.parameters(count, visit)
}

// parameters reads past so many parameters, and shows those that are texts.
func (c *cursor) parameters(count uint64, visit func(name, value []byte)) {
	if count == 0 || c.short {
		return
	}
	if count > math.MaxUint16 {
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
		name := types.lenencBytes()
		if nulls[i/8]&(1<<(i%8)) == 0 {
			if text := c.value(typ); text != nil && visit != nil {
				visit(name, text)
			}
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

// value reads past a value of the binary protocol, and returns it if it has its length
// before it: texts, and the parts of a time.
func (c *cursor) value(typ byte) (text []byte) {
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
		return c.lenencBytes()
	}
	return nil
}
