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
	err := s.doc.Update(at, func(i int, element value.ID) (value.ID, error) {
		made, err := s.giveAt(element, path[1:], text, always)
		return made, value.At(err, i)
	})
	return at, err
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

// makeList makes what has a path, from at on, a list, and returns what is there
// instead of at.
func (s *State) makeList(at value.ID, path Path) (value.ID, error) {
	switch {
	case s.doc.Full():
		return value.None, tooLarge()
	case len(path) == 0 && s.doc.At(at).Kind == value.List:
		return at, nil
	case len(path) == 0:
		return s.listOf(at), nil
	case !path[0].Each:
		return at, s.makeMember(at, path)
	case !s.isList(at, path[0]):
		return s.makeList(at, path[1:])
	}
	return at, s.doc.Update(at, func(_ int, element value.ID) (value.ID, error) {
		return s.makeList(element, path[1:])
	})
}

// makeMember is makeList for a path that begins with the name of a member. One that
// is not there becomes a list without elements.
func (s *State) makeMember(at value.ID, path Path) error {
	name := path[0].Name
	old := s.doc.Get(at, name)
	if old == value.None {
		if len(path) == 1 && s.doc.At(at).Kind == value.Object {
			s.keep(at, value.None, s.doc.New(value.List, ""), name)
		}
		return nil
	}
	made, err := s.makeList(old, path[1:])
	if err == nil {
		s.keep(at, old, made, name)
	}
	return err
}

// each applies a map to each element of the list that has a path, from at on, and
// returns what is there instead of at.
func (s *State) each(at value.ID, path Path, prog *Program) (value.ID, error) {
	switch {
	case len(path) > 0 && !path[0].Each:
		return at, s.eachMember(at, path, prog)
	case s.doc.At(at).Kind == value.List:
		return at, s.doc.Update(at, func(i int, element value.ID) (made value.ID, err error) {
			if len(path) > 0 {
				made, err = s.each(element, path[1:], prog)
			} else {
				made, err = s.inner(element, prog)
			}
			return made, value.At(err, i)
		})
	case len(path) > 0:
		return s.each(at, path[1:], prog)
	default:
		return s.inner(at, prog)
	}
}

// eachMember is each for a path that begins with the name of a member.
func (s *State) eachMember(at value.ID, path Path, prog *Program) error {
	member := s.doc.Get(at, path[0].Name)
	if member == value.None {
		return nil
	}
	return s.doc.Update(at, func(_ int, one value.ID) (value.ID, error) {
		if one != member {
			return one, nil
		}
		made, err := s.each(one, path[1:], prog)
		return made, value.In(err, path[0].Name)
	})
}

// inner applies a map to a value that is in nothing, and returns what becomes of it.
func (s *State) inner(at value.ID, prog *Program) (value.ID, error) {
	root := s.root
	s.root = at
	err := prog.apply(s)
	made := s.root
	s.root = root
	return made, err
}
