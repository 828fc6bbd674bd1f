package translate

import (
	"maps"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// pack puts a message into an Any, with the same bytes every time.
func pack(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic("translate: " + err.Error()) // only for strings that are not UTF-8, which YAML has none of
	}
	return a
}

func extension(name string, m proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: pack(m)}
}

// duration gives the fallback for an absent value.
func duration(d *mesh.Duration, fallback time.Duration) *durationpb.Duration {
	if d == nil {
		return durationpb.New(fallback)
	}
	return durationpb.New(time.Duration(*d))
}

// number gives the fallback for an absent value.
func number(v *uint32, fallback uint32) *wrapperspb.UInt32Value {
	return wrapperspb.UInt32(value(v, fallback))
}

// optional gives nil for an absent value.
func optional(v *uint32) *wrapperspb.UInt32Value {
	if v == nil {
		return nil
	}
	return wrapperspb.UInt32(*v)
}

func optional64(v *uint64) *wrapperspb.UInt64Value {
	if v == nil {
		return nil
	}
	return wrapperspb.UInt64(*v)
}

// value gives the fallback for an absent value.
func value[T any](v *T, fallback T) T {
	if v == nil {
		return fallback
	}
	return *v
}

// orEmpty gives a spec of which every field is absent for an absent one.
func orEmpty[T any](v *T) *T {
	if v == nil {
		return new(T)
	}
	return v
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func metadata(fields map[string]string) *structpb.Struct {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(fields))}
	for k, v := range fields {
		s.Fields[k] = structpb.NewStringValue(v)
	}
	return s
}

func fileSource(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: name}}
}

func envSource(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_EnvironmentVariable{EnvironmentVariable: name}}
}

// source gives the first that is there, or nil.
func source(inline, file, env string) *corev3.DataSource {
	switch {
	case inline != "":
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: inline}}
	case file != "":
		return fileSource(file)
	case env != "":
		return envSource(env)
	}
	return nil
}

// aggregated is the one source of all resources.
func aggregated() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}

func socketAddress(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}
