// Package json reads and writes JSON (RFC 8259) as trees of package value.
//
// It is stricter than encoding/json: a name that is there twice in an object,
// bytes that are not UTF-8, halves of surrogate pairs and what follows the
// document are errors.
package json

import (
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "json"

// Decode reads a document into doc, whose strings are parts of text.
func Decode(doc *value.Doc, text string, lim *value.Limits) (value.ID, error) {
	if i := value.NotUTF8(text); i >= 0 {
		return value.None, value.Malformed(Format, text, i, "not UTF-8")
	}
	p := parser{text: text, doc: doc, lim: lim}
	id, err := p.value(0)
	if err != nil {
		return value.None, err
	}
	if p.space(); p.pos < len(text) {
		return value.None, p.wrong("something follows the document")
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
	if p.pos >= len(p.text) {
		reason = "it ends too early"
	}
	return value.Malformed(Format, p.text, p.pos, reason)
}

func (p *parser) tooLarge(reason string) error { return value.TooLarge(Format, reason) }

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) value(depth int) (value.ID, error) {
	p.space()
	if p.doc.Full() {
		return value.None, p.tooLarge("more than " + strconv.Itoa(p.lim.Nodes) + " values")
	}
	switch c := p.peek(); {
	case c == '{' || c == '[':
		if depth >= p.lim.Depth {
			return value.None, p.tooLarge("more than " + strconv.Itoa(p.lim.Depth) + " levels of lists and objects")
		}
		p.pos++
		if c == '{' {
			return p.object(depth + 1)
		}
		return p.list(depth + 1)
	case c == '"':
		text, err := p.str()
		if err != nil {
			return value.None, err
		}
		return p.doc.New(value.String, text), nil
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		return p.word("true", value.True)
	case c == 'f':
		return p.word("false", value.False)
	case c == 'n':
		return p.word("null", value.Null)
	}
	return value.None, p.wrong("a value was expected")
}

func (p *parser) word(w string, kind value.Kind) (value.ID, error) {
	if rest := p.text[p.pos:]; len(rest) < len(w) || rest[:len(w)] != w {
		return value.None, p.wrong("a value was expected")
	}
	p.pos += len(w)
	return p.doc.New(kind, ""), nil
}

func (p *parser) list(depth int) (value.ID, error) {
	list := p.doc.New(value.List, "")
	if p.space(); p.peek() == ']' {
		p.pos++
		return list, nil
	}
	for i := 0; ; i++ {
		child, err := p.value(depth)
		if err != nil {
			return value.None, value.At(err, i)
		}
		p.doc.Add(list, child)
		if done, err := p.next(']'); done || err != nil {
			return list, err
		}
	}
}

func (p *parser) object(depth int) (value.ID, error) {
	object := p.doc.New(value.Object, "")
	if p.space(); p.peek() == '}' {
		p.pos++
		return object, nil
	}
	names := value.Names{}
	for {
		name, err := p.name()
		if err != nil {
			return value.None, err
		}
		if names.Twice(p.doc, object, name) {
			return value.None, value.In(value.Malformed(Format, p.text, p.pos, "a name that is there twice"), name)
		}
		child, err := p.value(depth)
		if err != nil {
			return value.None, value.In(err, name)
		}
		p.doc.At(child).Name = name
		p.doc.Add(object, child)
		if done, err := p.next('}'); done || err != nil {
			return object, err
		}
	}
}

func (p *parser) name() (string, error) {
	p.space()
	if p.peek() != '"' {
		return "", p.wrong("a name in quotes was expected")
	}
	name, err := p.str()
	if err != nil {
		return "", err
	}
	if len(name) > p.lim.Name {
		return "", p.tooLarge("a name of more than " + strconv.Itoa(p.lim.Name) + " bytes")
	}
	if p.space(); p.peek() != ':' {
		return "", p.wrong("a colon was expected")
	}
	p.pos++
	return name, nil
}

// next passes what follows a value: a comma, or the end.
func (p *parser) next(end byte) (done bool, err error) {
	p.space()
	switch p.peek() {
	case ',':
		p.pos++
		return false, nil
	case end:
		p.pos++
		return true, nil
	}
	return false, p.wrong("a comma or " + string(rune(end)) + " was expected")
}

func (p *parser) number() (value.ID, error) {
	n := value.NumberLen(p.text[p.pos:])
	if n == 0 {
		return value.None, p.wrong("not a number as JSON has them")
	}
	text := p.text[p.pos : p.pos+n]
	if len(text) > p.lim.Number || !value.Bounded(text) {
		return value.None, p.tooLarge("a number of more than " + strconv.Itoa(p.lim.Number) + " characters, or with an exponent of more than four digits")
	}
	p.pos += n
	return p.doc.New(value.Number, text), nil
}
