package mapping

import "github.com/dragoman-mesh/dragoman/pkg/transform/value"

// Give makes what has a path below root a string, and returns the new root. What
// it is in is made.
func (s *State) Give(doc *value.Doc, root value.ID, path Path, text string) (value.ID, error) {
	s.doc, s.root = doc, root
	err := s.give(&given{path: path, text: text}, true)
	s.doc = nil
	return s.root, err
}
