// Package xml reads and writes XML as trees of package value.
package xml

// Options say how XML is made of a tree, and a tree of XML. The zero value is
// ready for what has one name at its top.
type Options struct {
	// Root is the name of the element around the document. Read, it must be there,
	// and the tree is what is in it. Empty: the tree is an object with one member,
	// which is that element.
	Root string
	// Item is the name of the elements of a list at the top.
	Item string
	// Attribute is what the names of attributes begin with, "@" if empty.
	Attribute string
	// Text is the name of the text of an element that has attributes, "#text" if
	// empty.
	Text string
	// Content says what becomes of elements of the same name with others between
	// them, and of text between elements.
	Content Content
	// Namespaces has the prefixes that names of the tree have, by which namespaces
	// they stand for; the prefix "" is none. Read, other namespaces are refused, and
	// the document's own prefixes don't matter. Absent: names are as they are
	// written, and declarations are attributes.
	Namespaces map[string]string
	// StripNamespaces takes prefixes and declarations away when a document is read,
	// but for Namespaces.
	StripNamespaces bool
	// Nulls says what becomes of null.
	Nulls Nulls
}

// Content is what becomes of what an object's members cannot say.
type Content string

// Contents.
const (
	// Strict refuses it.
	Strict Content = "strict" // and if empty
	// Group puts elements of one name into the list of the first, and joins text.
	Group Content = "group"
	// Ordered makes of an element with elements in it a list under "#content", in
	// order: {"#content": [{"a": "1"}, {"#text": "and"}, {"b": "2"}]}.
	Ordered Content = "ordered"
)

// Nulls is what becomes of null.
type Nulls string

// What null becomes.
const (
	NullNil   Nulls = "nil"   // an element with xsi:nil="true"; and if empty
	NullEmpty Nulls = "empty" // an empty element
	NullOmit  Nulls = "omit"  // nothing
)

// nils tells whether null is an element with xsi:nil.
func (o *Options) nils() bool { return o.Nulls == "" || o.Nulls == NullNil }
