package xml

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// contentName is the member that has what an element has in it, in order.
const contentName = "#content"

// linear is up to how many members are searched one by one.
const linear = 16

func (o *Options) attributePrefix() string {
	if o.Attribute == "" {
		return "@"
	}
	return o.Attribute
}

func (o *Options) textName() string {
	if o.Text == "" {
		return "#text"
	}
	return o.Text
}

// builder makes a node of an element.
type builder struct {
	doc    *value.Doc
	opt    *Options
	name   string
	null   bool // xsi:nil
	object value.ID
	list   value.ID            // of the content, in order
	seen   map[string]value.ID // children, once there are more than a few
	count  int                 // of children with different names
	first  string              // the first piece of text, which most often is all
	text   strings.Builder     // all of it, if there is more
	mixed  bool                // there is text that is not blank
}

func (b *builder) ensure() value.ID {
	if b.object == value.None {
		b.object = b.doc.New(value.Object, "")
	}
	return b.object
}

func (b *builder) attribute(name, text string) error {
	if prefix := b.opt.attributePrefix(); prefix == "@" {
		name = "@" + name
	} else {
		name = prefix + name
	}
	object := b.ensure()
	if b.doc.Get(object, name) != value.None {
		return errors.New("an attribute that is there twice")
	}
	id := b.doc.New(value.String, text)
	b.doc.At(id).Name = name
	b.doc.Add(object, id)
	b.count++
	return nil
}

// chars takes text, in pieces.
func (b *builder) chars(text string) {
	if text == "" {
		return
	}
	if !b.mixed && !blank(text) {
		b.mixed = true
	}
	if b.opt.Content == Ordered && b.list != value.None {
		b.piece(text)
		return
	}
	if b.first == "" {
		b.first = text
		return
	}
	if b.text.Len() == 0 {
		b.text.WriteString(b.first)
	}
	b.text.WriteString(text)
}

func (b *builder) all() string {
	if b.text.Len() > 0 {
		return b.text.String()
	}
	return b.first
}

// piece puts text into the content, after what is there.
func (b *builder) piece(text string) {
	if last := b.doc.At(b.list).Last; last != value.None {
		if node := b.doc.At(b.doc.At(last).First); node.Name == b.opt.textName() {
			node.Text += text
			return
		}
	}
	id := b.doc.New(value.String, text)
	b.doc.At(id).Name = b.opt.textName()
	b.wrapped(id)
}

// wrapped puts a node with its name into the content.
func (b *builder) wrapped(id value.ID) {
	object := b.doc.New(value.Object, "")
	b.doc.Add(object, id)
	b.doc.Add(b.list, object)
}

// child takes an element with its name.
func (b *builder) child(id value.ID) error {
	object := b.ensure()
	if b.opt.Content == Ordered {
		if b.list == value.None {
			b.list = b.doc.New(value.List, "")
			b.doc.At(b.list).Name = contentName
			if text := b.all(); text != "" {
				b.piece(text)
			}
		}
		b.wrapped(id)
		return nil
	}
	name := b.doc.At(id).Name
	last := b.doc.At(object).Last
	if last != value.None && b.doc.At(last).Name == name {
		b.doc.Repeat(last, id)
		return nil
	}
	if old := b.find(name); old != value.None {
		if b.opt.Content != Group {
			return value.In(value.Inexpressible(Format, "an element that comes again after others: their order would be lost (content: group or ordered)"), name)
		}
		b.doc.Repeat(old, id)
		return nil
	}
	b.doc.Add(object, id)
	b.count++
	if b.seen != nil {
		b.seen[name] = id
	}
	return nil
}

func (b *builder) find(name string) value.ID {
	if b.count <= linear {
		return b.doc.Get(b.object, name)
	}
	if b.seen == nil {
		b.seen = make(map[string]value.ID, 4*linear)
		for at := b.doc.At(b.object).First; at != value.None; at = b.doc.At(at).Next {
			b.seen[b.doc.At(at).Name] = at
		}
	}
	return b.seen[name]
}

// finish returns the node that the element is.
func (b *builder) finish() (value.ID, error) {
	switch {
	case b.null && (b.mixed || b.children()):
		return value.None, value.Inexpressible(Format, "an element that is nil and has content")
	case b.object == value.None && b.null:
		return b.doc.New(value.Null, ""), nil
	case b.object == value.None:
		return b.doc.New(value.String, b.all()), nil
	case b.null:
		b.member(b.opt.textName(), b.doc.New(value.Null, ""))
	case b.list != value.None:
		b.unpad()
		b.member(contentName, b.list)
	case !b.children():
		if text := b.all(); text != "" {
			b.member(b.opt.textName(), b.doc.New(value.String, text))
		}
	case b.mixed && b.opt.Content != Group:
		return value.None, value.Inexpressible(Format, "text between elements: its place would be lost (content: group or ordered)")
	case b.mixed:
		if b.doc.Get(b.object, b.opt.textName()) != value.None {
			return value.None, value.Inexpressible(Format, "an element with the name that text has")
		}
		b.member(b.opt.textName(), b.doc.New(value.String, b.all()))
	}
	return b.object, nil
}

func (b *builder) member(name string, id value.ID) {
	b.doc.At(id).Name = name
	b.doc.Add(b.object, id)
}

// children tells whether there are elements in the element.
func (b *builder) children() bool {
	if b.object == value.None || b.list != value.None {
		return b.list != value.None
	}
	last := b.doc.At(b.object).Last
	return last != value.None && !strings.HasPrefix(b.doc.At(last).Name, b.opt.attributePrefix())
}

// unpad takes the space between elements away, unless there is text, too.
func (b *builder) unpad() {
	if b.mixed {
		return
	}
	at := b.doc.At(b.list).First
	b.doc.At(b.list).First, b.doc.At(b.list).Last = value.None, value.None
	for at != value.None {
		next := b.doc.At(at).Next
		b.doc.At(at).Next = value.None
		if b.doc.At(b.doc.At(at).First).Name != b.opt.textName() {
			b.doc.Add(b.list, at)
		}
		at = next
	}
}
