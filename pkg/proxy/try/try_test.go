package try_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/try"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A case is a document, api.yaml; request; perhaps response; and the transcript.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{}
			for _, f := range archive.Files {
				parts[f.Name] = f.Data
			}
			objs, errs := mesh.Decode("api.yaml", parts["api.yaml"])
			if errs = append(errs, mesh.Validate(objs)...); len(errs) > 0 {
				t.Fatal(errs)
			}
			adapter, _ := objs[0].(*mesh.Adapter)
			var out bytes.Buffer
			err = try.Run(&out, try.Options{Adapter: adapter, Request: parts["request"], Response: parts["response"]})
			if err != nil && !errors.Is(err, try.ErrRefused) {
				t.Fatal(err)
			}
			if err != nil {
				out.WriteString("(" + err.Error() + ")\n")
			}
			if *update {
				rewrite(t, file, archive, out.Bytes())
				return
			}
			if diff := cmp.Diff(string(parts["transcript"]), out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, transcript []byte) {
	t.Helper()
	var kept []txtar.File
	for _, f := range archive.Files {
		if f.Name != "transcript" {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, txtar.File{Name: "transcript", Data: transcript})
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
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
		{"no HTTP", "hello, world, how are you\n", "", "reading the request"},
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
