package mapping

import (
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// cursor remembers an element of a list, since the one after it is often asked
// for next.
type cursor struct {
	list, element value.ID
	before        value.ID // the element before it; None: it is the first
	index         int32
}

// put puts node at the path within at, which may be None, makes what is missing
// on the way, and returns what is there instead of at.
func (s *State) put(at, node value.ID, path Path, index []int32) (value.ID, error) {
	if len(path) == 0 {
		return node, nil
	}
	if s.doc.Full() {
		return value.None, tooLarge()
	}
	if path[0].Each {
		return s.putElement(at, node, path, index)
	}
	name := path[0].Name
	at, err := s.object(at)
	if err != nil {
		return value.None, value.In(err, name)
	}
	old := s.doc.Get(at, name)
	child, err := s.put(old, node, path[1:], index)
	if err != nil {
		return value.None, value.In(err, name)
	}
	s.keep(at, old, child, name)
	return at, nil
}

// putElement puts node at the path whose first step is each element of a list.
func (s *State) putElement(at, node value.ID, path Path, index []int32) (value.ID, error) {
	i := index[0]
	if at == value.None {
		at = s.doc.New(value.List, "")
	} else if s.doc.At(at).Kind != value.List {
		at = s.listOf(at)
	}
	c := s.element(at, i, len(index), len(path) > 1)
	child, err := s.put(c.element, node, path[1:], index[1:])
	if err != nil {
		return value.None, value.At(err, int(i))
	}
	switch {
	case c.element == value.None:
		s.doc.At(child).Name = ""
		s.doc.Add(at, child)
	case child != c.element:
		s.doc.ReplaceAfter(at, c.before, c.element, child)
	}
	s.cursor[len(index)] = cursor{list: at, element: child, before: c.before, index: i}
	return at, nil
}

// keep has child, which was made of old, in the place of that, a member of the
// object at; a new one where there was none.
func (s *State) keep(at, old, child value.ID, name string) {
	switch {
	case old == value.None:
		s.doc.At(child).Name = name
		s.doc.Add(at, child)
	case child != old:
		s.doc.Replace(at, old, child)
	}
}

// element finds the element i of a list, None if it has fewer. If pad is true, there
// are as many as come before it. lists is how many [] are to come.
func (s *State) element(list value.ID, i int32, lists int, pad bool) cursor {
	for len(s.cursor) <= lists {
		s.cursor = append(s.cursor, cursor{})
	}
	c := s.cursor[lists]
	if c.list != list || c.index > i {
		c = cursor{list: list, element: s.doc.At(list).First}
	}
	for ; c.index < i && c.element != value.None; c.index++ {
		c.before, c.element = c.element, s.doc.At(c.element).Next
	}
	if c.element != value.None {
		return c
	}
	for ; pad && c.index < i && !s.doc.Full(); c.index++ { // which is how many there are
		s.doc.Add(list, s.doc.New(value.Object, ""))
	}
	c.before = s.doc.At(list).Last
	return c
}

// object returns an object to put members into: at, or a new one where nothing
// is there, null, or the empty string that an empty element of XML is.
func (s *State) object(at value.ID) (value.ID, error) {
	if at == value.None {
		return s.doc.New(value.Object, ""), nil
	}
	n := s.doc.At(at)
	switch {
	case n.Kind == value.Object:
		return at, nil
	case n.Kind == value.Null, n.Kind == value.String && n.Text == "":
		n.Kind, n.Text = value.Object, ""
		return at, nil
	}
	return value.None, value.Inexpressible(format, fmt.Sprintf("what it is to be in is %s and can have no fields", n.Kind))
}

// listOf makes a list of what is at. at itself stays linked until the list
// replaces it: a copy is in the list.
func (s *State) listOf(at value.ID) value.ID {
	list := s.doc.New(value.List, "")
	element := s.doc.New(value.Null, "")
	n := *s.doc.At(at)
	n.Name, n.Next = "", value.None
	*s.doc.At(element) = n
	s.doc.Add(list, element)
	return list
}
