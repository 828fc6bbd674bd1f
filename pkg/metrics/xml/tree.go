package xml

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a document.
const (
	maxDepth    = 128
	maxElements = 1 << 18
	maxAttrs    = 1 << 20
)

// Errors of documents that are not taken.
var (
	ErrTooDeep  = errors.New("nested too deeply")
	ErrTooMany  = errors.New("too many elements")
	ErrDoctype  = errors.New("a document type is not allowed")
	errNothing  = errors.New("there is no element")
	errTwoRoots = errors.New("there are two elements at the top")
)

// element is one of a document. Names are without their namespace.
type element struct {
	name     string
	attrs    []xml.Attr
	text     string // of the element itself, without what is in others, trimmed
	children []*element
	parent   *element
}

// parse reads a document. What is in it is never looked up elsewhere: a document
// type is refused, and entities but XML's own five are errors.
func parse(page string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(page))
	// The encoding is what UTF-8 and its subsets can be read as; others are errors
	// of the decoder, but for Latin 1.
	d.CharsetReader = charset
	b := builder{at: &element{}}
	top := b.at
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not XML: %w", err)
		}
		if err := b.token(token); err != nil {
			return nil, err
		}
	}
	if len(top.children) == 0 {
		return nil, errNothing
	}
	return top, nil
}

type builder struct {
	at       *element
	depth    int
	elements int
	attrs    int
	text     []*strings.Builder // of each open element
}

func (b *builder) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.Directive:
		return ErrDoctype
	case xml.StartElement:
		return b.open(t)
	case xml.EndElement:
		b.at.text = strings.TrimSpace(b.text[b.depth-1].String())
		b.at = b.at.parent
		b.depth--
	case xml.CharData:
		if b.depth > 0 {
			b.text[b.depth-1].Write(t)
		}
	}
	return nil
}

func (b *builder) open(t xml.StartElement) error {
	b.elements++
	b.attrs += len(t.Attr)
	switch {
	case b.depth == 0 && len(b.at.children) > 0:
		return errTwoRoots
	case b.depth >= maxDepth:
		return fmt.Errorf("%w: more than %d levels", ErrTooDeep, maxDepth)
	case b.elements > maxElements || b.attrs > maxAttrs:
		return fmt.Errorf("%w: more than %d", ErrTooMany, maxElements)
	}
	e := &element{name: t.Name.Local, attrs: t.Copy().Attr, parent: b.at}
	b.at.children = append(b.at.children, e)
	b.at = e
	if b.depth++; len(b.text) < b.depth {
		b.text = append(b.text, new(strings.Builder))
	}
	b.text[b.depth-1].Reset()
	return nil
}

// charset reads ISO 8859-1, which Java programs like, as UTF-8.
func charset(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii":
		return in, nil
	case "iso-8859-1", "latin1", "windows-1252":
		return &latin{in: in}, nil
	}
	return nil, fmt.Errorf("the encoding %q is not known; use UTF-8", name)
}

type latin struct {
	in   io.Reader
	left []byte
}

func (l *latin) Read(p []byte) (int, error) {
	if len(l.left) == 0 {
		var raw [512]byte
		n, err := l.in.Read(raw[:])
		if n == 0 {
			return 0, err
		}
		runes := make([]rune, n)
		for i, c := range raw[:n] {
			runes[i] = rune(c)
		}
		l.left = []byte(string(runes))
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}
