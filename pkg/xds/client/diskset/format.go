package diskset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Set is what the file holds.
type Set struct {
	Node      string    // id of the node that it is for
	Server    string    // address of the control plane that it came from
	Saved     time.Time // when it was written
	Resources []Resource
}

// Resource is one resource with the control plane's name for its version.
type Resource struct {
	Name    string
	Version string
	Body    *anypb.Any
}

// ErrFormat is wrapped by every error about the content of a file.
var ErrFormat = errors.New("not a usable set of resources")

const (
	magic     = "dragoman-xds-set\n"
	format    = 1
	maxHeader = 4096 // bytes of the second line
)

// header is the second line.
type header struct {
	Format int       `json:"format"`
	Node   string    `json:"node"`
	Server string    `json:"server"`
	Saved  time.Time `json:"saved"`
	Length int       `json:"length"`
	SHA256 string    `json:"sha256"`
}

// Append encodes a set and appends it to b.
func Append(b []byte, s *Set) ([]byte, error) {
	body := &discoveryv3.DeltaDiscoveryResponse{}
	for i := range s.Resources {
		r := &s.Resources[i]
		body.Resources = append(body.Resources, &discoveryv3.Resource{Name: r.Name, Version: r.Version, Resource: r.Body})
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return b, fmt.Errorf("encoding the set: %w", err)
	}
	sum := sha256.Sum256(data)
	head, err := json.Marshal(header{
		Format: format, Node: s.Node, Server: s.Server, Saved: s.Saved.UTC(),
		Length: len(data), SHA256: hex.EncodeToString(sum[:]),
	})
	if err != nil {
		return b, fmt.Errorf("encoding the header: %w", err)
	}
	if len(head) > maxHeader {
		return b, fmt.Errorf("the header would have %d bytes, more than %d", len(head), maxHeader)
	}
	b = append(b, magic...)
	b = append(b, head...)
	b = append(b, '\n')
	return append(b, data...), nil
}

// Parse decodes what Append wrote. The error wraps ErrFormat.
func Parse(b []byte) (*Set, error) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrFormat, magic)
	}
	end := bytes.IndexByte(rest[:min(len(rest), maxHeader+1)], '\n')
	if end < 0 {
		return nil, fmt.Errorf("%w: its header is cut off", ErrFormat)
	}
	var h header
	if err := json.Unmarshal(rest[:end], &h); err != nil {
		return nil, fmt.Errorf("%w: its header: %w", ErrFormat, err)
	}
	data := rest[end+1:]
	if err := h.check(data); err != nil {
		return nil, err
	}
	var body discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s := &Set{Node: h.Node, Server: h.Server, Saved: h.Saved}
	for _, r := range body.GetResources() {
		if r.GetResource() == nil {
			return nil, fmt.Errorf("%w: %q is empty", ErrFormat, r.GetName())
		}
		s.Resources = append(s.Resources, Resource{Name: r.GetName(), Version: r.GetVersion(), Body: r.GetResource()})
	}
	return s, nil
}

// check compares the header with what follows it.
func (h *header) check(data []byte) error {
	sum := sha256.Sum256(data)
	switch {
	case h.Format != format:
		return fmt.Errorf("%w: it has format %d, this program knows %d", ErrFormat, h.Format, format)
	case h.Length != len(data):
		return fmt.Errorf("%w: %d bytes follow the header, which says %d", ErrFormat, len(data), h.Length)
	case h.SHA256 != hex.EncodeToString(sum[:]):
		return fmt.Errorf("%w: its checksum is wrong", ErrFormat)
	}
	return nil
}
