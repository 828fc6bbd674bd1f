package grpcjson_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	alphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const byReflection = `{"@type": "type.googleapis.com/dragoman.filters.http.grpcjson.v1.GrpcJson", "descriptors": {"reflection": {"cluster": "app"}}, "print_options": {"stream": "NDJSON"}`

// reflecting has the server answer for its descriptors, by one version of the
// protocol alone.
func reflecting(t *testing.T, alpha bool) func(*grpc.Server) {
	t.Helper()
	files, err := transcode.Load(grpctest.Descriptors())
	if err != nil {
		t.Fatal(err)
	}
	return func(s *grpc.Server) {
		o := reflection.ServerOptions{Services: s, DescriptorResolver: files}
		if alpha {
			alphapb.RegisterServerReflectionServer(s, reflection.NewServer(o))
		} else {
			reflectionpb.RegisterServerReflectionServer(s, reflection.NewServerV1(o))
		}
	}
}

// TestReflection fetches descriptors from the server itself.
func TestReflection(t *testing.T) {
	t.Parallel()
	for _, alpha := range []bool{false, true} {
		conf, err := parse(t, byReflection+"}", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := conf.ClusterNames(); !slices.Contains(got, "app") {
			t.Errorf("clusters %v", got)
		}
		addr, _ := proxy(t, conf, cluster(grpctest.Serve(t, reflecting(t, alpha)), resource.UpstreamHTTP2))
		if r := eventually(t, "http://"+addr+"/v1/orders/5"); r.body != `{"name":"orders/5"}` {
			t.Errorf("alpha %v: %s %s", alpha, r.Status, r.body)
		}
	}
}

// TestReflectionRetries: a server that is not there yet is asked again, and
// clients are told.
func TestReflectionRetries(t *testing.T) {
	t.Parallel()
	conf, err := parse(t, byReflection+`, "services": ["`+grpctest.Orders+`"]}`, "")
	if err != nil {
		t.Fatal(err)
	}
	app := grpctest.NewLate(t)
	addr, _ := proxy(t, conf, cluster(app.Addr, resource.UpstreamHTTP2))
	r := ask(t, clients(t)["HTTP/1.1"], "GET", "http://"+addr+"/v1/orders/5", "")
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || !strings.Contains(r.fields(t), "descriptors") {
		t.Errorf("%s %v %s", r.Status, r.Header, r.body)
	}
	app.Start(reflecting(t, false))
	if r := eventually(t, "http://"+addr+"/v1/orders/5"); r.body != `{"name":"orders/5"}` {
		t.Errorf("%s %s", r.Status, r.body)
	}
}

// eventually asks until the descriptors are there.
func eventually(t *testing.T, url string) *reply {
	t.Helper()
	c := clients(t)["HTTP/1.1"]
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		r := ask(t, c, "GET", url, "")
		if r.StatusCode != http.StatusServiceUnavailable {
			return r
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
}

// TestParseRefuses: what is wrong with a configuration is said when it is loaded.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const ours = `{"@type": "type.googleapis.com/dragoman.filters.http.grpcjson.v1.GrpcJson"`
	inline := `, "descriptors": {"inline": "` + set() + `"}`
	for filter, want := range map[string]string{
		`{"@type": "type.googleapis.com/` + transcoder + `", "services": ["a"]}`:                               "typed_config: needs proto_descriptor or proto_descriptor_bin",
		`{"@type": "type.googleapis.com/` + transcoder + `", "proto_descriptor": "rel.pb", "services": ["a"]}`: "proto_descriptor: must be an absolute path",
		`{"@type": "type.googleapis.com/` + transcoder + `", "proto_descriptor_bin": "AQID"}`:                  "proto_descriptor_bin: is not a usable set of descriptors",
		strings.Replace(envoy(""), grpctest.Files, "none.Service", 1):                                          "proto_descriptor_bin: none.Service: there is no such service among the descriptors, which have: dragoman.test.shop.Files, dragoman.test.shop.Orders",
		envoy(`, "max_request_body_size": 4000000000`):                                                         "max_request_body_size: must be at most 268435456",
		ours + "}":                          "descriptors: needs one of file, inline and reflection",
		ours + inline + `, "health": true}`: "health and reflection are for TO_JSON",
		ours + inline + `, "rules": [{"selector": "a.b", "method": "GET", "path": "/x"}]}`:                                                            "inline: a.b: there is a rule for it, but it is no method of the services",
		ours + inline + `, "rules": [{"selector": "` + grpctest.Orders + `.Get", "method": "GET", "path": "/{x"}]}`:                                   grpctest.Orders + `.Get: get /{x: "/{x" is not a path template`,
		ours + inline + `, "rules": [{"selector": "` + grpctest.Orders + `.Get", "method": "GET", "path": "/{x}"}]}`:                                  `.Get: get /{x}: the variable "x" is not a field: dragoman.test.shop.GetRequest has no "x"`,
		ours + inline + `, "rules": [{"selector": "` + grpctest.Orders + `.Get", "method": "GET", "path": "/{filter}"}]}`:                             `the variable "filter" is a message, not a value`,
		ours + inline + `, "rules": [{"selector": "` + grpctest.Orders + `.Get", "method": "GET", "path": "/v1/orders"}]}`:                            "/v1/orders matches what another does",
		ours + inline + `, "rules": [{"selector": "` + grpctest.Orders + `.Get", "method": "PUT", "path": "/x", "body": "y", "response_body": "z"}]}`: `response_body "z" is not a field of dragoman.test.shop.Order`,
		ours + inline + `, "rules": [{"selector": "` + grpctest.Orders + `.Import", "method": "PUT", "path": "/x"}]}`:                                 `body "" is missing: messages of a stream come in the body`,
		ours + inline + `, "direction": "TO_JSON", "rules": [{"selector": "` + grpctest.Orders + `.Update", "method": "GET", "path": "/x"}]}`:         "the field items cannot be a parameter of a query; name it, or *, as body",
		ours + `, "direction": "TO_JSON", "descriptors": {"reflection": {"cluster": "app"}}}`:                                                         "reflection: is not for TO_JSON",
	} {
		if _, err := parse(t, filter, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: %v\nwant %s", filter, err, want)
		}
	}
	log := slog.New(slog.DiscardHandler)
	conf, err := parse(t, `{"@type": "type.googleapis.com/`+transcoder+`", "proto_descriptor": "/none.pb", "services": ["a"]}`, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := build(log, conf); err == nil || !strings.Contains(err.Error(), `descriptors of "/none.pb"`) {
		t.Errorf("a file that is not there: %v", err)
	}
}
