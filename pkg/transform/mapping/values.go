package mapping

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// give makes a field a string where it is absent, or in any case. What it is to be
// in is made, but for elements of lists.
func (s *State) give(g *given, always bool) error {
	root, err := s.giveAt(s.root, g.path, g.text, always)
	if err == nil {
		s.root = root
	}
	return err
}

func (s *State) giveAt(at value.ID, path Path, text string, always bool) (value.ID, error) {
	switch {
	case len(path) == 0 && (always || at == value.None):
		return s.doc.New(value.String, text), nil
	case len(path) == 0:
		return at, nil
	case s.doc.Full():
		return value.None, tooLarge()
	case path[0].Each:
		return s.giveEach(at, path, text, always)
	}
	name := path[0].Name
	at, err := s.object(at)
	if err != nil {
		return value.None, value.In(err, name)
	}
	old := s.doc.Get(at, name)
	if old == value.None && len(path) > 1 && path[1].Each {
		return at, nil // no list, no element
	}
	child, err := s.giveAt(old, path[1:], text, always)
	if err != nil {
		return value.None, value.In(err, name)
	}
	s.keep(at, old, child, name)
	return at, nil
}

func (s *State) giveEach(at value.ID, path Path, text string, always bool) (value.ID, error) {
	if !s.isList(at, path[0]) {
		return s.giveAt(at, path[1:], text, always)
	}
	i := 0
	for element := s.doc.At(at).First; element != value.None; i++ {
		next := s.doc.At(element).Next
		child, err := s.giveAt(element, path[1:], text, always)
		if err != nil {
			return value.None, value.At(err, i)
		}
		if child != element {
			s.doc.Replace(at, element, child)
		}
		element = next
	}
	return at, nil
}

// coerce makes what has a path of another type.
func (s *State) coerce(at value.ID, path Path, to Type) error {
	if len(path) == 0 {
		return coerce(s.doc.At(at), to)
	}
	if step := path[0]; !step.Each {
		if next := s.doc.Get(at, step.Name); next != value.None {
			return value.In(s.coerce(next, path[1:], to), step.Name)
		}
		return nil
	}
	if !s.isList(at, path[0]) {
		return s.coerce(at, path[1:], to)
	}
	i := 0
	for element := s.doc.At(at).First; element != value.None; element = s.doc.At(element).Next {
		if err := s.coerce(element, path[1:], to); err != nil {
			return value.At(err, i)
		}
		i++
	}
	return nil
}

func coerce(n *value.Node, to Type) error {
	switch n.Kind {
	case value.Null:
		return nil
	case value.List:
		return value.Inexpressible(format, fmt.Sprintf("a list cannot become a %s: [] after its name means its elements", to))
	case value.Object:
		return value.Inexpressible(format, fmt.Sprintf("an object cannot become a %s", to))
	}
	switch to {
	case String:
		toString(n)
		return nil
	case Number:
		return toNumber(n)
	case Boolean:
		return toBoolean(n)
	}
	return toBytes(n)
}

// toString is of a scalar.
func toString(n *value.Node) {
	switch n.Kind {
	case value.True:
		n.Text = "true"
	case value.False:
		n.Text = "false"
	case value.Bytes:
		n.Text = base64.StdEncoding.EncodeToString([]byte(n.Text))
	}
	n.Kind = value.String
}

func toNumber(n *value.Node) error {
	switch n.Kind {
	case value.Number:
		return nil
	case value.True:
		n.Kind, n.Text = value.Number, "1"
		return nil
	case value.False:
		n.Kind, n.Text = value.Number, "0"
		return nil
	case value.Bytes:
		return value.Inexpressible(format, "binary data cannot become a number")
	}
	text, ok := value.ParseNumber(n.Text)
	if !ok {
		return value.Inexpressible(format, "the text is not a number")
	}
	n.Kind, n.Text, n.Timestamp = value.Number, text, false
	return nil
}

func toBoolean(n *value.Node) error {
	switch n.Kind {
	case value.True, value.False:
		return nil
	case value.Bytes:
		return value.Inexpressible(format, "binary data cannot become a boolean")
	}
	switch strings.TrimSpace(n.Text) {
	case "true", "1":
		n.Kind = value.True
	case "false", "0":
		n.Kind = value.False
	default:
		return value.Inexpressible(format, "not a boolean: true, false, 1 or 0")
	}
	n.Text, n.Timestamp = "", false
	return nil
}

func toBytes(n *value.Node) error {
	if n.Kind == value.Bytes {
		return nil
	}
	if n.Kind != value.String {
		return value.Inexpressible(format, fmt.Sprintf("%s cannot become binary data", n.Kind))
	}
	data, err := base64.StdEncoding.DecodeString(n.Text)
	if err != nil {
		return value.Inexpressible(format, "the text is not base64")
	}
	n.Kind, n.Text, n.Timestamp = value.Bytes, string(data), false
	return nil
}

// makeList makes what has a path, in parent, a list.
func (s *State) makeList(parent, at value.ID, path Path) error {
	if s.doc.Full() {
		return tooLarge()
	}
	if len(path) == 0 {
		s.wrap(parent, at)
		return nil
	}
	step := path[0]
	if !step.Each {
		next := s.doc.Get(at, step.Name)
		if next != value.None {
			return s.makeList(at, next, path[1:])
		}
		if len(path) == 1 && s.doc.At(at).Kind == value.Object {
			list := s.doc.New(value.List, "")
			s.doc.At(list).Name = step.Name
			s.doc.Add(at, list)
		}
		return nil
	}
	if !s.isList(at, step) {
		return s.makeList(parent, at, path[1:])
	}
	for element := s.doc.At(at).First; element != value.None; {
		next := s.doc.At(element).Next
		if err := s.makeList(at, element, path[1:]); err != nil {
			return err
		}
		element = next
	}
	return nil
}

// wrap puts a list around a value that is none.
func (s *State) wrap(parent, at value.ID) {
	if s.doc.At(at).Kind == value.List {
		return
	}
	list := s.listOf(at)
	if parent == value.None {
		s.root = list
		return
	}
	s.doc.Replace(parent, at, list)
}

// each applies a map to each element of the list that has a path.
func (s *State) each(parent, at value.ID, path Path, prog *Program) error {
	if len(path) > 0 && !path[0].Each {
		if next := s.doc.Get(at, path[0].Name); next != value.None {
			return value.In(s.each(at, next, path[1:], prog), path[0].Name)
		}
		return nil
	}
	if s.doc.At(at).Kind != value.List {
		if len(path) > 0 {
			return s.each(parent, at, path[1:], prog)
		}
		return s.inner(parent, at, prog)
	}
	i := 0
	for element := s.doc.At(at).First; element != value.None; i++ {
		next := s.doc.At(element).Next
		var err error
		if len(path) > 0 {
			err = s.each(at, element, path[1:], prog)
		} else {
			err = s.inner(at, element, prog)
		}
		if err != nil {
			return value.At(err, i)
		}
		element = next
	}
	return nil
}

// inner applies a map to a value in parent.
func (s *State) inner(parent, at value.ID, prog *Program) error {
	root := s.root
	s.root = at
	err := prog.apply(s)
	made := s.root
	s.root = root
	if err != nil || made == at {
		return err
	}
	if parent == value.None {
		s.root = made
		return nil
	}
	s.doc.Replace(parent, at, made)
	return nil
}
