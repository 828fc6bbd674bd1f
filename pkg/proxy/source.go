package proxy

import (
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
)

// Source is where documents come from.
type Source interface {
	// Load reads all documents anew. The error is everything that is wrong.
	Load() ([]mesh.Object, error)
	// Paths are the files and folders whose change is a reason to load again.
	Paths() []string
}

// Files is a Source of files and folders.
type Files struct{ paths []string }

// NewFiles returns a source of the given files, and of the *.yaml, *.yml and
// *.json files in the given folders.
func NewFiles(paths []string) *Files { return &Files{paths: paths} }

// Paths implements Source.
func (f *Files) Paths() []string { return f.paths }

// Load implements Source.
func (f *Files) Load() ([]mesh.Object, error) {
	names, err := watch.Expand(f.paths)
	errs := []error{err}
	var objs []mesh.Object
	var found mesh.Errors
	for _, name := range names {
		data, err := watch.Read(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		some, wrong := mesh.Decode(name, data)
		objs = append(objs, some...)
		found = append(found, wrong...)
	}
	found = append(found, mesh.Validate(objs)...)
	errs = append(errs, found.Err())
	return objs, errors.Join(errs...)
}

// Memory is a Source of objects that come from no file.
type Memory []mesh.Object

// Paths implements Source.
func (m Memory) Paths() []string { return nil }

// Load implements Source.
func (m Memory) Load() ([]mesh.Object, error) { return m, mesh.Validate(m).Err() }
