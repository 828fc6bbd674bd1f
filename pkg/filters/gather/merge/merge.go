// Package merge makes one JSON document of several.
package merge

import (
	"context"
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrEmpty says that nobody had anything, and that what is merged has no form
// for it.
var ErrEmpty = errors.New("no server has anything")

// Answer is what one leaf has said.
type Answer struct {
	Leaf   string
	Status int
	Body   []byte // JSON
}

// Dropped is a leaf whose answer could not be used.
type Dropped struct{ Leaf, Reason string }

// merger has all answers as nodes of one document.
type merger struct {
	how    *resource.GatherMerge
	doc    value.Doc
	limits value.Limits
	parts  []part
	gone   []Dropped
}

// part is an answer that can be used.
type part struct {
	*Answer
	root value.ID
	list value.ID // that Concat is about
}

// All makes one document of the answers, in their order, and says of whom it has
// nothing since what was said could not be used. An error says why there is no
// document; it is ErrEmpty where there was nothing to be merged.
func All(ctx context.Context, how *resource.GatherMerge, answers []Answer) ([]byte, []Dropped, error) {
	m := &merger{how: how, limits: value.Limits{}.OrDefault()}
	m.doc.Reset(m.limits.Nodes * max(len(answers), 1))
	m.decode(answers)
	if how.Kind == resource.MergeJQ {
		out, err := m.run(ctx)
		return out, m.gone, err
	}
	root, err := m.merge()
	if err != nil {
		return nil, m.gone, err
	}
	return json.Append(nil, &m.doc, root), m.gone, nil
}

// decode reads the answers.
func (m *merger) decode(answers []Answer) {
	for i := range answers {
		a := &answers[i]
		before := m.doc.Len()
		p := part{Answer: a}
		var err error
		if p.root, err = json.Decode(&m.doc, string(a.Body), &m.limits); err == nil {
			p.list, err = m.suits(p.root)
		}
		if err != nil {
			m.doc.Cut(before)
			m.gone = append(m.gone, Dropped{a.Leaf, err.Error()})
			continue
		}
		m.parts = append(m.parts, p)
	}
}

// suits checks that an answer is of the kind that is merged.
func (m *merger) suits(root value.ID) (list value.ID, err error) {
	switch m.how.Kind {
	case resource.MergeConcat:
		return m.find(root)
	case resource.MergeObjects:
		if n := m.doc.At(root); n.Kind != value.Object {
			return value.None, errors.New("is " + n.Kind.String() + ", and objects are merged")
		}
	case resource.MergeSum:
		if n := m.doc.At(root); n.Kind != value.Object && n.Kind != value.Number {
			return value.None, errors.New("is " + n.Kind.String() + ", and numbers and objects are added up")
		}
	case resource.MergeJQ:
	}
	return value.None, nil
}

func (m *merger) merge() (value.ID, error) {
	if m.how.Kind == resource.MergeConcat {
		return m.concat(), nil
	}
	if len(m.parts) == 0 {
		return value.None, ErrEmpty
	}
	root := m.parts[0].root
	for _, p := range m.parts[1:] {
		if m.how.Kind == resource.MergeObjects {
			m.unite(root, p.root)
			continue
		}
		sum, err := m.add(root, p.root)
		if err != nil {
			m.gone = append(m.gone, Dropped{p.Leaf, err.Error()})
			continue
		}
		root = sum
	}
	return root, nil
}

// members finds an object's members by their names.
func (m *merger) members(object value.ID) map[string]value.ID {
	names := make(map[string]value.ID)
	for at := m.doc.At(object).First; at != value.None; at = m.doc.At(at).Next {
		names[m.doc.At(at).Name] = at
	}
	return names
}

// unite adds what from has to the object into.
func (m *merger) unite(into, from value.ID) {
	have := m.members(into)
	for at := m.doc.At(from).First; at != value.None; {
		next := m.doc.At(at).Next
		mine, there := have[m.doc.At(at).Name]
		switch {
		case !there:
			m.move(into, at)
		case m.doc.At(mine).Kind == value.Object && m.doc.At(at).Kind == value.Object:
			m.unite(mine, at)
		}
		at = next
	}
}

// move puts a node at the end of another parent; the old one is not used any
// more.
func (m *merger) move(parent, child value.ID) {
	m.doc.At(child).Next = value.None
	m.doc.Add(parent, child)
}
