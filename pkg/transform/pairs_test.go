package transform_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// pair is two formats, with programs that make each of the other; nil where they
// are refused.
type pair struct {
	a, b  transform.Side
	there *transform.Program
	back  *transform.Program
}

func isRecords(f transform.Format) bool { return f == transform.CSV || f == transform.NDJSON }

// pairs are all formats with all formats.
func pairs(t testing.TB) []pair {
	t.Helper()
	var all []pair
	for i := range sides(false) {
		for j := range sides(false) {
			a, b := sides(false)[i], sides(false)[j]
			records := isRecords(a.Format) || isRecords(b.Format)
			p := pair{a: sides(records)[i], b: sides(records)[j]}
			p.there = program(t, &p.a, &p.b)
			p.back = program(t, &p.b, &p.a)
			all = append(all, p)
		}
	}
	return all
}

// program is nil for a list of records that is to become one object: it is refused
// when the document is loaded.
func program(t testing.TB, from, to *transform.Side) *transform.Program {
	t.Helper()
	p, err := transform.Compile(&transform.Spec{From: *from, To: *to})
	refused := isRecords(from.Format) && (to.Format == transform.Form || to.Format == transform.Multipart || to.Format == transform.SOAP)
	switch {
	case !refused && err != nil:
		t.Fatalf("%s to %s: %v", nameOf(from), nameOf(to), err)
	case refused && (err == nil || !strings.Contains(err.Error(), "is a list of records")):
		t.Fatalf("%s to %s: records can be one object: %v", nameOf(from), nameOf(to), err)
	}
	return p
}

// TestPairs: of any tree, each format gives each other format what README.md says,
// and gets back what that says; whatever cannot be kept is refused with the path of
// a field that cannot.
func TestPairs(t *testing.T) {
	t.Parallel()
	for _, p := range pairs(t) {
		t.Run(nameOf(&p.a)+" and "+nameOf(&p.b), func(t *testing.T) {
			t.Parallel()
			kept := 0
			for seed := range uint64(160) {
				if p.check(t, seed) {
					kept++
				}
			}
			if kept < 8 {
				t.Errorf("of 160 trees, %d are in both formats: the test says little", kept)
			}
		})
	}
}

// FuzzPairs is TestPairs with more trees.
func FuzzPairs(f *testing.F) {
	all := pairs(f)
	f.Add(uint64(1), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, which uint8) { all[int(which)%len(all)].check(t, seed) })
}

// check tells whether a tree went through both.
func (p *pair) check(t *testing.T, seed uint64) bool {
	t.Helper()
	f := forest{Rand: rand.New(rand.NewPCG(seed, 1)), wild: seed%2 == 1}
	grown := f.grow(0)
	body, contentType, err := write(&p.a, &grown)
	first := carry(&p.a, &grown)
	if !p.same(t, seed, &p.a, "written", &grown, &first, err) {
		return false
	}
	got, err := read(&p.a, body)
	if !p.reads(t, seed, &p.a, body, &first, &got, err) {
		return false
	}
	if p.there == nil {
		return true
	}
	second, there := p.through(t, seed, p.there, &p.b, &first.tree, body, contentType)
	if second == nil || p.back == nil {
		return second != nil
	}
	third, _ := p.through(t, seed, p.back, &p.a, &second.tree, there, p.there.ContentType(there))
	return third != nil
}

// through converts a body that says what a tree says; nil if it is refused, or not
// to be read again.
func (p *pair) through(t *testing.T, seed uint64, program *transform.Program, to *transform.Side, said *tree, body []byte, contentType string) (*carried, []byte) {
	t.Helper()
	out, err := program.Apply(t.Context(), nil, body, contentType)
	want := carry(to, said)
	if !p.same(t, seed, to, "converted", said, &want, err) {
		return nil, nil
	}
	got, err := read(to, out)
	if !p.reads(t, seed, to, out, &want, &got, err) {
		return nil, nil
	}
	return &want, out
}

// same tells whether a tree was written; it fails the test if that is wrong.
func (p *pair) same(t *testing.T, seed uint64, side *transform.Side, did string, of *tree, want *carried, err error) bool {
	t.Helper()
	if len(want.refused) == 0 {
		if err != nil {
			t.Fatalf("seed %d: %s: refused without need: %v\n%s", seed, nameOf(side), err, of)
		}
		return true
	}
	e, ok := errors.AsType[*value.Error](err)
	switch {
	case err == nil:
		t.Fatalf("seed %d: %s: %s, and %q cannot be kept\n%s", seed, nameOf(side), did, want.refused, of)
	case !ok, !errors.Is(err, value.ErrInexpressible):
		t.Fatalf("seed %d: %s: an error that says nothing: %v", seed, nameOf(side), err)
	case !slices.ContainsFunc(want.refused, func(path string) bool {
		// The name of a list is that of its elements, too.
		return strings.HasSuffix(e.Path, path) || strings.HasSuffix(e.Path, path+"[0]")
	}):
		t.Fatalf("seed %d: %s: the error is of %q, and %q cannot be kept: %v\n%s", seed, nameOf(side), e.Path, want.refused, err, of)
	}
	return false
}

// reads tells whether a tree was read again; it fails the test if that is wrong.
func (p *pair) reads(t *testing.T, seed uint64, side *transform.Side, body []byte, want *carried, got *tree, err error) bool {
	t.Helper()
	switch {
	case want.reread && err != nil:
		return false
	case want.reread:
		t.Fatalf("seed %d: %s: read, and it cannot be kept: %q", seed, nameOf(side), body)
	case err != nil:
		t.Fatalf("seed %d: %s: %q was written and cannot be read: %v", seed, nameOf(side), body, err)
	}
	if diff := cmp.Diff(want.tree.String(), got.String()); diff != "" {
		t.Fatalf("seed %d: %s: %q (-want +got):\n%s", seed, nameOf(side), body, diff)
	}
	return true
}
