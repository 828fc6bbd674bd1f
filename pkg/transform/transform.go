// Package transform makes bodies of one format of bodies of another, by a map of
// their fields or a program of jq. README.md says what becomes of what.
//
// It is pure: bytes in, bytes out. Every error of a body is a *value.Error, which
// says where and why, and never what a value is; errors.Is tells what to answer:
//
//	value.ErrMalformed     the body is not what it should be: 400
//	value.ErrTooLarge      it is beyond a limit: 413
//	value.ErrInexpressible what it says cannot be said in the other format: 422
//
// of the body of a client; 502 if the body was an app's.
package transform

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Program is a compiled Spec. It is read-only, and safe for concurrent use.
type Program struct {
	from, to Side
	reads    codec
	writes   codec
	given    []mapping.Path
	mapping  *mapping.Program
	jq       *jq.Program
	limits   value.Limits
	// scratch has what applications need for a while; the pool is the only part
	// that changes.
	scratch *sync.Pool
}

// maxKept is how many nodes the tree of an idle scratch may hold room for: about
// a megabyte.
const maxKept = 16 << 10

type scratch struct {
	doc   value.Doc
	state mapping.State
}

// Compile checks a Spec. What the formats cannot keep is refused here where it
// can be known without a body, and by Apply where it can't. Its errors name the
// field: "map: move.a.b: ...".
func Compile(spec *Spec) (*Program, error) {
	p := &Program{
		from:    spec.From,
		to:      spec.To,
		limits:  spec.Limits.OrDefault(),
		scratch: &sync.Pool{New: func() any { return new(scratch) }},
	}
	var errs []error
	fail := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	var err error
	p.reads, err = newCodec(&spec.From)
	fail("from", err)
	p.writes, err = newCodec(&spec.To)
	fail("to", err)
	p.given, err = givenPaths(spec.Given)
	fail("given", err)
	if spec.Map != nil {
		p.mapping, err = mapping.Compile(spec.Map)
		fail("map", err)
	}
	if spec.JQ != "" {
		p.jq, err = jq.Compile(spec.JQ)
		fail("jq", err)
	}
	if spec.Map != nil && spec.JQ != "" {
		fail("jq", errors.New("a program takes the place of a map"))
	}
	if len(errs) == 0 {
		fail("to", p.check())
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// Apply appends to dst what src becomes. contentType is the header that came
// with src: it says the charset and, of multipart, the boundary; where it is
// empty, the format's default counts. The context ends a program of jq.
//
// dst keeps what it has if there is an error.
func (p *Program) Apply(ctx context.Context, dst, src []byte, contentType string) ([]byte, error) {
	return p.ApplyWith(ctx, dst, src, contentType, nil)
}

// ApplyWith is Apply with texts that the old body is given.
func (p *Program) ApplyWith(ctx context.Context, dst, src []byte, contentType string, given []Given) ([]byte, error) {
	if len(src) > p.limits.Bytes {
		return dst, value.TooLarge(string(p.from.Format), "more than "+strconv.Itoa(p.limits.Bytes)+" bytes")
	}
	s, _ := p.scratch.Get().(*scratch)
	defer p.release(s)
	s.doc.Reset(p.limits.Nodes)
	root, err := p.reads.decode(&s.doc, src, contentType, &p.limits)
	if err != nil {
		return dst, err
	}
	root, err = p.give(s, root, given)
	if err != nil {
		return dst, err
	}
	root, err = p.change(ctx, s, root)
	if err != nil {
		return dst, err
	}
	return p.write(dst, &s.doc, root)
}

func (p *Program) release(s *scratch) {
	if s.doc.Cap() > maxKept {
		return
	}
	s.doc.Reset(0)
	p.scratch.Put(s)
}

// write appends a tree as the new format has it.
func (p *Program) write(dst []byte, doc *value.Doc, root value.ID) ([]byte, error) {
	out, err := p.writes.append(dst, doc, root, &p.limits)
	if err == nil && len(out)-len(dst) > p.limits.Output {
		err = value.TooLarge(string(p.to.Format), "it would become more than "+strconv.Itoa(p.limits.Output)+" bytes")
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// change applies the map or the program.
func (p *Program) change(ctx context.Context, s *scratch, root value.ID) (value.ID, error) {
	switch {
	case p.jq != nil:
		return p.runJQ(ctx, &s.doc, root)
	case p.mapping == nil:
		return root, nil
	case !p.from.Format.records():
		return p.mapping.Apply(&s.state, &s.doc, root)
	}
	return p.eachRecord(s, root)
}

// eachRecord applies the map to each element of the list that root is.
func (p *Program) eachRecord(s *scratch, root value.ID) (value.ID, error) {
	err := s.doc.Update(root, func(i int, at value.ID) (value.ID, error) {
		made, err := p.mapping.Apply(&s.state, &s.doc, at)
		return made, value.At(err, i)
	})
	return root, err
}
