package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "msgpack"

// The members of an object that is an extension, and the type of timestamps.
const (
	extType       = "#ext"
	extData       = "#data"
	timestampType = -1
)

// Decode reads a value into doc, whose strings are parts of src.
func Decode(doc *value.Doc, src string, lim *value.Limits) (value.ID, error) {
	p := parser{text: src, doc: doc, lim: lim}
	id, err := p.value(0)
	if err != nil {
		return value.None, err
	}
	if p.pos < len(src) {
		return value.None, p.wrong("something follows the value")
	}
	return id, nil
}

type parser struct {
	text string
	pos  int
	doc  *value.Doc
	lim  *value.Limits
}

func (p *parser) wrong(reason string) error {
	return &value.Error{Is: value.ErrMalformed, Format: Format, Offset: p.pos, Reason: reason}
}

func (p *parser) tooLarge(reason string) error { return value.TooLarge(Format, reason) }

// take returns the next n bytes.
func (p *parser) take(n int) (string, error) {
	if n > len(p.text)-p.pos {
		p.pos = len(p.text)
		return "", p.wrong("it ends too early")
	}
	s := p.text[p.pos : p.pos+n]
	p.pos += n
	return s, nil
}

// uint reads a number of n bytes.
func (p *parser) uint(n int) (uint64, error) {
	s, err := p.take(n)
	if err != nil {
		return 0, err
	}
	var v uint64
	for i := range len(s) {
		v = v<<8 | uint64(s[i])
	}
	return v, nil
}

// length reads one of n bytes. It is at most that of the document.
func (p *parser) length(n int) (int, error) {
	v, err := p.uint(n)
	if err == nil && v > uint64(len(p.text)) {
		err = p.wrong("a length beyond the end")
	}
	return int(v), err
}

func (p *parser) value(depth int) (value.ID, error) {
	if p.doc.Full() {
		return value.None, p.tooLarge("more than " + strconv.Itoa(p.lim.Nodes) + " values")
	}
	head, err := p.take(1)
	if err != nil {
		return value.None, err
	}
	switch c := head[0]; {
	case c < 0x80:
		return p.number(strconv.Itoa(int(c)))
	case c < 0x90:
		return p.object(int(c&15), depth)
	case c < 0xA0:
		return p.list(int(c&15), depth)
	case c < 0xC0:
		return p.str(int(c & 31))
	case c >= 0xE0:
		return p.number(strconv.Itoa(int(int8(c))))
	default:
		return p.typed(c, depth)
	}
}

// typed reads a value whose first byte says its type and how long its length is.
func (p *parser) typed(c byte, depth int) (value.ID, error) {
	switch c {
	case 0xC0:
		return p.doc.New(value.Null, ""), nil
	case 0xC2, 0xC3:
		return p.doc.Bool(c == 0xC3), nil
	case 0xCA, 0xCB:
		return p.float(c)
	case 0xCC, 0xCD, 0xCE, 0xCF:
		v, err := p.uint(1 << (c - 0xCC))
		if err != nil {
			return value.None, err
		}
		return p.number(strconv.FormatUint(v, 10))
	case 0xD0, 0xD1, 0xD2, 0xD3:
		size := 1 << (c - 0xD0)
		v, err := p.uint(size)
		if err != nil {
			return value.None, err
		}
		unused := 64 - 8*size
		return p.number(strconv.FormatInt(int64(v<<unused)>>unused, 10))
	case 0xD4, 0xD5, 0xD6, 0xD7, 0xD8:
		return p.extension(1 << (c - 0xD4))
	case 0xC1:
		p.pos--
		return value.None, p.wrong("a byte that means nothing")
	}
	base, read := lengthOf(c)
	n, err := p.length(1 << (c - base))
	if err != nil {
		return value.None, err
	}
	return read(p, n, depth)
}

// lengthOf tells the first of the types of a kind, which are those with a length of
// one byte, two and four, and how they are read.
func lengthOf(c byte) (base byte, read func(p *parser, n, depth int) (value.ID, error)) {
	switch c {
	case 0xC4, 0xC5, 0xC6:
		return 0xC4, func(p *parser, n, _ int) (value.ID, error) {
			data, err := p.take(n)
			return p.doc.New(value.Bytes, data), err
		}
	case 0xC7, 0xC8, 0xC9:
		return 0xC7, func(p *parser, n, _ int) (value.ID, error) { return p.extension(n) }
	case 0xD9, 0xDA, 0xDB:
		return 0xD9, func(p *parser, n, _ int) (value.ID, error) { return p.str(n) }
	case 0xDC, 0xDD: // two bytes and four
		return 0xDB, (*parser).list
	}
	return 0xDD, (*parser).object // 0xDE, 0xDF
}

func (p *parser) number(text string) (value.ID, error) { return p.doc.New(value.Number, text), nil }

func (p *parser) float(c byte) (value.ID, error) {
	bits := 64
	if c == 0xCA {
		bits = 32
	}
	v, err := p.uint(bits / 8)
	if err != nil {
		return value.None, err
	}
	f := math.Float64frombits(v)
	if bits == 32 {
		f = float64(math.Float32frombits(uint32(v)))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value.None, value.Inexpressible(Format, "a number that is none, or infinite")
	}
	text := strconv.FormatFloat(f, 'g', -1, bits)
	if !strings.ContainsAny(text, ".e") {
		text += ".0" // it stays one that is no integer
	}
	return p.number(text)
}

func (p *parser) str(n int) (value.ID, error) {
	start := p.pos
	s, err := p.take(n)
	if err == nil && !utf8.ValidString(s) {
		p.pos = start
		err = p.wrong("not UTF-8")
	}
	return p.doc.New(value.String, s), err
}

func (p *parser) list(n, depth int) (value.ID, error) {
	if depth >= p.lim.Depth {
		return value.None, p.tooLarge("more than " + strconv.Itoa(p.lim.Depth) + " levels of lists and objects")
	}
	list := p.doc.New(value.List, "")
	for i := range n {
		child, err := p.value(depth + 1)
		if err != nil {
			return value.None, value.At(err, i)
		}
		p.doc.Add(list, child)
	}
	return list, nil
}

func (p *parser) object(n, depth int) (value.ID, error) {
	if depth >= p.lim.Depth {
		return value.None, p.tooLarge("more than " + strconv.Itoa(p.lim.Depth) + " levels of lists and objects")
	}
	object := p.doc.New(value.Object, "")
	names := value.Names{}
	for range n {
		name, err := p.name()
		if err != nil {
			return value.None, err
		}
		if names.Twice(p.doc, object, name) {
			return value.None, value.In(p.wrong("a name that is there twice"), name)
		}
		child, err := p.value(depth + 1)
		if err != nil {
			return value.None, value.In(err, name)
		}
		p.doc.At(child).Name = name
		p.doc.Add(object, child)
	}
	return object, nil
}

// name reads the key of a map, which must be a string.
func (p *parser) name() (string, error) {
	start := p.pos
	if id, err := p.value(p.lim.Depth); err != nil {
		return "", err
	} else if n := p.doc.At(id); n.Kind == value.String && !n.Timestamp {
		if len(n.Text) > p.lim.Name {
			return "", p.tooLarge("a name of more than " + strconv.Itoa(p.lim.Name) + " bytes")
		}
		return n.Text, nil
	}
	p.pos = start
	return "", value.Inexpressible(Format, "a key of a map that is not a string")
}

// extension reads the type of one and its n bytes. Those of time become texts as
// in RFC 3339, others objects {"#ext": 5, "#data": bytes}.
func (p *parser) extension(n int) (value.ID, error) {
	kind, err := p.take(1)
	if err != nil {
		return value.None, err
	}
	data, err := p.take(n)
	if err != nil {
		return value.None, err
	}
	if t := int8(kind[0]); t != timestampType {
		object := p.doc.New(value.Object, "")
		p.doc.Set(object, extType, p.doc.New(value.Number, strconv.Itoa(int(t))))
		p.doc.Set(object, extData, p.doc.New(value.Bytes, data))
		return object, nil
	}
	at, ok := timestamp(data)
	if !ok {
		return value.None, p.wrong("not a timestamp")
	}
	if y := at.Year(); y < 0 || y > 9999 {
		return value.None, value.Inexpressible(Format, "a timestamp outside the years 0 to 9999")
	}
	id := p.doc.New(value.String, at.Format(time.RFC3339Nano))
	p.doc.At(id).Timestamp = true
	return id, nil
}

func timestamp(data string) (time.Time, bool) {
	b := []byte(data)
	var seconds int64
	var nanos uint64
	switch len(b) {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(b))
	case 8:
		v := binary.BigEndian.Uint64(b)
		seconds, nanos = int64(v&(1<<34-1)), v>>34
	case 12:
		nanos, seconds = uint64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:]))
	default:
		return time.Time{}, false
	}
	return time.Unix(seconds, int64(nanos)).UTC(), nanos < 1e9
}
