package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"

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

// maxDocument bounds one file, in bytes.
const maxDocument = 16 << 20

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
		data, err := readDocument(name)
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

func readDocument(name string) ([]byte, error) {
	f, err := os.Open(name) // the name is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxDocument)
	}
	return data, err
}

// Memory is a Source of objects that come from no file.
type Memory []mesh.Object

// Paths implements Source.
func (m Memory) Paths() []string { return nil }

// Load implements Source.
func (m Memory) Load() ([]mesh.Object, error) { return m, mesh.Validate(m).Err() }
