package transform

import (
	"context"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// maxJQ bounds what programs are given, in values: each costs many times the
// memory that it does in a tree.
const maxJQ = 1 << 17

// jqFormat is the name that errors of programs have.
const jqFormat = "jq"

// runJQ runs the program with a body, or with each record of one.
func (p *Program) runJQ(ctx context.Context, doc *value.Doc, root value.ID) (value.ID, error) {
	if !p.from.Format.records() {
		out, err := p.outputs(ctx, doc, root)
		if err != nil || p.to.Format.records() {
			return out, err
		}
		if n := doc.Count(out); n != 1 {
			return value.None, value.Inexpressible(jqFormat, fmt.Sprintf("the program gave %d outputs instead of one", n))
		}
		return doc.At(out).First, nil
	}
	list := doc.New(value.List, "")
	i := 0
	for at := doc.At(root).First; at != value.None; at = doc.At(at).Next {
		out, err := p.outputs(ctx, doc, at)
		if err != nil {
			return value.None, value.At(err, i)
		}
		for o := doc.At(out).First; o != value.None; {
			next := doc.At(o).Next
			doc.At(o).Next = value.None
			doc.Add(list, o)
			o = next
		}
		i++
	}
	return list, nil
}

// outputs runs the program with a value, and makes a list of what it gives.
func (p *Program) outputs(ctx context.Context, doc *value.Doc, id value.ID) (value.ID, error) {
	if doc.Len() > maxJQ {
		return value.None, value.TooLarge(jqFormat, "more than "+strconv.Itoa(maxJQ)+" values")
	}
	list := doc.New(value.List, "")
	var failed error
	err := p.jq.Run(ctx, toAny(doc, id), func(v any) bool {
		var out value.ID
		if out, failed = p.fromAny(doc, v, 0); failed == nil {
			doc.Add(list, out)
		}
		return failed == nil
	})
	switch {
	case failed != nil:
		return value.None, failed
	case errors.Is(err, jq.ErrTooMuch), errors.Is(err, context.DeadlineExceeded):
		return value.None, &value.Error{Is: value.ErrTooLarge, Format: jqFormat, Reason: err.Error()}
	case err != nil:
		// Its text may have values in it.
		return value.None, value.Inexpressible(jqFormat, "the program failed")
	}
	return list, nil
}

// toAny makes what programs work with.
func toAny(doc *value.Doc, id value.ID) any {
	n := doc.At(id)
	switch n.Kind {
	case value.Null:
		return nil
	case value.True, value.False:
		return n.Kind == value.True
	case value.Number:
		return stdjson.Number(n.Text)
	case value.String:
		return n.Text
	case value.Bytes:
		return base64.StdEncoding.EncodeToString([]byte(n.Text))
	case value.List:
		list := make([]any, 0, doc.Count(id))
		for at := n.First; at != value.None; at = doc.At(at).Next {
			list = append(list, toAny(doc, at))
		}
		return list
	}
	object := make(map[string]any, doc.Count(id))
	for at := n.First; at != value.None; at = doc.At(at).Next {
		object[doc.At(at).Name] = toAny(doc, at)
	}
	return object
}

// fromAny makes a tree of what a program gave.
func (p *Program) fromAny(doc *value.Doc, v any, depth int) (value.ID, error) {
	if doc.Full() || depth > p.limits.Depth {
		return value.None, value.TooLarge(jqFormat, "the program gave more values, or more levels of them, than a document may have")
	}
	switch v := v.(type) {
	case nil:
		return doc.New(value.Null, ""), nil
	case bool:
		return doc.Bool(v), nil
	case string:
		if !utf8.ValidString(v) {
			return value.None, value.Inexpressible(jqFormat, "the program gave a string that is not UTF-8")
		}
		return doc.New(value.String, v), nil
	case []any:
		list := doc.New(value.List, "")
		for i, item := range v {
			child, err := p.fromAny(doc, item, depth+1)
			if err != nil {
				return value.None, value.At(err, i)
			}
			doc.Add(list, child)
		}
		return list, nil
	case map[string]any:
		object := doc.New(value.Object, "")
		for _, name := range slices.Sorted(maps.Keys(v)) {
			child, err := p.fromAny(doc, v[name], depth+1)
			if err != nil {
				return value.None, value.In(err, name)
			}
			doc.At(child).Name = name
			doc.Add(object, child)
		}
		return object, nil
	}
	return p.fromNumber(doc, v)
}

func (p *Program) fromNumber(doc *value.Doc, v any) (value.ID, error) {
	text := ""
	switch v := v.(type) {
	case int:
		text = strconv.Itoa(v)
	case float64:
		text = formatFloat(v)
	case *big.Int:
		if v.BitLen() < 4*p.limits.Number {
			text = v.String()
		}
	case stdjson.Number:
		text = v.String()
	}
	if n := value.NumberLen(text); n == 0 || n != len(text) || n > p.limits.Number {
		return value.None, value.Inexpressible(jqFormat, "the program gave a number that is none, infinite or too long")
	}
	return doc.New(value.Number, text), nil
}

// formatFloat writes a number as people do, without an exponent where that is
// readable.
func formatFloat(f float64) string {
	if abs := math.Abs(f); abs == 0 || abs >= 1e-6 && abs < 1e17 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
