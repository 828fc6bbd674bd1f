package transform_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// shape is what all trees of a kind of messages have in common: what a map that a
// user writes says of them.
type shape struct {
	name   string
	kind   value.Kind
	fields []shape // of an object
	of     *shape  // of a list
}

// talent is what a format can carry.
type talent struct {
	types  bool // numbers and booleans
	nulls  bool // as something else than a text
	bytes  bool
	lists  bool // in a record
	ones   bool // tells a list of one from none
	nested bool // objects in objects
	deep   bool // lists of objects
}

func talentOf(side *transform.Side) talent {
	switch side.Format {
	case transform.JSON, transform.NDJSON:
		return talent{types: true, nulls: true, lists: true, ones: true, nested: true, deep: true}
	case transform.MsgPack:
		return talent{types: true, nulls: true, bytes: true, lists: true, ones: true, nested: true, deep: true}
	case transform.XML, transform.SOAP:
		return talent{nulls: true, lists: true, nested: true, deep: true}
	case transform.CSV:
		return talent{nested: side.CSV.Nested != fields.Flat}
	case transform.Form:
		return fieldTalent(side.Form.Nested, false)
	default:
		return fieldTalent(side.Multipart.Nested, true)
	}
}

func fieldTalent(nested fields.Nested, bytes bool) talent {
	return talent{bytes: bytes, lists: true, ones: nested == fields.Brackets, nested: nested != fields.Flat, deep: nested == fields.Brackets}
}

// shapes of messages that both formats can carry, if a map says of what types the
// fields are: all that a can tell, b carries as a text at least.
func (f *forest) shape(depth int, a, b talent) shape {
	switch n := f.IntN(10); {
	case depth == 0, n < 2 && a.nested && b.nested && depth < 3:
		s := shape{kind: value.Object}
		for _, i := range f.Perm(len(tameNames))[:1+f.IntN(4)] {
			field := f.shape(depth+1, a, b)
			field.name = tameNames[i]
			s.fields = append(s.fields, field)
		}
		return s
	case n < 4 && a.lists && b.lists && depth < 3:
		of := shape{kind: f.leaf(a)}
		if a.deep && b.deep && f.IntN(2) == 0 {
			of = f.shape(0, a, b)
		}
		return shape{kind: value.List, of: &of}
	}
	return shape{kind: f.leaf(a)}
}

func (f *forest) leaf(a talent) value.Kind {
	switch n := f.IntN(4); {
	case n == 0 && a.types:
		return value.Number
	case n == 1 && a.types:
		return value.True
	case n == 2 && a.bytes:
		return value.Bytes
	}
	return value.String
}

// message is a tree of a shape. Lists have an element at least, and two where a
// format takes a list of one for none.
func (f *forest) message(s *shape, a, b talent) tree {
	switch s.kind {
	case value.Object:
		t := tree{kind: value.Object}
		for i := range s.fields {
			kid := f.message(&s.fields[i], a, b)
			kid.name = s.fields[i].name
			t.kids = append(t.kids, kid)
		}
		return t
	case value.List:
		t := tree{kind: value.List}
		least := 1
		if !a.ones {
			least = 2
		}
		for range least + f.IntN(3) {
			t.kids = append(t.kids, f.message(s.of, a, b))
		}
		return t
	}
	if a.nulls && b.nulls && f.IntN(6) == 0 {
		return tree{kind: value.Null}
	}
	switch s.kind {
	case value.Number:
		return tree{kind: value.Number, text: f.of(numbers)}
	case value.True:
		return tree{kind: value.False - value.Kind(f.IntN(2)) + 1}
	case value.Bytes:
		return tree{kind: value.Bytes, text: f.of([]string{"\xff\x00", "bytes", "\r\n--"})}
	}
	return text(f.of(tameStrings))
}

// restoring is the map that gives messages of a shape back what b does not tell.
func restoring(m *mapping.Map, path string, s *shape, a, b talent) {
	switch {
	case s.kind == value.Object:
		for i := range s.fields {
			restoring(m, value.Join(path, value.Quote(s.fields[i].name)), &s.fields[i], a, b)
		}
	case s.kind == value.List:
		if !b.ones {
			m.List = append(m.List, path)
		}
		restoring(m, path+"[]", s.of, a, b)
	case s.kind == value.Number && !b.types:
		m.Coerce[path] = mapping.Number
	case s.kind == value.True && !b.types:
		m.Coerce[path] = mapping.Boolean
	case s.kind == value.Bytes && !b.bytes:
		m.Coerce[path] = mapping.Bytes
	}
}

// TestLossless: messages of which a map says the types go from any format to any
// other and back with every digit, in the same order, with lists of one and nulls,
// and are the same bytes then.
func TestLossless(t *testing.T) {
	t.Parallel()
	for _, p := range pairs(t) {
		if p.there == nil || p.back == nil {
			continue // refused when the document is loaded: TestPairs
		}
		t.Run(nameOf(&p.a)+" and "+nameOf(&p.b), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(50) {
				p.lossless(t, seed)
			}
		})
	}
}

func (p *pair) lossless(t *testing.T, seed uint64) {
	t.Helper()
	a, b := talentOf(&p.a), talentOf(&p.b)
	f := forest{Rand: rand.New(rand.NewPCG(seed, 2))}
	s := f.shape(0, a, b)
	records := isRecords(p.a.Format) || isRecords(p.b.Format)
	sent := tree{kind: value.List}
	for range 1 + f.IntN(3) {
		sent.kids = append(sent.kids, f.message(&s, a, b))
	}
	if !records {
		sent = sent.kids[0]
	}
	m := &mapping.Map{Coerce: map[string]mapping.Type{}}
	restoring(m, restoredFrom(records, &p.b), &s, a, b)
	back, err := transform.Compile(&transform.Spec{From: p.b, To: p.a, Map: m})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	body, contentType, err := write(&p.a, &sent)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	there, err := p.there.Apply(t.Context(), nil, body, contentType)
	if err != nil {
		t.Fatalf("seed %d: %s: %v", seed, body, err)
	}
	again, err := back.Apply(t.Context(), nil, there, p.there.ContentType(there))
	if err != nil {
		t.Fatalf("seed %d: %s became %s: %v", seed, body, there, err)
	}
	want, got := string(body), string(again)
	if p.b.Format == transform.MsgPack {
		want, got = p.rounded(t, &sent), p.shown(t, again)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("seed %d: by way of %q, with %+v (-want +got):\n%s", seed, there, m, diff)
	}
}

// restoredFrom is the path at which a map has a message: each record is one, or
// each element of the list at the top.
func restoredFrom(records bool, from *transform.Side) string {
	if !records || isRecords(from.Format) {
		return ""
	}
	return "[]"
}

// rounded is what is said with the digits that doubles have.
func (p *pair) rounded(t *testing.T, sent *tree) string {
	t.Helper()
	var c carried
	packed := c.packed("", sent)
	body, _, err := write(&p.a, &packed)
	if err != nil {
		t.Fatal(err)
	}
	return p.shown(t, body)
}

func (p *pair) shown(t *testing.T, body []byte) string {
	t.Helper()
	got, err := read(&p.a, body)
	if err != nil {
		t.Fatal(err)
	}
	return got.String()
}
