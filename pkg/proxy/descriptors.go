package proxy

import (
	"io"
	"os"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// descriptors looks into the files that documents name for descriptors of gRPC, and
// at the rules in them.
func (c *check) descriptors() {
	for _, obj := range c.objs {
		g := grpcOf(obj)
		if g == nil || g.Descriptors.File == "" {
			continue
		}
		name := g.Descriptors.File
		set, err := readUpTo(name, transcode.MaxDescriptors+1)
		if err != nil {
			c.unread(obj, name, err)
			continue
		}
		for _, err := range g.Check(set) {
			c.errs = append(c.errs, mesh.ErrorAtName([]mesh.Object{obj}, name, err.Error(), "in "+name))
		}
	}
}

// unread says of a file that an object names that it is not here, or what is wrong
// with it.
func (c *check) unread(obj mesh.Object, name string, err error) {
	if notHere(err) {
		c.report.Warnings = append(c.report.Warnings, mesh.ErrorAtName([]mesh.Object{obj}, name, reasonOf(err), needed))
		return
	}
	c.errs = append(c.errs, mesh.ErrorAtName([]mesh.Object{obj}, name, reasonOf(err), ""))
}

// grpcOf is what an object has between gRPC and JSON, nil for nothing.
func grpcOf(obj mesh.Object) *mesh.APIGRPC {
	switch o := obj.(type) {
	case *mesh.Adapter:
		if o.Spec.API != nil {
			return o.Spec.API.GRPC
		}
	case *mesh.Ambassador:
		return o.Spec.GRPC
	}
	return nil
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
