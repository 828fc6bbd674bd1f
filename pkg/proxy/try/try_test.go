package try_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/try"
)

// A case is a document, api.yaml; request; perhaps response; and the transcript.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/*.txtar", func(t *testing.T, c *goldentest.Case) {
		objs, errs := mesh.Decode("api.yaml", c.Data("api.yaml"))
		if errs = append(errs, mesh.Validate(objs)...); len(errs) > 0 {
			t.Fatal(errs)
		}
		adapter, _ := objs[0].(*mesh.Adapter)
		var out bytes.Buffer
		err := try.Run(&out, try.Options{Adapter: adapter, Request: c.Data("request"), Response: c.Data("response")})
		if err != nil && !errors.Is(err, try.ErrRefused) {
			t.Fatal(err)
		}
		if err != nil {
			out.WriteString("(" + err.Error() + ")\n")
		}
		c.Compare(t, map[string]string{"transcript": out.String()})
	})
}

// TestMessages: requests as people have them in files.
func TestMessages(t *testing.T) {
	t.Parallel()
	objs, errs := mesh.Decode("api.yaml", []byte(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders}
spec: {api: {listen: {port: 8081}, upstream: {address: "127.0.0.1:8080"}, routes: [{match: {path: "/{rest=**}"}, request: {headers: {set: {X-Rest: "{rest}"}}}}]}}
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	adapter, _ := objs[0].(*mesh.Adapter)
	tests := []struct{ name, request, want, err string }{
		{"LF", "POST /a HTTP/1.1\nHost: h\n\nbody\n", "  > body\n", ""},
		{"CRLF", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nbody\r\n", "  > body\n", ""},
		{"no version", "GET /a\n", "> GET /a\n", ""},
		{"no body", "GET /a?b=c HTTP/1.1\nHost: h\n", "> GET /a?b=c\n", ""},
		{"a path with dots", "GET /a/../b HTTP/1.1\nHost: h\n\n", "{rest} is b\n", ""},
		{"control characters", "POST /a HTTP/1.1\nHost: h\n\n\x1b[31m", `  > \x1b[31m`, ""},
		{"nothing", "", "", "is no message of HTTP"},
		{"no HTTP", "hello, world, how are you\n", "", `it begins with a line such as "POST /v2/orders"`},
		{"out of the root", "GET /../.. HTTP/1.1\nHost: h\n\n", "", "the path"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		err := try.Run(&out, try.Options{Adapter: adapter, Request: []byte(tt.request)})
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: no %q in\n%s", tt.name, tt.want, out.String())
		}
	}
}
