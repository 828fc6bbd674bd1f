package server

import (
	"errors"
	"fmt"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// codec is gRPC's for protobuf, but for the two messages of delta ADS: responses
// come encoded, and requests are decoded into what the server needs of them.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*response); ok {
		return m.data, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(*deltaRequest); ok {
		buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buf.Free()
		return r.decode(buf.ReadOnlyData())
	}
	return c.CodecV2.Unmarshal(data, v)
}

// deltaRequest is a DeltaDiscoveryRequest. Its strings share one allocation: who
// keeps one for long clones it.
type deltaRequest struct {
	// maxNames bounds names and versions; further ones are only counted.
	maxNames int

	node        *corev3.Node
	typeURL     string
	subscribe   []string
	unsubscribe []string
	versions    map[string]string
	nonce       string
	failure     *status.Status
	// names is how many names and versions there were.
	names int
	// longest is the length of the longest name.
	longest int
}

const (
	fieldRequestNode        = 1
	fieldRequestTypeURL     = 2
	fieldRequestSubscribe   = 3
	fieldRequestUnsubscribe = 4
	fieldRequestVersions    = 5
	fieldRequestNonce       = 6
	fieldRequestError       = 7

	fieldMapKey   = 1
	fieldMapValue = 2
)

var errRequest = errors.New("malformed DeltaDiscoveryRequest")

// decode reads a request. Fields that the server has no use for are passed over.
func (r *deltaRequest) decode(b []byte) error {
	text := string(b)
	return eachField(b, func(number protowire.Number, value []byte, end int) error {
		return r.field(number, value, text[end-len(value):end])
	})
}

// eachField calls f for every field that has a length; end is where its value
// ends in b.
func eachField(b []byte, f func(number protowire.Number, value []byte, end int) error) error {
	for at := 0; at < len(b); {
		number, kind, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return fmt.Errorf("%w: %w", errRequest, protowire.ParseError(n))
		}
		at += n
		if kind != protowire.BytesType {
			n = protowire.ConsumeFieldValue(number, kind, b[at:])
		} else {
			var value []byte
			if value, n = protowire.ConsumeBytes(b[at:]); n >= 0 {
				if err := f(number, value, at+n); err != nil {
					return err
				}
			}
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errRequest, protowire.ParseError(n))
		}
		at += n
	}
	return nil
}

func (r *deltaRequest) field(number protowire.Number, value []byte, text string) error {
	switch number {
	case fieldRequestNode:
		if r.node == nil {
			r.node = &corev3.Node{}
		}
		return proto.UnmarshalOptions{Merge: true}.Unmarshal(value, r.node)
	case fieldRequestError:
		if r.failure == nil {
			r.failure = &status.Status{}
		}
		return proto.UnmarshalOptions{Merge: true}.Unmarshal(value, r.failure)
	case fieldRequestVersions:
		return r.version(value, text)
	case fieldRequestTypeURL, fieldRequestSubscribe, fieldRequestUnsubscribe, fieldRequestNonce:
	default:
		return nil
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: field %d is not UTF-8", errRequest, number)
	}
	switch number {
	case fieldRequestTypeURL:
		r.typeURL = text
	case fieldRequestNonce:
		r.nonce = text
	case fieldRequestSubscribe:
		if r.count(text) {
			r.subscribe = append(r.subscribe, text)
		}
	case fieldRequestUnsubscribe:
		if r.count(text) {
			r.unsubscribe = append(r.unsubscribe, text)
		}
	}
	return nil
}

// version reads one entry of initial_resource_versions.
func (r *deltaRequest) version(entry []byte, text string) error {
	var name, version string
	err := eachField(entry, func(number protowire.Number, value []byte, end int) error {
		if number != fieldMapKey && number != fieldMapValue {
			return nil
		}
		part := text[end-len(value) : end]
		if !utf8.ValidString(part) {
			return fmt.Errorf("%w: initial_resource_versions is not UTF-8", errRequest)
		}
		if number == fieldMapKey {
			name = part
		} else {
			version = part
		}
		return nil
	})
	if err != nil || !r.count(name) {
		return err
	}
	if r.versions == nil {
		r.versions = map[string]string{}
	}
	r.versions[name] = version
	return nil
}

// count says whether there is room for another name.
func (r *deltaRequest) count(name string) bool {
	r.names++
	r.longest = max(r.longest, len(name))
	return r.names <= r.maxNames
}
