// Package grpctest is a real gRPC server for tests, with every kind of call and
// field, and rules of google.api.http.
package grpctest

import (
	"google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/httpbody" // imported by the descriptors
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
)

// Service names of the server.
const (
	Orders = "dragoman.test.shop.Orders"
	Files  = "dragoman.test.shop.Files"
)

// rules are the annotations of Orders; Echo has none.
func rules() map[string]*annotations.HttpRule {
	return map[string]*annotations.HttpRule{
		"Get": {
			Pattern: &annotations.HttpRule_Get{Get: "/v1/{name=orders/*}"},
			AdditionalBindings: []*annotations.HttpRule{{
				Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: "FETCH", Path: "/v1/fetch/{state}/{name}"}}, ResponseBody: "labels",
			}},
		},
		"Create": {
			Pattern: &annotations.HttpRule_Post{Post: "/v1/{shelf=shelves/*}/orders"}, Body: "order",
			AdditionalBindings: []*annotations.HttpRule{{Pattern: &annotations.HttpRule_Post{Post: "/v1/orders:create"}, Body: "*"}},
		},
		"Update": {
			Pattern:            &annotations.HttpRule_Patch{Patch: "/v1/{name=orders/*}"},
			Body:               "*",
			AdditionalBindings: []*annotations.HttpRule{{Pattern: &annotations.HttpRule_Put{Put: "/v1/{name=orders/*}/items"}, Body: "items", ResponseBody: "items"}},
		},
		"List":   {Pattern: &annotations.HttpRule_Get{Get: "/v1/orders"}},
		"Delete": {Pattern: &annotations.HttpRule_Delete{Delete: "/v1/{name=orders/*}"}},
		"Watch":  {Pattern: &annotations.HttpRule_Get{Get: "/v1/orders:watch"}},
		"Import": {Pattern: &annotations.HttpRule_Post{Post: "/v1/orders:import"}, Body: "*"},
		"Chat":   {Pattern: &annotations.HttpRule_Post{Post: "/v1/orders:chat"}, Body: "*"},
	}
}

// FileSet gives the descriptors of the server, with their rules.
func FileSet() *descriptorpb.FileDescriptorSet {
	orders := protodesc.ToFileDescriptorProto(shop.File_shop_shop_proto)
	orders.Dependency = append(orders.Dependency, "google/api/annotations.proto", "google/api/httpbody.proto")
	for _, m := range orders.GetService()[0].GetMethod() {
		if rule := rules()[m.GetName()]; rule != nil {
			m.Options = annotated(rule)
		}
	}
	method := func(name, in, out string, rule *annotations.HttpRule, client, server bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: new(name), InputType: new(in), OutputType: new(out), Options: annotated(rule),
			ClientStreaming: new(client), ServerStreaming: new(server),
		}
	}
	const body, request, list = ".google.api.HttpBody", ".dragoman.test.shop.GetRequest", ".dragoman.test.shop.ListResponse"
	post := func(path string) *annotations.HttpRule {
		return &annotations.HttpRule{Pattern: &annotations.HttpRule_Post{Post: path}, Body: "*"}
	}
	get := &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/v1/files/{name}"}}
	orders.Service = append(orders.Service, &descriptorpb.ServiceDescriptorProto{
		Name: new("Files"),
		Method: []*descriptorpb.MethodDescriptorProto{
			method("Convert", body, body, post("/v1/files:convert"), false, false),
			method("Upload", body, list, post("/v1/files:upload"), true, false),
			method("Download", request, body, get, false, true),
		},
	})
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{orders}}
	seen := map[string]bool{orders.GetName(): true}
	add(set, seen, shop.File_shop_shop_proto.Imports())
	return set
}

// add adds what is imported.
func add(set *descriptorpb.FileDescriptorSet, seen map[string]bool, imports protoreflect.FileImports) {
	for i := range imports.Len() {
		f := imports.Get(i)
		if !seen[f.Path()] {
			seen[f.Path()] = true
			set.File = append(set.File, protodesc.ToFileDescriptorProto(f.FileDescriptor))
			add(set, seen, f.Imports())
		}
	}
}

func annotated(rule *annotations.HttpRule) *descriptorpb.MethodOptions {
	o := &descriptorpb.MethodOptions{}
	proto.SetExtension(o, annotations.E_Http, rule)
	return o
}

// Descriptors is FileSet, as protoc writes it.
func Descriptors() []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(FileSet())
	if err != nil {
		panic(err) // of a message that is made here
	}
	return b
}
