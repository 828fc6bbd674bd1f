package fields

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// maxName bounds the names of fields within fields, in bytes.
const maxName = 8192

// Check refuses options that are none, by the name of the option.
func (o *Options) Check() error {
	switch o.Nested {
	case Flat, Dots, Brackets:
	default:
		return fmt.Errorf("nested: %q is not dots or brackets", o.Nested)
	}
	switch o.Nulls {
	case "", NullOmit, NullEmpty, NullRefuse:
		return nil
	}
	return errors.New("nulls: not omit, empty or refuse")
}

// Flattener makes names and texts of a tree.
type Flattener struct {
	Format string // the name that errors have
	Opt    *Options
	Doc    *value.Doc
	// NoLists refuses lists, even those of one element.
	NoLists bool
	// Whole tells of an object that it is the value of one field; nil: of none.
	Whole func(value.ID) bool
	// Emit gets each field, in order. name stays valid.
	Emit func(name string, id value.ID) error

	emitted int
}

func (f *Flattener) inexpressible(reason string) error {
	return value.Inexpressible(f.Format, reason)
}

// Object emits the fields of an object.
func (f *Flattener) Object(root value.ID) error {
	if n := f.Doc.At(root); n.Kind != value.Object {
		return f.inexpressible(fmt.Sprintf("fields are made of an object, and this is %s", n.Kind))
	}
	return f.members("", root)
}

func (f *Flattener) members(prefix string, object value.ID) error {
	for at := f.Doc.At(object).First; at != value.None; at = f.Doc.At(at).Next {
		name := f.Doc.At(at).Name
		if err := f.member(prefix, name, at); err != nil {
			return value.In(err, name)
		}
	}
	return nil
}

func (f *Flattener) member(prefix, name string, id value.ID) error {
	switch {
	case name == "":
		return f.inexpressible("a member without a name")
	case f.Opt.Nested == Dots && strings.Contains(name, "."):
		return f.inexpressible("a dot in a name, which would look like a name within another")
	case f.Opt.Nested == Brackets && strings.ContainsAny(name, "[]"):
		return f.inexpressible("a bracket in a name, which would look like a name within another")
	case prefix == "":
	case f.Opt.Nested == Brackets && isIndex(name):
		return f.inexpressible("a number as the name of a member, which would look like an index of a list")
	case f.Opt.Nested == Brackets:
		name = prefix + "[" + name + "]"
	default:
		name = prefix + "." + name
	}
	return f.value(name, id)
}

func (f *Flattener) value(name string, id value.ID) error {
	n := f.Doc.At(id)
	switch {
	case len(name) > maxName:
		return f.inexpressible("names within names of more than " + strconv.Itoa(maxName) + " bytes")
	case n.Kind == value.List && f.NoLists:
		return f.inexpressible("a list")
	case n.Kind == value.List:
		return f.list(name, id)
	case n.Kind == value.Object && (f.Whole == nil || !f.Whole(id)):
		if f.Opt.Nested == Flat {
			return f.inexpressible("an object within the object: the option nested says how it is written")
		}
		return f.members(name, id)
	case n.Kind == value.Null && f.Opt.Nulls == NullRefuse:
		return f.inexpressible("null")
	case n.Kind == value.Null && f.Opt.Nulls != NullEmpty:
		return nil
	}
	return f.emit(name, id)
}

func (f *Flattener) emit(name string, id value.ID) error {
	f.emitted++
	return f.Emit(name, id)
}

// list emits a field for each text, or fields with indexes for each object.
func (f *Flattener) list(name string, list value.ID) error {
	plain := true
	for at := f.Doc.At(list).First; at != value.None; at = f.Doc.At(at).Next {
		if k := f.Doc.At(at).Kind; k == value.List || k == value.Object && (f.Whole == nil || !f.Whole(at)) {
			plain = false
		}
	}
	i := 0
	for at := f.Doc.At(list).First; at != value.None; at = f.Doc.At(at).Next {
		if err := f.element(name, i, at, plain); err != nil {
			return value.At(err, i)
		}
		i++
	}
	return nil
}

func (f *Flattener) element(name string, i int, id value.ID, plain bool) error {
	switch {
	case !plain && f.Opt.Nested != Brackets:
		return f.inexpressible("a list of objects or lists: the option nested has to be brackets")
	case f.Doc.At(id).Kind == value.Null && f.Opt.Nulls != NullEmpty:
		return f.inexpressible("null in a list: without it, the others would have other places (nulls: empty)")
	case !plain:
		before := f.emitted
		if err := f.value(name+"["+strconv.Itoa(i)+"]", id); err != nil || f.emitted > before {
			return err
		}
		return f.inexpressible("an element without a field: without it, the others would have other places")
	case f.Opt.Nested == Brackets:
		name += "[]"
	}
	return f.emit(name, id)
}

// Text is a scalar as a text.
func Text(n *value.Node) string {
	switch n.Kind {
	case value.True:
		return "true"
	case value.False:
		return "false"
	case value.Bytes:
		return base64.StdEncoding.EncodeToString([]byte(n.Text))
	}
	return n.Text
}
