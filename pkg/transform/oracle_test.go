package transform_test

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// carried is what README.md says of a tree in a format: what is read again of what is
// written, or which fields are refused.
type carried struct {
	tree tree
	// refused has the paths of the fields that cannot be carried.
	refused []string
	// reread tells that it can be written, and is refused when it is read again: text
	// between elements.
	reread bool
}

func (c *carried) refuse(path string) { c.refused = append(c.refused, path) }

// carry asks what a format carries of a tree.
func carry(side *transform.Side, t *tree) carried {
	var c carried
	switch side.Format {
	case transform.JSON:
		c.tree = withoutBytes(t)
	case transform.NDJSON:
		c.tree = withoutBytes(t)
		if t.kind != value.List {
			c.tree = tree{kind: value.List, kids: []tree{c.tree}}
		}
	case transform.MsgPack:
		c.tree = c.packed("", t)
	case transform.XML:
		c.document(t, side.XML.Item)
	case transform.SOAP:
		c.document(t, "")
	case transform.Form:
		c.form(t, flat{nested: side.Form.Nested})
	case transform.Multipart:
		c.form(t, flat{nested: side.Multipart.Nested, bytes: true})
	case transform.CSV:
		c.csv(t, side.CSV.Nested)
	}
	c.tree.name = ""
	return c
}

func withoutBytes(t *tree) tree {
	out := *t
	if t.kind == value.Bytes {
		out = tree{name: t.name, kind: value.String, text: plain(t)}
	}
	out.kids = nil
	for i := range t.kids {
		out.kids = append(out.kids, withoutBytes(&t.kids[i]))
	}
	return out
}

// plain is a scalar as a text.
func plain(t *tree) string {
	switch t.kind {
	case value.True:
		return "true"
	case value.False:
		return "false"
	case value.Bytes:
		return base64.StdEncoding.EncodeToString([]byte(t.text))
	}
	return t.text
}

func scalar(t *tree) bool { return t.kind < value.List }

func step(path string, t *tree, i int) string {
	if t.kind == value.List {
		return value.Join(path, "["+strconv.Itoa(i)+"]")
	}
	return value.Join(path, value.Quote(t.kids[i].name))
}

// packed is a tree in MessagePack: integers of 64 bits and doubles.
func (c *carried) packed(path string, t *tree) tree {
	out := *t
	if t.kind == value.Number {
		switch out.text = t.text; t.text {
		case "123456789012345678901234567890", "1E400", "0.100000000000000000001":
			c.refuse(path)
		case "1.50":
			out.text = "1.5"
		case "-0":
			out.text = "-0.0"
		case "1e3":
			out.text = "1000.0"
		case "2.5E-7":
			out.text = "2.5e-07"
		}
	}
	out.kids = nil
	for i := range t.kids {
		out.kids = append(out.kids, c.packed(step(path, t, i), &t.kids[i]))
	}
	return out
}

// document is a tree in an element; item names those of a list in it.
func (c *carried) document(t *tree, item string) {
	switch {
	case t.kind != value.List:
		c.tree = c.element("", t)
		c.reread = c.reread || item != "" && (c.tree.kind != value.String || strings.Trim(c.tree.text, " \t\r\n") != "")
		if item != "" && !c.reread {
			c.tree = tree{kind: value.List}
		}
	case item == "":
		c.refuse("")
	default:
		c.tree = tree{kind: value.List}
		c.elements("", t, &c.tree)
	}
}

// elements puts those of a list that have one name into another.
func (c *carried) elements(path string, list, to *tree) {
	for i := range list.kids {
		if list.kids[i].kind == value.List {
			c.refuse(step(path, list, i))
			continue
		}
		kid := c.element(step(path, list, i), &list.kids[i])
		kid.name = ""
		to.kids = append(to.kids, kid)
	}
}

// element is a value, which is no list, as an element.
func (c *carried) element(path string, t *tree) tree {
	if t.kind != value.Object {
		return tree{name: t.name, kind: c.characters(path, t), text: plain(t)}
	}
	out := tree{name: t.name, kind: value.Object}
	inside := text("")
	for i := range t.kids {
		kid := &t.kids[i]
		at := step(path, t, i)
		switch attribute, is := strings.CutPrefix(kid.name, "@"); {
		case is && !elementName(attribute), is && (!scalar(kid) || kid.kind == value.Null):
			c.refuse(at)
		case is:
			out.kids = append(out.kids, tree{name: kid.name, kind: c.characters(at, kid), text: plain(kid)})
		case kid.name == "#text" && !scalar(kid):
			c.refuse(at)
		case kid.name == "#text":
			inside = tree{kind: c.characters(at, kid), text: plain(kid)}
		}
	}
	attributes := len(out.kids)
	for i := range t.kids {
		if name := t.kids[i].name; !strings.HasPrefix(name, "@") && name != "#text" {
			c.child(step(path, t, i), &t.kids[i], &out)
		}
	}
	return c.around(path, out, attributes, inside)
}

// child puts what a member is into the element.
func (c *carried) child(path string, kid, out *tree) {
	if !elementName(kid.name) && (kid.kind != value.List || len(kid.kids) > 0) {
		c.refuse(path)
	}
	if kid.kind != value.List {
		out.kids = append(out.kids, c.element(path, kid))
		return
	}
	list := tree{name: kid.name, kind: value.List}
	c.elements(path, kid, &list)
	switch len(list.kids) {
	case 0:
	case 1:
		list.kids[0].name = kid.name
		out.kids = append(out.kids, list.kids[0])
	default:
		out.kids = append(out.kids, list)
	}
}

// around is an element with its attributes, those in it, and its text.
func (c *carried) around(path string, out tree, attributes int, inside tree) tree {
	children := len(out.kids) > attributes
	switch {
	case children && inside.kind == value.Null:
		c.refuse(value.Join(path, "#text"))
	case children:
		// Space between elements means nothing.
		c.reread = c.reread || strings.Trim(inside.text, " \t\r\n") != ""
	case attributes == 0:
		inside.name = out.name
		return inside
	case inside.kind == value.Null || inside.text != "":
		inside.name = "#text"
		out.kids = append(out.kids, inside)
	}
	return out
}

// characters is the kind of a scalar in XML.
func (c *carried) characters(path string, t *tree) value.Kind {
	if strings.ContainsAny(plain(t), "\x00\x01\ufffe") {
		c.refuse(path)
	}
	if t.kind == value.Null {
		return value.Null
	}
	return value.String
}

func elementName(name string) bool {
	return slices.Contains(tameNames, name) || name == "é" || name == "\ufeffbom" || name == "id" || name == "x" || name == "x.y" || name == "item"
}

// flat is how fields within fields are written.
type flat struct {
	nested fields.Nested
	bytes  bool // binary data stays what it is
	nulls  bool // null is a field without text
	noList bool
}

func (c *carried) form(t *tree, how flat) {
	if t.kind != value.Object {
		c.refuse("")
		return
	}
	c.tree, _ = c.fields("", t, how)
}

// fields is an object of which each leaf is a field; is tells that there is one.
func (c *carried) fields(path string, t *tree, how flat) (out tree, is bool) {
	out = tree{name: t.name, kind: value.Object}
	for i := range t.kids {
		kid := &t.kids[i]
		at := step(path, t, i)
		index := path != "" && how.nested == fields.Brackets && kid.name != "" && strings.Trim(kid.name, "0123456789") == ""
		if kid.name == "" || how.nested == fields.Dots && strings.Contains(kid.name, ".") ||
			how.nested == fields.Brackets && strings.ContainsAny(kid.name, "[]") || index {
			c.refuse(at)
			continue
		}
		if made, is := c.field(at, kid, how); is {
			made.name = kid.name
			out.kids = append(out.kids, made)
		}
	}
	return out, len(out.kids) > 0
}

func (c *carried) field(path string, t *tree, how flat) (out tree, is bool) {
	switch {
	case t.kind == value.Null && how.nulls:
		return text(""), true
	case t.kind == value.Null:
		return tree{}, false
	case scalar(t) && how.bytes && strings.Contains(path, "\n"):
		c.refuse(path) // the header of a part has lines
		return tree{}, false
	case t.kind == value.Bytes && how.bytes:
		return *t, true
	case scalar(t):
		return text(plain(t)), true
	case t.kind == value.List && how.noList, t.kind == value.Object && how.nested == fields.Flat:
		c.refuse(path)
		return tree{}, false
	case t.kind == value.Object:
		return c.fields(path, t, how)
	}
	out = tree{kind: value.List}
	for i := range t.kids {
		kid := &t.kids[i]
		if kid.kind == value.Null || how.nested != fields.Brackets && slices.ContainsFunc(t.kids, func(k tree) bool { return !scalar(&k) }) {
			c.refuse(step(path, t, i))
			continue
		}
		made, is := c.field(step(path, t, i), kid, how)
		if !is {
			c.refuse(step(path, t, i)) // those after it would get its place
		}
		out.kids = append(out.kids, made)
	}
	if len(out.kids) == 1 && how.nested != fields.Brackets {
		return out.kids[0], true
	}
	return out, len(out.kids) > 0
}

// csv is a list of records of the first one's columns.
func (c *carried) csv(t *tree, nested fields.Nested) {
	list := t
	if t.kind != value.List {
		list = &tree{kind: value.List, kids: []tree{*t}}
	}
	c.tree = tree{kind: value.List}
	var shape tree
	for i := range list.kids {
		path := step("", list, i)
		if t.kind != value.List {
			path = ""
		}
		if list.kids[i].kind != value.Object {
			c.refuse(path)
			continue
		}
		record, _ := c.fields(path, &list.kids[i], flat{nested: nested, nulls: true, noList: true})
		if i == 0 {
			shape = record
		}
		if len(shape.kids) == 0 {
			c.refuse(path)
		}
		c.tree.kids = append(c.tree.kids, c.record(path, &shape, &record))
	}
}

// record is one with the columns of another, in their order.
func (c *carried) record(path string, shape, t *tree) tree {
	out := tree{kind: value.Object}
	for i := range t.kids {
		kid := &t.kids[i]
		j := slices.IndexFunc(shape.kids, func(s tree) bool { return s.name == kid.name })
		if j < 0 || shape.kids[j].kind != kid.kind {
			c.refuseLeaves(step(path, t, i), kid)
		}
	}
	for i := range shape.kids {
		s := &shape.kids[i]
		j := slices.IndexFunc(t.kids, func(k tree) bool { return k.name == s.name && k.kind == s.kind })
		var made tree
		switch {
		case s.kind == value.Object && j < 0:
			made = c.record(path, s, &tree{kind: value.Object})
		case s.kind == value.Object:
			made = c.record(step(path, t, j), s, &t.kids[j])
		case j >= 0:
			made = t.kids[j]
		default:
			made = text("")
		}
		made.name = s.name
		out.kids = append(out.kids, made)
	}
	return out
}

// refuseLeaves refuses each column of a member.
func (c *carried) refuseLeaves(path string, t *tree) {
	if scalar(t) {
		c.refuse(path)
	}
	for i := range t.kids {
		c.refuseLeaves(step(path, t, i), &t.kids[i])
	}
}
