package transform

import (
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Given is a text that a body is given.
type Given struct {
	Path int // index of Spec.Given
	Text string
}

func givenPaths(list []string) ([]mapping.Path, error) {
	var paths []mapping.Path
	for _, text := range list {
		path, err := mapping.ParsePath(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		if len(path) == 0 || path.Lists() > 0 {
			return nil, fmt.Errorf("%s: a field of an object is needed, as in order.id", text)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// give puts texts into the tree below root, and returns the new root.
func (p *Program) give(s *scratch, root value.ID, given []Given) (value.ID, error) {
	for _, g := range given {
		var err error
		if root, err = s.state.Give(&s.doc, root, p.given[g.Path], g.Text); err != nil {
			return value.None, err
		}
	}
	return root, nil
}
