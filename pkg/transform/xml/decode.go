package xml

import (
	"errors"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "xml"

const (
	maxAttributes = 256  // of an element
	maxBound      = 1024 // namespaces that are declared in elements within each other
)

// The namespaces that need no declaration of Options.
const (
	nsXML    = "http://www.w3.org/XML/1998/namespace"
	nsSchema = "http://www.w3.org/2001/XMLSchema-instance"
)

// Decode reads a document into doc. name is the charset that came with it, which
// counts more than the document's own declaration; empty for none.
func Decode(doc *value.Doc, src, name string, opt *Options, lim *value.Limits) (value.ID, error) {
	p, element, err := Parse(doc, src, name, opt, lim, Envelope{})
	if err != nil {
		return value.None, err
	}
	root := doc.At(element).Name
	if opt.Root == "" {
		object := doc.New(value.Object, "")
		doc.Add(object, element)
		return object, nil
	}
	if root != opt.Root {
		return value.None, value.Malformed(Format, p.text, p.start, "the element "+value.Quote(opt.Root)+" was expected at the top")
	}
	doc.At(element).Name = ""
	if opt.Item != "" {
		return items(doc, element, opt.Item)
	}
	return element, nil
}

// items makes a list of an element of which all elements have one name.
func items(doc *value.Doc, element value.ID, name string) (value.ID, error) {
	n := doc.At(element)
	if n.Kind == value.String && blank(n.Text) {
		return doc.New(value.List, ""), nil
	}
	item := doc.Get(element, name)
	if item == value.None || doc.Count(element) != 1 {
		return value.None, value.Inexpressible(Format, "only elements "+value.Quote(name)+" were expected at the top")
	}
	if doc.At(item).Kind == value.List {
		doc.At(item).Name = ""
		return item, nil
	}
	list := doc.New(value.List, "")
	doc.Unlink(element, item)
	doc.At(item).Name = ""
	doc.Add(list, item)
	return list, nil
}

// Parser has read a document.
type Parser struct {
	scanner
	doc      *value.Doc
	opt      *Options
	names    naming
	envelope Envelope
	start    int // of the root
}

// Envelope is what a document has around that for which the options are. Its
// functions may be nil.
type Envelope struct {
	// Drop says of attributes that they are left out.
	Drop func(namespace, local string) bool
	// Options gives those of an element, and of what is in it, by its depth, which is
	// 0 at the top; nil: those of the element around it.
	Options func(depth int, namespace, local string) *Options
}

// Parse reads a document and returns its root with its name.
func Parse(doc *value.Doc, src, name string, opt *Options, lim *value.Limits, e Envelope) (*Parser, value.ID, error) {
	text, err := charset.Decode(Format, src, charsetOf(src, name))
	if err != nil {
		return nil, value.None, err
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !isChar(r) }); i >= 0 {
		return nil, value.None, value.Malformed(Format, text, i, "a character that XML does not have")
	}
	if strings.Contains(text, "\r") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	}
	p := &Parser{scanner: scanner{text: text, lim: lim}, doc: doc, envelope: e, names: naming{drop: e.Drop}}
	p.use(opt)
	if err := p.prolog(); err != nil {
		return nil, value.None, err
	}
	if err := p.around(); err != nil {
		return nil, value.None, err
	}
	p.start = p.pos
	root, err := p.element(0)
	if err != nil {
		return nil, value.None, err
	}
	if err := p.around(); err != nil {
		return nil, value.None, err
	}
	if p.pos < len(p.text) {
		return nil, value.None, p.wrong("something follows the document")
	}
	return p, root, nil
}

// charsetOf is what the document's declaration says, where name doesn't.
func charsetOf(src, name string) string {
	if name != "" || !strings.HasPrefix(src, "<?xml") {
		return name
	}
	declaration, _, _ := strings.Cut(src[:min(len(src), 256)], "?>")
	name, _ = pseudo(declaration, "encoding")
	if strings.HasPrefix(strings.ToLower(name), "utf-16") {
		return "utf-8" // it could not be read as what it says
	}
	return name
}

// around passes what may be before and after the root.
func (p *Parser) around() error {
	for {
		p.space()
		if more, err := p.misc(); !more || err != nil {
			return err
		}
	}
}

// element reads one, which begins here, with its name.
func (p *Parser) element(depth int) (value.ID, error) {
	if !p.has("<") {
		return value.None, p.wrong("an element was expected")
	}
	if depth > p.lim.Depth {
		return value.None, value.TooLarge(Format, "more than "+strconv.Itoa(p.lim.Depth)+" levels of elements")
	}
	p.pos++
	raw, err := p.name()
	if err != nil {
		return value.None, err
	}
	scope := p.names.depth()
	defer p.names.leave(scope)
	opt, prefixes := p.opt, p.names.prefixes
	b, empty, err := p.open(raw, depth)
	if err != nil {
		return value.None, value.In(err, raw)
	}
	if !empty {
		if err := p.content(b, raw, depth); err != nil {
			return value.None, value.In(err, b.name)
		}
	}
	p.opt, p.names.opt, p.names.prefixes = opt, opt, prefixes
	id, err := b.finish()
	if err != nil {
		return value.None, value.In(err, b.name)
	}
	p.doc.At(id).Name = b.name
	return id, nil
}

// use reads by other options from here on.
func (p *Parser) use(opt *Options) {
	p.opt = opt
	p.names.use(opt)
}

// elementName gives an element its name, by the options that it has.
func (p *Parser) elementName(raw string, depth int) (string, error) {
	prefix, local := split(raw)
	namespace, err := p.names.namespace(prefix)
	if err != nil {
		return "", err
	}
	if p.envelope.Options != nil {
		if own := p.envelope.Options(depth, namespace, local); own != nil && own != p.opt {
			p.use(own)
		}
	}
	return p.names.element(raw, namespace)
}

// open reads the rest of a start tag: it is an empty element, or content follows.
func (p *Parser) open(raw string, depth int) (b *builder, empty bool, err error) {
	var buf [8]attribute
	attributes := buf[:0]
	for {
		spaced := p.space()
		if p.has("/>") || p.has(">") {
			break
		}
		if !spaced {
			return nil, false, p.wrong("a space or the end of the tag was expected")
		}
		var a attribute
		if a.name, a.text, err = p.attribute(); err != nil {
			return nil, false, err
		}
		if len(attributes) == maxAttributes || p.names.depth() > maxBound {
			return nil, false, value.TooLarge(Format, "too many attributes or namespaces")
		}
		attributes = append(attributes, a)
	}
	empty = p.has("/>")
	if p.pos++; empty {
		p.pos++
	}
	if err := p.names.declare(attributes); err != nil {
		return nil, false, p.bad(err.Error())
	}
	name, err := p.elementName(raw, depth)
	if err != nil {
		return nil, false, p.named(err)
	}
	b = &builder{doc: p.doc, opt: p.opt, name: name}
	for _, a := range attributes {
		name, keep, err := p.names.attribute(a.name)
		switch {
		case err != nil:
			return nil, false, p.named(err)
		case keep && name == "xsi:nil":
			if t := strings.TrimSpace(a.text); t == "true" || t == "1" {
				b.null = true
			}
		case keep:
			if err := b.attribute(name, a.text); err != nil {
				return nil, false, p.bad(err.Error())
			}
		}
	}
	return b, empty, nil
}

// bad is an error of a tag that has been read.
func (p *Parser) bad(reason string) error {
	return value.Malformed(Format, p.text, p.pos, reason)
}

// named is an error of a name.
func (p *Parser) named(err error) error {
	if errors.Is(err, errNamespace) {
		return value.Inexpressible(Format, err.Error())
	}
	return p.bad(err.Error())
}

func (p *Parser) tooMany() error {
	return value.TooLarge(Format, "more than "+strconv.Itoa(p.lim.Nodes)+" elements and attributes")
}

// content reads what is between the tags of an element, and the end tag.
func (p *Parser) content(b *builder, raw string, depth int) error {
	for {
		if p.doc.Full() {
			return p.tooMany()
		}
		switch {
		case p.has("</"):
			p.pos += 2
			if !p.has(raw) {
				return p.wrong("the end of " + value.Quote(raw) + " was expected")
			}
			p.pos += len(raw)
			if p.space(); !p.has(">") {
				return p.wrong("the end of " + value.Quote(raw) + " was expected")
			}
			p.pos++
			return nil
		case p.has("<!--"), p.has("<?"):
			if _, err := p.misc(); err != nil {
				return err
			}
		case p.has("<![CDATA["), !p.has("<"):
			text, err := p.chars()
			if err != nil {
				return err
			}
			b.chars(text)
		default:
			child, err := p.element(depth + 1)
			if err != nil {
				return err
			}
			if err := b.child(child); err != nil {
				return err
			}
		}
	}
}
