package mesh

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"

	"github.com/dragoman-mesh/dragoman/pkg/transform/httprule"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// maxGRPCBytes bounds what a message may take in memory.
const maxGRPCBytes = 256 << 20

// apiGRPC checks what stands between gRPC and JSON, with the rules of descriptors
// that are in the document.
func (c *checker) apiGRPC(a *APIAdapter, at string) {
	g := a.GRPC
	c.require(len(a.Routes) == 0, at+".routes", "does not go with grpc, whose rules say what a request is", "remove it, or grpc")
	c.require(a.Versions == nil, at+".versions", "does not go with grpc", "remove it, or grpc")
	c.require(a.Limits == nil, at+".limits", "does not go with grpc", "use "+at+".grpc.maxMessageBytes and "+at+".grpc.bodyTimeout")
	c.grpc(g, a.HTTP, at)
}

// ambassadorGRPC checks the same of an ambassador.
func (c *checker) ambassadorGRPC(s *AmbassadorSpec) {
	if s.GRPC == nil {
		return
	}
	if s.Protocol != ProtocolHTTP {
		c.require(s.Protocol == "", "spec.grpc", fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it, or use protocol http")
		return
	}
	c.require(s.HTTP == nil || len(s.HTTP.Routes) == 0, "spec.http.routes", "do not go with grpc, whose rules say what a request is", "remove them, or grpc")
	c.grpc(s.GRPC, s.HTTP, "spec")
}

// grpc checks what stands beside http at a path.
func (c *checker) grpc(g *APIGRPC, http *HTTPSpec, at string) {
	if http != nil {
		c.require(g.Direction != GRPCFromJSON || http.Version != HTTPVersion1, at+".http.version", "must not be HTTP1: gRPC needs HTTP2", "remove it")
	}
	at += ".grpc"
	c.require(g.Direction != "", at+".direction", "is missing", "FromJSON: clients send JSON, the app speaks gRPC; ToJSON: the other way round")
	reverse := g.Direction == GRPCToJSON
	c.require(reverse || !g.Health && !g.Reflection, at, "health and reflection go with ToJSON", "a gRPC server answers them itself")
	if b := g.MaxMessageBytes; b != nil {
		c.require(*b >= 1 && *b <= maxGRPCBytes, at+".maxMessageBytes", "must be from 1 to 256Mi", "")
	}
	c.positive(g.BodyTimeout, at+".bodyTimeout")
	c.grpcRules(g.Rules, at+".rules")
	c.grpcDescriptors(g, reverse, at+".descriptors")
}

func (c *checker) grpcRules(rules []GRPCRule, at string) {
	for i := range rules {
		r, here := &rules[i], fmt.Sprintf("%s[%d]", at, i)
		c.require(strings.Contains(r.Selector, "."), here+".selector", fmt.Sprintf("%q is not the full name of a method", clip(r.Selector)), "as in shop.v1.Orders.Get")
		if r.Method != "*" {
			c.require(r.Method != "", here+".method", "is missing", "as in GET")
			c.method(r.Method, here+".method")
		}
		if _, err := httprule.Parse(r.Path); err != nil {
			c.fail(here+".path", err.Error(), `as in "/v1/{name=orders/*}"`)
		}
	}
}

func (c *checker) grpcDescriptors(g *APIGRPC, reverse bool, at string) {
	d := &g.Descriptors
	n := 0
	for _, there := range [...]bool{d.File != "", d.Inline != "", d.Reflection != nil} {
		if there {
			n++
		}
	}
	c.require(n == 1, at, "needs exactly one of file, inline and reflection", "write a file by protoc --include_imports --descriptor_set_out")
	c.require(d.File == "" || d.File[0] == '/', at+".file", "must be an absolute path", "")
	c.require(d.Reflection == nil || !reverse, at+".reflection", "goes with FromJSON: the app of ToJSON is no gRPC server", "use file or inline")
	if d.Inline == "" {
		return
	}
	set, err := base64.StdEncoding.DecodeString(d.Inline)
	if err != nil {
		c.fail(at+".inline", "is not base64", "base64 -w0 descriptors.pb")
		return
	}
	for _, err := range g.Check(set) {
		c.fail(at+".inline", err.Error(), "")
	}
}

// Check lists what is wrong with a set of descriptors, or with the rules of its
// methods.
func (g *APIGRPC) Check(set []byte) []error {
	files, err := transcode.Load(set)
	if err != nil {
		return []error{err}
	}
	o := transcode.Options{Services: g.Services, AutoMapping: g.AutoMapping, Reverse: g.Direction == GRPCToJSON, Rules: g.rules()}
	if len(o.Services) == 0 {
		o.Services = transcode.Own(transcode.Services(files))
	}
	_, err = transcode.Compile(files, o)
	var one *transcode.RuleError
	if list, ok := err.(interface{ Unwrap() []error }); ok && errors.As(err, &one) {
		return list.Unwrap()
	}
	return nil
}

func (g *APIGRPC) rules() []*annotations.HttpRule {
	rules := make([]transcode.Rule, len(g.Rules))
	for i, r := range g.Rules {
		rules[i] = transcode.Rule(r)
	}
	return transcode.HTTPRules(rules)
}
