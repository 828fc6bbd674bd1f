package proxy

import (
	"fmt"
	"io"
	"os"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// descriptorErrors looks into the files that documents name for descriptors of
// gRPC, and at the rules in them.
func descriptorErrors(objs []mesh.Object) []error {
	var errs []error
	for _, obj := range objs {
		a, ok := obj.(*mesh.Adapter)
		if !ok || a.Spec.API == nil || a.Spec.API.GRPC == nil || a.Spec.API.GRPC.Descriptors.File == "" {
			continue
		}
		g := a.Spec.API.GRPC
		set, err := readUpTo(g.Descriptors.File, transcode.MaxDescriptors+1)
		found := []error{err}
		if err == nil {
			found = g.Check(set)
		}
		for _, err := range found {
			errs = append(errs, fmt.Errorf("%s %s: spec.api.grpc.descriptors.file: %w", mesh.KindAdapter, a.Key(), err))
		}
	}
	return errs
}

// readUpTo reads a file, or so many bytes of it.
func readUpTo(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}
