package mapping

import (
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// format is the name that errors have.
const format = "map"

// State is what applying a map needs for a while. The zero value is ready; it
// may be used again, by one goroutine at a time.
type State struct {
	doc    *value.Doc
	root   value.ID
	found  []found
	index  []int32  // of the elements that each of found was in
	at     []int32  // where find is
	cursor []cursor // of put, by the step of the path
	// emptied are the objects and lists that moves took the last value out of.
	emptied []value.ID
}

// found is a field that is to be moved.
type found struct {
	node, parent value.ID
	rule         int32
	index        int32 // of its indexes in State.index
}

// Apply changes the tree below root, and returns the new root. The error, a
// value.Error, is of a value that cannot be what the map says.
func (p *Program) Apply(s *State, doc *value.Doc, root value.ID) (value.ID, error) {
	s.doc, s.root = doc, root
	err := p.apply(s)
	s.doc = nil
	return s.root, err
}

// apply changes what is below the root of s.
func (p *Program) apply(s *State) error {
	for _, path := range p.drop {
		s.drop(path)
	}
	if len(p.move) > 0 {
		if err := p.moveAll(s); err != nil {
			return err
		}
	}
	for i := range p.defaults {
		if err := s.give(&p.defaults[i], false); err != nil {
			return err
		}
	}
	for i := range p.constant {
		if err := s.give(&p.constant[i], true); err != nil {
			return err
		}
	}
	for _, c := range p.coerce {
		if err := s.coerce(s.root, c.path, c.to); err != nil {
			return err
		}
	}
	for _, path := range p.list {
		root, err := s.makeList(s.root, path)
		if err != nil {
			return err
		}
		s.root = root
	}
	for _, e := range p.each {
		root, err := s.each(s.root, e.path, e.prog)
		if err != nil {
			return err
		}
		s.root = root
	}
	if s.doc.Full() {
		return tooLarge()
	}
	return nil
}

func tooLarge() error { return value.TooLarge(format, "more values than a document may have") }

// isList tells whether a step stands for several values.
func (s *State) isList(at value.ID, step Step) bool {
	return step.Each && s.doc.At(at).Kind == value.List
}

// drop unlinks fields. The whole body becomes null.
func (s *State) drop(path Path) {
	s.found = s.found[:0]
	s.find(0, value.None, s.root, path)
	for i := range s.found {
		f := &s.found[i]
		if f.parent == value.None {
			s.root = s.doc.New(value.Null, "")
			continue
		}
		s.doc.Unlink(f.parent, f.node)
	}
	s.reset()
}

func (s *State) reset() {
	s.found, s.index, s.at, s.emptied = s.found[:0], s.index[:0], s.at[:0], s.emptied[:0]
}

// find appends what has a path to found.
func (s *State) find(rule int32, parent, at value.ID, path Path) {
	if len(path) == 0 {
		s.found = append(s.found, found{node: at, parent: parent, rule: rule, index: int32(len(s.index))})
		s.index = append(s.index, s.at...)
		return
	}
	step := path[0]
	if !step.Each {
		if next := s.doc.Get(at, step.Name); next != value.None {
			s.find(rule, at, next, path[1:])
		}
		return
	}
	s.at = append(s.at, 0)
	last := len(s.at) - 1
	if !s.isList(at, step) {
		s.find(rule, parent, at, path[1:])
	} else {
		for next := s.doc.At(at).First; next != value.None; next = s.doc.At(next).Next {
			s.find(rule, at, next, path[1:])
			s.at[last]++
		}
	}
	s.at = s.at[:last]
}

// moveAll finds all fields first, so that none is moved twice.
func (p *Program) moveAll(s *State) error {
	s.reset()
	for i := range p.move {
		s.find(int32(i), value.None, s.root, p.move[i].from)
	}
	for i := range s.found {
		f := &s.found[i]
		switch {
		case p.move[f.rule].inPlace:
			s.doc.At(f.node).Name = "" // nobody finds it under its old name
		case f.parent == value.None:
			s.root = s.doc.New(value.Object, "")
		default:
			s.doc.Unlink(f.parent, f.node)
			if s.doc.At(f.parent).First == value.None && len(p.move[f.rule].from) > 1 {
				s.emptied = append(s.emptied, f.parent)
			}
		}
	}
	for i := range s.found {
		if f := &s.found[i]; p.move[f.rule].inPlace {
			to := p.move[f.rule].to
			s.rename(f, to[len(to)-1].Name)
		}
	}
	rule := int32(-1)
	for i := range s.found {
		f := &s.found[i]
		m := &p.move[f.rule]
		if m.inPlace {
			continue
		}
		if f.rule != rule {
			rule, s.cursor = f.rule, s.cursor[:0]
		}
		root, err := s.put(s.root, f.node, m.to, s.index[f.index:int(f.index)+m.lists])
		if err != nil {
			return err
		}
		s.root = root
	}
	if len(s.emptied) > 0 {
		p.prune(s)
	}
	s.reset()
	return nil
}

func (s *State) rename(f *found, name string) {
	if other := s.doc.Get(f.parent, name); other != value.None {
		s.doc.Unlink(f.parent, other)
	}
	s.doc.At(f.node).Name = name
}
