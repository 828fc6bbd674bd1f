// Package tree reads a JSON document once into a form that many rules can look
// things up in. It is bounded in depth and in the number of values, numbers keep
// their digits, and objects their order.
package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// Limits of a document, where Limits doesn't say.
const (
	DefaultDepth  = 256
	DefaultValues = 1 << 20
)

// Errors of documents beyond their limits.
var (
	ErrTooDeep = errors.New("nested too deeply")
	ErrTooMany = errors.New("too many values")
)

// SyntaxError is a document that is no JSON.
type SyntaxError struct {
	Offset int // in bytes
	Text   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not JSON at byte %d: %s", e.Offset, e.Text)
}

// Limits bound what a document may cost.
type Limits struct {
	Depth  int // of objects and arrays in each other; 0: DefaultDepth
	Values int // in all; 0: DefaultValues
}

// Kind is what a value is.
type Kind uint8

// The kinds of JSON.
const (
	Null Kind = iota
	False
	True
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case False, True:
		return "boolean"
	case Number:
		return "number"
	case String:
		return "string"
	case Array:
		return "array"
	default:
		return "object"
	}
}

// node is one value. Those of an array or object follow it, before end.
type node struct {
	key  string // in an object
	text string // of a number or string; of the others as it was written
	end  int32  // index of the next node that is not within this one
	kind Kind
}

// Document is a JSON document, read.
type Document struct{ nodes []node }

// Value is one value of a document. The zero Value is none.
type Value struct {
	doc *Document
	at  int32
}

// Text makes a document of a single string.
func Text(s string) Value {
	return Value{doc: &Document{nodes: []node{{text: s, kind: String, end: 1}}}}
}

// Root is the value that the document is.
func (d *Document) Root() Value { return Value{doc: d} }

// Valid reports whether v is a value.
func (v Value) Valid() bool { return v.doc != nil }

// Kind is what the value is.
func (v Value) Kind() Kind { return v.doc.nodes[v.at].kind }

// Text is that of a string, the digits of a number, and of the other kinds the
// JSON as it was written.
func (v Value) Text() string { return v.doc.nodes[v.at].text }

// Key is the name that the value has in its object.
func (v Value) Key() string { return v.doc.nodes[v.at].key }

// Children are the values of an array or object, in order.
func (v Value) Children() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		nodes := v.doc.nodes
		for c, end := v.at+1, nodes[v.at].end; c < end; c = nodes[c].end {
			if !yield(Value{doc: v.doc, at: c}) {
				return
			}
		}
	}
}

// Len is how many values an array or object has. It counts them.
func (v Value) Len() int {
	n := 0
	nodes := v.doc.nodes
	for c, end := v.at+1, nodes[v.at].end; c < end; c = nodes[c].end {
		n++
	}
	return n
}

// Field finds a value of an object by name, the last of several; false if v is
// no object or has none.
func (v Value) Field(name string) (Value, bool) {
	nodes := v.doc.nodes
	if nodes[v.at].kind != Object {
		return Value{}, false
	}
	found := int32(-1)
	for c, end := v.at+1, nodes[v.at].end; c < end; c = nodes[c].end {
		if nodes[c].key == name {
			found = c
		}
	}
	return Value{doc: v.doc, at: found}, found >= 0
}

// Any returns the value as encoding/json would, with [json.Number] for numbers.
func (v Value) Any() any {
	switch v.Kind() {
	case Null:
		return nil
	case False, True:
		return v.Kind() == True
	case Number:
		return json.Number(v.Text())
	case String:
		return v.Text()
	case Array:
		out := make([]any, 0, v.Len())
		for c := range v.Children() {
			out = append(out, c.Any())
		}
		return out
	default:
		out := make(map[string]any)
		for c := range v.Children() {
			out[c.Key()] = c.Any()
		}
		return out
	}
}

// Size is how many values the value is made of, itself included.
func (v Value) Size() int { return int(v.doc.nodes[v.at].end - v.at) }
