package server

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	// maxNameBytes bounds a resource's name.
	maxNameBytes = 1024
	// maxTypeBytes bounds a type URL.
	maxTypeBytes = 256
	// maxResourceBytes bounds a resource: gRPC clients take messages of 4 MiB
	// unless told otherwise.
	maxResourceBytes = 4<<20 - 4<<10
)

// ErrResource is wrapped by the errors of [NewResource].
var ErrResource = errors.New("invalid resource")

// Key is a resource's identity inside the server. Usually the ID is the
// resource's name; where one name has several variants, each has its own ID, and
// a node's [Grant] says which of them it gets.
type Key struct {
	TypeURL string
	ID      string
}

func (k Key) String() string { return k.TypeURL + " " + k.ID }

// Change is a new version of one resource, or its end.
type Change struct {
	Key Key
	// Resource is the new version. Nil: it is gone.
	Resource *Resource
	// At is when the cause was observed; convergence is counted from there. Zero:
	// nobody counts.
	At time.Time
}

// Resource is one version of a resource: immutable, marshalled, with the hash of
// its content as its version.
type Resource struct {
	typeURL string
	name    string
	version string
	// hash is never 0.
	hash uint64
	// warms are the endpoints that a cluster waits for before it is used. Empty: none.
	warms string
	// value is the message; it lies within frame.
	value []byte
	// frame is the resource as a field of a DeltaDiscoveryResponse, tag and
	// length included: responses are made of these without copying.
	frame mem.SliceBuffer
	// buffer is frame, converted once.
	buffer mem.Buffer
}

// NewResource marshals one version of a resource. The version is a hash of the
// deterministic encoding: the same content has the same version on every
// replica. Errors wrap [ErrResource].
func NewResource(typeURL, name string, m proto.Message) (*Resource, error) {
	switch {
	case typeURL == "" || len(typeURL) > maxTypeBytes:
		return nil, fmt.Errorf("%w %q: the type URL has %d bytes; 1 to %d are possible", ErrResource, name, len(typeURL), maxTypeBytes)
	case name == "" || len(name) > maxNameBytes:
		return nil, fmt.Errorf("%w: a name of type %s has %d bytes; 1 to %d are possible", ErrResource, typeURL, len(name), maxNameBytes)
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w %q of type %s: marshalling: %w", ErrResource, name, typeURL, err)
	}
	if len(value) > maxResourceBytes {
		return nil, fmt.Errorf("%w %q of type %s: %d bytes are more than the %d that gRPC clients take; split it up",
			ErrResource, name, typeURL, len(value), maxResourceBytes)
	}
	sum := sha256.Sum256(value)
	r := &Resource{typeURL: typeURL, name: name, hash: max(binary.BigEndian.Uint64(sum[:8]), 1)}
	r.version = strconv.FormatUint(r.hash, 16)
	if c, ok := m.(*clusterv3.Cluster); ok && c.GetType() == clusterv3.Cluster_EDS {
		r.warms = cmp.Or(c.GetEdsClusterConfig().GetServiceName(), c.GetName())
	}
	r.encode(value)
	return r, nil
}

// TypeURL is the resource's type.
func (r *Resource) TypeURL() string { return r.typeURL }

// Name is what the resource is called on the wire.
func (r *Resource) Name() string { return r.name }

// Version is a hash of the resource's content.
func (r *Resource) Version() string { return r.version }

// Size is the number of bytes of the marshalled message.
func (r *Resource) Size() int { return len(r.value) }

// Value is the marshalled message. It must not be changed.
func (r *Resource) Value() []byte { return r.value }

// Field numbers of envoy/service/discovery/v3/discovery.proto and of Any.
const (
	fieldResponseResources = 2
	fieldResponseTypeURL   = 4
	fieldResponseNonce     = 5
	fieldResponseRemoved   = 6

	fieldResourceVersion = 1
	fieldResourceBody    = 2
	fieldResourceName    = 3

	fieldAnyTypeURL = 1
	fieldAnyValue   = 2
)

func (r *Resource) encode(value []byte) {
	body := sizeField(fieldAnyTypeURL, len(r.typeURL)) + sizeField(fieldAnyValue, len(value))
	inner := sizeField(fieldResourceName, len(r.name)) + sizeField(fieldResourceVersion, len(r.version)) + sizeField(fieldResourceBody, body)
	b := make([]byte, 0, sizeField(fieldResponseResources, inner))

	b = protowire.AppendTag(b, fieldResponseResources, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(inner))
	b = appendString(b, fieldResourceName, r.name)
	b = appendString(b, fieldResourceVersion, r.version)
	b = protowire.AppendTag(b, fieldResourceBody, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(body))
	b = appendString(b, fieldAnyTypeURL, r.typeURL)
	b = protowire.AppendTag(b, fieldAnyValue, protowire.BytesType)
	b = protowire.AppendBytes(b, value)

	r.frame = b
	r.buffer = r.frame
	r.value = b[len(b)-len(value):]
}

func sizeField(number protowire.Number, length int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(length)
}

func appendString(b []byte, number protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendString(b, s)
}
