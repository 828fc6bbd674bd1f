package mapping

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// prune unlinks what moves have left empty, and have put nothing into: nobody who
// takes fields out of an object wants to keep it without them.
func (p *Program) prune(s *State) {
	slices.Sort(s.emptied)
	for i := range p.move {
		if m := &p.move[i]; !m.inPlace && len(m.from) > 1 {
			s.pruneAlong(s.root, m.from[:len(m.from)-1])
		}
	}
}

// pruneAlong tells whether moves have left nothing of at, and unlinks what of a path
// within it they have left nothing of. Elements of a list keep their places, and go
// with the list if there is nothing left of any.
func (s *State) pruneAlong(at value.ID, path Path) (empty bool) {
	if len(path) == 0 {
		_, empty = slices.BinarySearch(s.emptied, at)
		return empty && s.doc.At(at).First == value.None
	}
	step := path[0]
	if !step.Each {
		next := s.doc.Get(at, step.Name)
		if next == value.None || !s.pruneAlong(next, path[1:]) {
			return false
		}
		s.doc.Unlink(at, next)
		return s.doc.At(at).First == value.None
	}
	if !s.isList(at, step) {
		return s.pruneAlong(at, path[1:])
	}
	next := s.doc.At(at).First
	empty = next != value.None
	for ; next != value.None; next = s.doc.At(next).Next {
		empty = s.pruneAlong(next, path[1:]) && empty
	}
	return empty
}
