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
		g, kind, at := grpcOf(obj)
		if g == nil || g.Descriptors.File == "" {
			continue
		}
		set, err := readUpTo(g.Descriptors.File, transcode.MaxDescriptors+1)
		found := []error{err}
		if err == nil {
			found = g.Check(set)
		}
		for _, err := range found {
			errs = append(errs, fmt.Errorf("%s %s: %s.descriptors.file: %w", kind, obj.Key(), at, err))
		}
	}
	return errs
}

// grpcOf is what an object has between gRPC and JSON, nil for nothing.
func grpcOf(obj mesh.Object) (g *mesh.APIGRPC, kind, at string) {
	switch o := obj.(type) {
	case *mesh.Adapter:
		if o.Spec.API != nil {
			return o.Spec.API.GRPC, mesh.KindAdapter, "spec.api.grpc"
		}
	case *mesh.Ambassador:
		return o.Spec.GRPC, mesh.KindAmbassador, "spec.grpc"
	}
	return nil, "", ""
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
