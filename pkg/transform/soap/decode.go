package soap

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// Format is the name that errors have.
const Format = "soap"

// headerName is the member that has the message's header.
const headerName = "#header"

// Decode reads a message into doc. name is the charset that came with it. A fault
// is the error, a *Fault.
func Decode(doc *value.Doc, src, name string, opt *Options, lim *value.Limits) (value.ID, error) {
	inner := *lim
	inner.Depth += 2 // the envelope and the body
	own := opt.reading()
	_, root, err := xml.Parse(doc, src, name, own, &inner, xml.Envelope{Drop: dropped, Options: opt.parts(own)})
	if err != nil {
		return value.None, err
	}
	m := message{doc: doc, opt: opt}
	header, body, err := m.envelope(root)
	if err != nil {
		return value.None, err
	}
	operation, err := m.operation(body)
	if err != nil {
		return value.None, err
	}
	return m.withHeader(operation, header)
}

// dropped are attributes that say how values are encoded, which their texts do
// as well.
func dropped(namespace, local string) bool {
	return local == "encodingStyle" && (namespace == ns11 || namespace == ns12)
}

type message struct {
	doc     *value.Doc
	opt     *Options
	version Version
	prefix  string
}

func malformed(reason string) error {
	return &value.Error{Is: value.ErrMalformed, Format: Format, Reason: reason}
}

// envelope finds the two parts of a message.
func (m *message) envelope(root value.ID) (header, body value.ID, err error) {
	switch m.doc.At(root).Name {
	case prefix11 + ":Envelope":
		m.version, m.prefix = V11, prefix11
	case prefix12 + ":Envelope":
		m.version, m.prefix = V12, prefix12
	default:
		return 0, 0, malformed("not an envelope of SOAP 1.1 or 1.2")
	}
	if m.opt.Version != "" && m.opt.Version != m.version {
		return 0, 0, malformed("an envelope of SOAP " + string(m.version) + ", and " + string(m.opt.Version) + " was expected")
	}
	for at := range m.elements(root) {
		switch name := m.doc.At(at).Name; {
		case m.doc.At(at).Kind == value.List:
			return 0, 0, malformed("an envelope with two headers or bodies")
		case name == m.prefix+":Header" && header == value.None && body == value.None:
			header = at
		case name == m.prefix+":Body" && body == value.None:
			body = at
		default:
			return 0, 0, malformed("an envelope has a header and a body, and nothing else")
		}
	}
	if body == value.None {
		return 0, 0, malformed("an envelope without a body")
	}
	return header, body, nil
}

// elements are those in an element, whichever way their order is kept.
func (m *message) elements(id value.ID) func(func(value.ID) bool) {
	return func(yield func(value.ID) bool) {
		if m.doc.At(id).Kind != value.Object {
			return
		}
		if content := m.doc.Get(id, "#content"); content != value.None {
			for at := m.doc.At(content).First; at != value.None; at = m.doc.At(at).Next {
				if !yield(m.doc.At(at).First) {
					return
				}
			}
			return
		}
		for at := m.doc.At(id).First; at != value.None; at = m.doc.At(at).Next {
			if name := m.doc.At(at).Name; !strings.HasPrefix(name, m.attribute("")) && !yield(at) {
				return
			}
		}
	}
}

// attribute is the name that an attribute has in the tree.
func (m *message) attribute(name string) string {
	if m.opt.XML.Attribute == "" {
		return "@" + name
	}
	return m.opt.XML.Attribute + name
}

// operation returns what is in the body.
func (m *message) operation(body value.ID) (value.ID, error) {
	found := value.None
	for at := range m.elements(body) {
		if found != value.None || m.doc.At(at).Kind == value.List {
			return value.None, value.Inexpressible(Format, "more than one element in the body")
		}
		found = at
	}
	name := ""
	if found != value.None {
		name = m.doc.At(found).Name
	}
	switch {
	case name == m.prefix+":Fault":
		return value.None, m.fault(found)
	case m.opt.Operation != "" && name != m.opt.Operation:
		return value.None, malformed("the element " + value.Quote(m.opt.Operation) + " was expected in the body")
	}
	object := m.doc.New(value.Object, "")
	if found == value.None {
		return object, nil
	}
	// A copy of the node: this one is linked to what is beside it.
	n := *m.doc.At(found)
	n.Next = value.None
	if m.opt.Operation != "" {
		n.Name = ""
		*m.doc.At(object) = n
		return object, nil
	}
	only := m.doc.New(value.Null, "")
	*m.doc.At(only) = n
	m.doc.Add(object, only)
	return object, nil
}

// withHeader adds the header to what the body says, or sees whether it can be
// left out.
func (m *message) withHeader(root, header value.ID) (value.ID, error) {
	if header == value.None {
		return root, nil
	}
	for at := range m.elements(header) {
		if err := m.entry(at); err != nil {
			return value.None, value.In(err, "Header")
		}
	}
	if !m.opt.Header {
		return root, nil
	}
	object := m.doc.New(value.Object, "")
	entries := m.doc.New(value.Object, "")
	*m.doc.At(entries) = value.Node{Kind: value.Object, First: m.doc.At(header).First, Last: m.doc.At(header).Last}
	m.doc.Set(object, headerName, entries)
	if n := m.doc.At(root); n.Kind == value.Object {
		m.doc.At(m.doc.At(object).Last).Next = n.First
		if n.First != value.None {
			m.doc.At(object).Last = n.Last
		}
	} else if n.Kind != value.String || n.Text != "" {
		m.doc.Set(object, m.text(), root)
	}
	return object, nil
}

func (m *message) text() string {
	if m.opt.XML.Text == "" {
		return "#text"
	}
	return m.opt.XML.Text
}

// entry looks at an entry of the header: its attributes of SOAP's own namespace
// are named "soap:".
func (m *message) entry(id value.ID) error {
	if m.doc.At(id).Kind == value.List {
		for at := m.doc.At(id).First; at != value.None; at = m.doc.At(at).Next {
			if err := m.entry(at); err != nil {
				return err
			}
		}
		return nil
	}
	for at := m.doc.At(id).First; at != value.None; at = m.doc.At(at).Next {
		n := m.doc.At(at)
		local, own := strings.CutPrefix(n.Name, m.attribute(m.prefix+":"))
		if !own {
			continue
		}
		if local == "mustUnderstand" && (n.Text == "1" || n.Text == "true") && !m.opt.Header {
			return value.In(value.Inexpressible(Format, "an entry of the header that must be understood, and headers are not kept (header: true)"), m.doc.At(id).Name)
		}
		n.Name = m.attribute("soap:" + local)
	}
	return nil
}
