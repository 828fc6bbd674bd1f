package proxy

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"

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
type Files struct {
	paths []string

	mu    sync.Mutex
	named []string // by documents, guarded by mu
}

// NewFiles returns a source of the given files, and of the *.yaml, *.yml and
// *.json files in the given folders.
func NewFiles(paths []string) *Files { return &Files{paths: paths} }

// Paths implements Source.
func (f *Files) Paths() []string { return f.paths }

// Named are the files that the documents of the last Load have named.
func (f *Files) Named() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.named)
}

// beside reads a file that a document names.
func (f *Files) beside(document, name string, limit int) (path string, data []byte, err error) {
	if path = name; !filepath.IsAbs(name) {
		path = filepath.Join(filepath.Dir(document), name)
	}
	f.mu.Lock()
	f.named = append(f.named, path)
	f.mu.Unlock()
	data, err = readUpTo(path, int64(limit))
	return path, data, err
}

// Load implements Source.
func (f *Files) Load() ([]mesh.Object, error) {
	f.mu.Lock()
	f.named = nil
	f.mu.Unlock()
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
		some, wrong := mesh.Decode(name, data, mesh.WithFiles(f.beside))
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
