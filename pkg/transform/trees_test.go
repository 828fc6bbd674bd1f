package transform_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/form"
	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/msgpack"
	"github.com/dragoman-mesh/dragoman/pkg/transform/multipart"
	"github.com/dragoman-mesh/dragoman/pkg/transform/ndjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// tree is a value, as the tests of properties think of one.
type tree struct {
	name string // within an object
	kind value.Kind
	text string
	kids []tree
}

func text(s string) tree { return tree{kind: value.String, text: s} }

// String shows a tree, with what JSON cannot tell apart.
func (t *tree) String() string {
	var b strings.Builder
	t.show(&b, 0)
	return b.String()
}

func (t *tree) show(b *strings.Builder, depth int) {
	fmt.Fprintf(b, "%s%q: %s %q\n", strings.Repeat("  ", depth), t.name, t.kind, t.text)
	for i := range t.kids {
		t.kids[i].show(b, depth+1)
	}
}

// into makes nodes of a tree.
func (t *tree) into(doc *value.Doc) value.ID {
	id := doc.New(t.kind, t.text)
	for i := range t.kids {
		kid := t.kids[i].into(doc)
		doc.At(kid).Name = t.kids[i].name
		doc.Add(id, kid)
	}
	return id
}

// treeOf makes a tree of nodes.
func treeOf(doc *value.Doc, id value.ID) tree {
	n := doc.At(id)
	t := tree{name: n.Name, kind: n.Kind, text: n.Text}
	for at := n.First; at != value.None; at = doc.At(at).Next {
		t.kids = append(t.kids, treeOf(doc, at))
	}
	return t
}

// write is a body that says what a tree says, and its Content-Type.
func write(side *transform.Side, t *tree) (body []byte, contentType string, err error) {
	var doc value.Doc
	lim := limits()
	doc.Reset(lim.Nodes)
	root := t.into(&doc)
	switch side.Format {
	case transform.JSON:
		body = json.Append(nil, &doc, root)
	case transform.NDJSON:
		body = ndjson.Append(nil, &doc, root)
	case transform.XML:
		body, err = xml.Append(nil, &doc, root, side.XML, lim)
	case transform.SOAP:
		body, err = soap.Append(nil, &doc, root, side.SOAP, lim)
	case transform.Form:
		body, err = form.Append(nil, &doc, root, side.Form, lim)
	case transform.Multipart:
		body, err = multipart.Append(nil, &doc, root, side.Multipart, lim)
	case transform.CSV:
		body, err = csv.Append(nil, &doc, root, side.CSV, lim)
	case transform.MsgPack:
		body, err = msgpack.Append(nil, &doc, root, side.MsgPack)
	}
	return body, transform.ContentType(side.Format), err
}

// read is what a body says.
func read(side *transform.Side, body []byte) (tree, error) {
	var doc value.Doc
	var root value.ID
	var err error
	lim := limits()
	doc.Reset(lim.Nodes)
	switch side.Format {
	case transform.JSON:
		root, err = json.Decode(&doc, string(body), lim)
	case transform.NDJSON:
		root, err = ndjson.Decode(&doc, string(body), lim)
	case transform.XML:
		root, err = xml.Decode(&doc, string(body), "", side.XML, lim)
	case transform.SOAP:
		root, err = soap.Decode(&doc, string(body), "", side.SOAP, lim)
	case transform.Form:
		root, err = form.Decode(&doc, string(body), "", side.Form, lim)
	case transform.Multipart:
		root, err = multipart.Decode(&doc, string(body), "", side.Multipart, lim)
	case transform.CSV:
		root, err = csv.Decode(&doc, string(body), "", side.CSV, lim)
	case transform.MsgPack:
		root, err = msgpack.Decode(&doc, string(body), lim)
	}
	if err != nil {
		return tree{}, err
	}
	t := treeOf(&doc, root)
	t.name = ""
	return t, nil
}

// sides are the ways in which each format is tried. Those of records have names for
// the elements of a list at the top.
func sides(records bool) []transform.Side {
	all := []transform.Side{
		{Format: transform.JSON},
		{Format: transform.NDJSON},
		{Format: transform.MsgPack, MsgPack: &msgpack.Options{}},
		{Format: transform.XML, XML: &xml.Options{Root: "doc"}},
		{Format: transform.SOAP, SOAP: &soap.Options{Operation: "Op", Namespace: "urn:op"}},
		{Format: transform.CSV, CSV: &csv.Options{Nested: fields.Dots}},
		{Format: transform.CSV, CSV: &csv.Options{Delimiter: ";"}},
	}
	if records {
		all[3].XML.Item = "item"
	}
	for _, nested := range []fields.Nested{fields.Flat, fields.Dots, fields.Brackets} {
		all = append(all,
			transform.Side{Format: transform.Form, Form: &form.Options{Nested: nested}},
			transform.Side{Format: transform.Multipart, Multipart: &multipart.Options{Nested: nested}})
	}
	return all
}

func nameOf(side *transform.Side) string {
	switch {
	case side.Form != nil:
		return "form " + string(side.Form.Nested)
	case side.Multipart != nil:
		return "multipart " + string(side.Multipart.Nested)
	case side.CSV != nil:
		return "csv " + string(side.CSV.Nested)
	}
	return string(side.Format)
}

// forest grows trees: tame ones that most formats can carry, and wild ones.
type forest struct {
	*rand.Rand
	wild bool
}

var (
	tameNames   = []string{"a", "b", "c", "city", "E-f_1"}
	wildNames   = []string{"a", "b", "0", "17", "x.y", "p[q]", "@id", "@x", "#text", "é", "with space", "", "1a", "\ufeffbom", "q\"\\", "new\nline", "a:b"}
	tameStrings = []string{"", "x", "007", "true", "a&b=c+%41", "<t/>]]>", "quote\"s,;'", "日本", "two\r\nlines", " padded\t"}
	wildStrings = []string{"", " ", "\n", "\ufeffbom", "\x00", "\x01", "\ufffe", "\r", "null", "--dragoman", "\u2028", "\"", ",", "\U0001F600", "x"}
	numbers     = []string{"0", "-1", "1.50", "0.1", "12345678901234567890", "-9223372036854775808", "1e3", "2.5E-7"}
	wildNumbers = []string{"-0", "123456789012345678901234567890", "1E400", "0.100000000000000000001"}
)

func (f *forest) of(list []string) string { return list[f.IntN(len(list))] }

func (f *forest) grow(depth int) tree {
	n := f.IntN(10)
	switch {
	case depth == 0 && n < 8, depth < 3 && n < 3:
		return f.object(depth)
	case depth == 0 && n < 9, depth < 3 && n < 5:
		return f.list(depth)
	}
	return f.scalar()
}

func (f *forest) object(depth int) tree {
	names := tameNames
	if f.wild {
		names = wildNames
	}
	t := tree{kind: value.Object}
	for _, i := range f.Perm(len(names))[:f.IntN(5)] {
		kid := f.grow(depth + 1)
		kid.name = names[i]
		t.kids = append(t.kids, kid)
	}
	return t
}

func (f *forest) list(depth int) tree {
	t := tree{kind: value.List}
	grow := func() tree { return f.grow(depth + 1) }
	if f.IntN(3) > 0 {
		grow = f.scalar // most lists have one kind of elements
	} else if !f.wild {
		grow = func() tree { return f.object(depth + 1) }
	}
	for range f.IntN(4) {
		t.kids = append(t.kids, grow())
	}
	return t
}

func (f *forest) scalar() tree {
	strings, digits := tameStrings, numbers
	if f.wild {
		strings, digits = append(strings, wildStrings...), append(digits, wildNumbers...)
	}
	switch f.IntN(8) {
	case 0:
		return tree{kind: value.Number, text: f.of(digits)}
	case 1:
		return tree{kind: value.True}
	case 2:
		return tree{kind: value.False}
	case 3:
		if f.wild {
			return tree{kind: value.Null}
		}
		return tree{kind: value.Number, text: f.of(digits)}
	case 4:
		return tree{kind: value.Bytes, text: f.of([]string{"", "\xff\x00", "bytes"})}
	}
	return text(f.of(strings))
}
