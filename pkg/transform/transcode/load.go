// Package transcode says which gRPC call an HTTP request means by the rules of
// google.api.http, and makes the messages of the one of what the other has: in
// both directions, without I/O.
package transcode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	_ "google.golang.org/genproto/googleapis/api/httpbody" // for sets that do not hold what they import
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// MaxDescriptors bounds a set of descriptors, in bytes.
const MaxDescriptors = 32 << 20

// ErrDescriptors is what every error of Load is.
var ErrDescriptors = errors.New("is not a usable set of descriptors")

// Load reads a FileDescriptorSet, as protoc --descriptor_set_out writes it.
// Files of google.protobuf, google.api and google.rpc need not be in it; others
// that are imported must, by --include_imports.
func Load(set []byte) (*protoregistry.Files, error) {
	if len(set) > MaxDescriptors {
		return nil, fmt.Errorf("%w: it has %d bytes, of %d at most", ErrDescriptors, len(set), MaxDescriptors)
	}
	var p descriptorpb.FileDescriptorSet
	if proto.Unmarshal(set, &p) != nil || len(p.GetFile()) == 0 {
		return nil, fmt.Errorf("%w: it is not what protoc --include_imports --descriptor_set_out writes", ErrDescriptors)
	}
	return FromFiles(p.GetFile())
}

// FromFiles is Load for files that are decoded already.
func FromFiles(list []*descriptorpb.FileDescriptorProto) (*protoregistry.Files, error) {
	there := make(map[string]bool, len(list))
	for _, f := range list {
		if there[f.GetName()] {
			return nil, fmt.Errorf("%w: the file %q is there twice", ErrDescriptors, f.GetName())
		}
		there[f.GetName()] = true
	}
	list = slices.Clone(list)
	for i := 0; i < len(list); i++ {
		for _, name := range list[i].GetDependency() {
			if there[name] {
				continue
			}
			f, err := known(name)
			if err != nil {
				return nil, fmt.Errorf("%w: %q imports %q, which is not there; write it by protoc --include_imports", ErrDescriptors, list[i].GetName(), name)
			}
			there[name] = true
			list = append(list, f)
		}
	}
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: list})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	return files, nil
}

// known gives a file that everybody has.
func known(name string) (*descriptorpb.FileDescriptorProto, error) {
	if !strings.HasPrefix(name, "google/") {
		return nil, protoregistry.NotFound
	}
	f, err := protoregistry.GlobalFiles.FindFileByPath(name)
	if err != nil {
		return nil, err
	}
	return protodesc.ToFileDescriptorProto(f), nil
}

// Known says that a file is one that everybody has.
func Known(name string) bool {
	_, err := known(name)
	return err == nil
}

// Services lists the services of files, sorted.
func Services(files *protoregistry.Files) []string {
	var names []string
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			names = append(names, string(f.Services().Get(i).FullName()))
		}
		return true
	})
	slices.Sort(names)
	return names
}
