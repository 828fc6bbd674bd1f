package pgproto

import "slices"

// Statement is what Parse says: a prepared statement's name, empty for the
// unnamed one, and its text. Types is the rest of the payload: the number of
// parameter types and their oids, to be passed on as it is.
type Statement struct {
	Name, SQL, Types []byte
}

// ParseParse reads the payload of Parse.
func ParseParse(payload []byte) (Statement, error) {
	c := cursor{b: payload}
	s := Statement{Name: c.cstring(), SQL: c.cstring()}
	s.Types = slices.Clip(c.b)
	if count := c.uint16(); c.short || len(c.b) != 4*int(count) {
		return Statement{}, malformed("Parse is malformed")
	}
	return s, nil
}

// AppendParse appends Parse. Name and SQL have no zero byte.
func (s *Statement) AppendParse(dst []byte) []byte {
	dst = AppendHead(dst, TypeParse, len(s.Name)+1+len(s.SQL)+1+len(s.Types))
	dst = append(append(dst, s.Name...), 0)
	dst = append(append(dst, s.SQL...), 0)
	return append(dst, s.Types...)
}

// Bind is what Bind says: the portal and the statement, each empty for the
// unnamed one. Rest are the parameters and formats, to be passed on as they are.
type Bind struct {
	Portal, Statement, Rest []byte
}

// ParseBind reads the payload of Bind, or the first bytes of one, as long as
// they have both names: Rest is then what is there of it.
func ParseBind(payload []byte) (Bind, error) {
	c := cursor{b: payload}
	b := Bind{Portal: c.cstring(), Statement: c.cstring()}
	if c.short {
		return Bind{}, malformed("Bind has no names of portal and statement")
	}
	b.Rest = slices.Clip(c.b)
	return b, nil
}

// AppendBind appends Bind. The names have no zero byte.
func (b *Bind) AppendBind(dst []byte) []byte {
	dst = AppendHead(dst, TypeBind, len(b.Portal)+1+len(b.Statement)+1+len(b.Rest))
	dst = append(append(dst, b.Portal...), 0)
	dst = append(append(dst, b.Statement...), 0)
	return append(dst, b.Rest...)
}

// Kinds of what Describe and Close name.
const (
	KindStatement = 'S'
	KindPortal    = 'P'
)

// ParseTarget reads the payload of Describe or Close: what is meant, a statement
// or a portal, and its name.
func ParseTarget(payload []byte) (kind byte, name []byte, err error) {
	c := cursor{b: payload}
	kind, name = c.uint8(), c.cstring()
	if !c.done() || kind != KindStatement && kind != KindPortal {
		return 0, nil, malformed("Describe or Close is malformed")
	}
	return kind, name, nil
}

// AppendTarget appends Describe or Close, as typ says.
func AppendTarget(dst []byte, typ, kind byte, name []byte) []byte {
	dst = append(AppendHead(dst, typ, len(name)+2), kind)
	return append(append(dst, name...), 0)
}
