package xml

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Append writes a document, in UTF-8.
func Append(dst []byte, doc *value.Doc, root value.ID, opt *Options, lim *value.Limits) ([]byte, error) {
	w := NewWriter(dst, doc, opt, lim)
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"...)
	name := opt.Root
	switch n := doc.At(root); {
	case name != "" && n.Kind == value.List:
		if opt.Item == "" {
			return nil, value.Inexpressible(Format, "a list at the top: the option item has to name its elements")
		}
		return w.list(dst, name, opt.Item, root)
	case name != "":
	case n.Kind != value.Object || n.First == value.None || n.First != n.Last:
		return nil, value.Inexpressible(Format, "not an object with one member: the option root has to name the element around it")
	default:
		root = n.First
		name = doc.At(root).Name
		if doc.At(root).Kind == value.List {
			return nil, value.In(value.Inexpressible(Format, "a list cannot be the element at the top: the option root has to name it"), name)
		}
	}
	dst, err := w.Element(dst, name, root)
	return dst, value.In(err, name)
}

// Writer writes elements.
type Writer struct {
	doc   *value.Doc
	opt   *Options
	bound []string // prefixes that are declared here
	root  bool     // the next element is the outermost one
	lim   *value.Limits
	start int // of what is written
}

// Bind tells of a prefix that is declared around what is written.
func (w *Writer) Bind(prefix string) { w.bound = append(w.bound, prefix) }

// NewWriter returns a Writer of what is appended to dst. Its first element declares
// the namespaces.
func NewWriter(dst []byte, doc *value.Doc, opt *Options, lim *value.Limits) *Writer {
	return &Writer{doc: doc, opt: opt, root: true, bound: []string{"xml"}, lim: lim, start: len(dst)}
}

// list writes a root whose elements are those of a list.
func (w *Writer) list(dst []byte, name, item string, list value.ID) ([]byte, error) {
	dst, err := w.open(dst, name, value.None, w.usesSchema(list))
	if err != nil {
		return nil, err
	}
	dst = append(dst, '>')
	i := 0
	for at := w.doc.At(list).First; at != value.None; at = w.doc.At(at).Next {
		if w.doc.At(at).Kind == value.List {
			return nil, value.At(listInList(), i)
		}
		if dst, err = w.Element(dst, item, at); err != nil {
			return nil, value.At(err, i)
		}
		i++
	}
	return end(dst, name), nil
}

func listInList() error {
	return value.Inexpressible(Format, "a list in a list: its elements have no name")
}

func end(dst []byte, name string) []byte {
	dst = append(append(dst, "</"...), name...)
	return append(dst, '>')
}

// Element writes a value, which is no list, as an element.
func (w *Writer) Element(dst []byte, name string, id value.ID) ([]byte, error) {
	depth := len(w.bound)
	defer func() { w.bound = w.bound[:depth] }()
	n := w.doc.At(id)
	if n.Kind == value.Null && w.opt.Nulls == NullOmit && !w.root {
		return dst, nil
	}
	if err := value.Grown(Format, len(dst)-w.start, w.lim); err != nil {
		return nil, err
	}
	dst, err := w.open(dst, name, id, w.root && w.usesSchema(id))
	if err != nil {
		return nil, err
	}
	if w.opt.nils() && w.isNull(id) {
		if w.hasElements(id) {
			return nil, value.In(value.Inexpressible(Format, "null beside elements: an element that is nil has nothing in it"), w.opt.textName())
		}
		dst = append(dst, ` xsi:nil="true"`...)
	}
	start := len(dst)
	dst = append(dst, '>')
	if n.Kind == value.Object {
		dst, err = w.members(dst, id)
	} else {
		dst, err = w.scalar(dst, n)
	}
	if err != nil {
		return nil, err
	}
	if len(dst) == start+1 {
		return append(dst[:start], "/>"...), nil
	}
	return end(dst, name), nil
}

// isNull tells whether an element is written as null: one with attributes has
// a text that is null.
func (w *Writer) isNull(id value.ID) bool {
	n := w.doc.At(id)
	if n.Kind == value.Object {
		text := w.doc.Get(id, w.opt.textName())
		return text != value.None && w.doc.At(text).Kind == value.Null
	}
	return n.Kind == value.Null
}

// hasElements tells whether an object has more than attributes and text.
func (w *Writer) hasElements(id value.ID) bool {
	for at := w.doc.At(id).First; at != value.None; at = w.doc.At(at).Next {
		if n := w.doc.At(at); n.Name != w.opt.textName() && !strings.HasPrefix(n.Name, w.opt.attributePrefix()) && (n.Kind != value.List || n.First != value.None) {
			return true
		}
	}
	return false
}

// usesSchema tells whether null, or an attribute "xsi:...", is anywhere in a value.
func (w *Writer) usesSchema(id value.ID) bool {
	n := w.doc.At(id)
	if n.Kind == value.Null && w.opt.nils() || strings.HasPrefix(n.Name, w.opt.attributePrefix()+"xsi:") {
		return true
	}
	for at := n.First; at != value.None; at = w.doc.At(at).Next {
		if w.usesSchema(at) {
			return true
		}
	}
	return false
}

// open writes a start tag but for its end; schema tells whether the outermost one
// declares the namespace of xsi:nil.
func (w *Writer) open(dst []byte, name string, id value.ID, schema bool) ([]byte, error) {
	if !IsName(name) {
		return nil, value.Inexpressible(Format, fmt.Sprintf("%s is no name that an element can have", value.Quote(cut(name))))
	}
	dst = append(append(dst, '<'), name...)
	if w.root {
		w.root = false
		dst = w.declare(dst, schema)
	}
	if id != value.None && w.doc.At(id).Kind == value.Object {
		var err error
		if dst, err = w.attributes(dst, id); err != nil {
			return nil, err
		}
	}
	return dst, w.check(name)
}

func cut(name string) string { return name[:min(len(name), 80)] }

// declare writes the namespaces of the options.
func (w *Writer) declare(dst []byte, schema bool) []byte {
	for _, prefix := range slices.Sorted(maps.Keys(w.opt.Namespaces)) {
		dst = append(dst, " xmlns"...)
		if prefix != "" {
			dst = append(append(dst, ':'), prefix...)
		}
		dst = append(dst, `="`...)
		dst = escapeAttribute(dst, w.opt.Namespaces[prefix])
		dst = append(dst, '"')
		w.bound = append(w.bound, prefix)
	}
	w.bound = append(w.bound, "xsi")
	if schema {
		dst = append(dst, ` xmlns:xsi="`+nsSchema+`"`...)
	}
	return dst
}

// check refuses a name with a prefix that stands for nothing.
func (w *Writer) check(name string) error {
	if prefix, _ := split(name); prefix != "" && !slices.Contains(w.bound, prefix) {
		return value.Inexpressible(Format, fmt.Sprintf("the prefix %s has no namespace", value.Quote(cut(prefix))))
	}
	return nil
}

// attributes writes those of an object: the declarations count for the others,
// wherever they stand.
func (w *Writer) attributes(dst []byte, id value.ID) ([]byte, error) {
	prefix := w.opt.attributePrefix()
	for at := w.doc.At(id).First; at != value.None; at = w.doc.At(at).Next {
		name, is := strings.CutPrefix(w.doc.At(at).Name, prefix)
		if declares, of := declared(name); is && of {
			if len(w.opt.Namespaces) > 0 {
				return nil, value.In(value.Inexpressible(Format, "a namespace is declared, and the options name them all"), w.doc.At(at).Name)
			}
			w.bound = append(w.bound, declares)
		}
	}
	for at := w.doc.At(id).First; at != value.None; at = w.doc.At(at).Next {
		n := w.doc.At(at)
		name, is := strings.CutPrefix(n.Name, prefix)
		if !is || n.Kind == value.Null && w.opt.Nulls == NullOmit {
			continue
		}
		var err error
		if dst, err = w.attribute(dst, name, n); err != nil {
			return nil, value.In(err, n.Name)
		}
	}
	return dst, nil
}

func (w *Writer) attribute(dst []byte, name string, n *value.Node) ([]byte, error) {
	switch {
	case !IsName(name):
		return nil, value.Inexpressible(Format, "no name that an attribute can have")
	case n.Kind == value.List || n.Kind == value.Object:
		return nil, value.Inexpressible(Format, fmt.Sprintf("an attribute is a text, and this is %s", n.Kind))
	case n.Kind == value.Null && w.opt.Nulls != NullEmpty:
		return nil, value.Inexpressible(Format, "an attribute cannot be null")
	case name == "xmlns:xml" || name == "xmlns:xmlns" || name == "xsi:nil" || name == "xmlns:xsi":
		return nil, value.Inexpressible(Format, "an attribute that is reserved")
	}
	if _, is := declared(name); !is {
		if err := w.check(name); err != nil {
			return nil, err
		}
	}
	dst = append(append(append(dst, ' '), name...), `="`...)
	dst, err := w.text(dst, n, escapeAttribute)
	return append(dst, '"'), err
}

// members writes what is in an object, but for attributes.
func (w *Writer) members(dst []byte, id value.ID) ([]byte, error) {
	attribute, text := w.opt.attributePrefix(), w.opt.textName()
	var err error
	for at := w.doc.At(id).First; at != value.None; at = w.doc.At(at).Next {
		n := w.doc.At(at)
		switch {
		case strings.HasPrefix(n.Name, attribute):
			continue
		case n.Name == text:
			dst, err = w.scalar(dst, n)
		case n.Name == contentName:
			dst, err = w.ordered(dst, at)
		case n.Kind == value.List:
			dst, err = w.repeated(dst, n.Name, at)
		default:
			dst, err = w.Element(dst, n.Name, at)
		}
		if err != nil {
			return nil, value.In(err, w.doc.At(at).Name)
		}
	}
	return dst, nil
}

// repeated writes an element for each of a list's.
func (w *Writer) repeated(dst []byte, name string, list value.ID) ([]byte, error) {
	i := 0
	for at := w.doc.At(list).First; at != value.None; at = w.doc.At(at).Next {
		if w.doc.At(at).Kind == value.List {
			return nil, value.At(listInList(), i)
		}
		var err error
		if dst, err = w.Element(dst, name, at); err != nil {
			return nil, value.At(err, i)
		}
		i++
	}
	return dst, nil
}

// ordered writes "#content": a list of objects with one member.
func (w *Writer) ordered(dst []byte, list value.ID) ([]byte, error) {
	if w.doc.At(list).Kind != value.List {
		return nil, value.Inexpressible(Format, "not a list of objects with one member each")
	}
	i := 0
	for at := w.doc.At(list).First; at != value.None; at = w.doc.At(at).Next {
		n := w.doc.At(at)
		if n.Kind != value.Object || n.First == value.None || n.First != n.Last {
			return nil, value.At(value.Inexpressible(Format, "not an object with one member"), i)
		}
		var err error
		if dst, err = w.members(dst, at); err != nil {
			return nil, value.At(err, i)
		}
		i++
	}
	return dst, nil
}

func (w *Writer) scalar(dst []byte, n *value.Node) ([]byte, error) {
	return w.text(dst, n, escapeText)
}

func (w *Writer) text(dst []byte, n *value.Node, escape func([]byte, string) []byte) ([]byte, error) {
	switch n.Kind {
	case value.Null:
		return dst, nil
	case value.True:
		return append(dst, "true"...), nil
	case value.False:
		return append(dst, "false"...), nil
	case value.Number:
		return append(dst, n.Text...), nil
	case value.Bytes:
		return base64.StdEncoding.AppendEncode(dst, []byte(n.Text)), nil
	case value.String:
	default:
		return nil, value.Inexpressible(Format, fmt.Sprintf("a text was expected, and this is %s", n.Kind))
	}
	for i := range len(n.Text) {
		if c := n.Text[i]; (c < ' ' || c == 0xEF) && !legal(n.Text[i:]) {
			return nil, value.Inexpressible(Format, "a character that XML does not have")
		}
	}
	return escape(dst, n.Text), nil
}

// legal tells whether the first character of s may be in a document.
func legal(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return isChar(r)
}

func escapeText(dst []byte, s string) []byte      { return escape(dst, s, false) }
func escapeAttribute(dst []byte, s string) []byte { return escape(dst, s, true) }

func escape(dst []byte, s string, attribute bool) []byte {
	start := 0
	for i := range len(s) {
		var ref string
		switch c := s[i]; {
		case c == '&':
			ref = "&amp;"
		case c == '<':
			ref = "&lt;"
		case c == '>':
			ref = "&gt;"
		case c == '\r':
			ref = "&#13;"
		case attribute && c == '"':
			ref = "&quot;"
		case attribute && c == '\n':
			ref = "&#10;"
		case attribute && c == '\t':
			ref = "&#9;"
		default:
			continue
		}
		dst = append(append(dst, s[start:i]...), ref...)
		start = i + 1
	}
	return append(dst, s[start:]...)
}

// AppendText writes a text between tags. Characters that XML does not have become
// U+FFFD.
func AppendText(dst []byte, s string) []byte {
	return escapeText(dst, strings.Map(func(r rune) rune {
		if isChar(r) {
			return r
		}
		return utf8.RuneError
	}, s))
}
