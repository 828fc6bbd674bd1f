package xml

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
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
	// of the decoder, but for those of recoded.
	d.CharsetReader = recoded
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

// recoded reads what is not UTF-8 as UTF-8: ISO 8859-1, which Java programs like, and
// windows-1252, which Windows does.
func recoded(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii":
		return in, nil
	case "iso-8859-1", "latin1", "windows-1252", "cp1252":
		raw, err := io.ReadAll(in) // of a page that is in memory
		if err != nil {
			return nil, err
		}
		text, err := charset.Text("xml", string(raw), name)
		return strings.NewReader(text), err
	}
	return nil, fmt.Errorf("the encoding %q is not known; use UTF-8", name)
}
