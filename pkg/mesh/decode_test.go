package mesh_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// A case is one or more documents, named *.yaml, and the errors that they give,
// named errors. A case whose name begins with cluster is decoded as a control
// plane would.
func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/decode/*.txtar", func(t *testing.T, c *goldentest.Case) {
		var opts []mesh.Option
		if strings.HasPrefix(c.Name, "cluster") {
			opts = append(opts, mesh.InCluster())
		}
		c.Compare(t, map[string]string{"errors": decodeAll(c.Archive, opts).Error() + "\n"})
	})
}

func decodeAll(archive *txtar.Archive, opts []mesh.Option) mesh.Errors {
	var objs []mesh.Object
	var errs mesh.Errors
	for _, f := range archive.Files {
		if filepath.Ext(f.Name) != ".yaml" {
			continue
		}
		found, wrong := mesh.Decode(f.Name, f.Data, opts...)
		objs = append(objs, found...)
		errs = append(errs, wrong...)
	}
	return append(errs, mesh.Validate(objs, opts...)...)
}

func ambassador(t *testing.T, text string, opts ...mesh.Option) *mesh.Ambassador {
	t.Helper()
	objs, errs := mesh.Decode("test.yaml", []byte(text), opts...)
	if len(errs) > 0 || len(objs) != 1 {
		t.Fatalf("%d objects, errors:\n%v", len(objs), errs)
	}
	return objs[0].(*mesh.Ambassador)
}

const header = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
`

func TestDecodeValues(t *testing.T) {
	t.Parallel()
	got := ambassador(t, header+`
spec:
  protocol: redis
  listen: {path: /run/x.sock, mode: 0660, backlog: 512}
  limits: {maxRequestBytes: 64Ki, idleTimeout: 1m30s}
  redis:
    opTimeout: 0
    slowLog: {threshold: 0s}
    mirrors: [{pool: other, percentage: 12.5%}]
    commandStats: false
    users: &nobody null
  environments:
    dev:
      address: &here "[::1]:6379"
      database: 0x10
      pools: {other: {address: *here}}
status: {whatever: [1]}
---
# nothing but a comment
---
`)
	want := mesh.AmbassadorSpec{
		Protocol: mesh.ProtocolRedis,
		Listen:   mesh.Listen{Path: "/run/x.sock", Mode: 0o660, Backlog: new(uint32(512))},
		Limits:   &mesh.Limits{MaxRequestBytes: new(mesh.Bytes(65536)), IdleTimeout: new(mesh.Duration(90e9))},
		Redis: &mesh.RedisSpec{
			OpTimeout:    new(mesh.Duration(0)),
			SlowLog:      &mesh.SlowLog{Threshold: new(mesh.Duration(0))},
			Mirrors:      []mesh.Mirror{{Pool: "other", Percentage: new(mesh.Percent(125_000))}},
			CommandStats: new(false),
		},
		Environments: map[string]mesh.Environment{"dev": {
			Upstream: mesh.Upstream{Address: "[::1]:6379", Database: new(mesh.Database("0x10"))},
			Pools:    map[string]mesh.Upstream{"other": {Address: "[::1]:6379"}},
		}},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if got.Key() != "default/cache" {
		t.Errorf("key %q", got.Key())
	}
}

// A few aliases of aliases stand for more nodes than memory has.
func TestDecodeAliasBomb(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(header + "spec:\n  protocol: redis\n  listen: {port: 1}\n  environments:\n    e0: &e\n      shards:\n      - &s\n        primary: {address: \"a:1\"}\n        replicas:\n        - &r {address: \"b:1\"}\n")
	b.WriteString(strings.Repeat("        - *r\n", 2000))
	b.WriteString(strings.Repeat("      - *s\n", 2000))
	objs, errs := mesh.Decode("bomb.yaml", []byte(b.String()))
	if len(objs) != 1 || !strings.Contains(errs.Error(), "the document is too large") {
		t.Errorf("%d objects, %d errors", len(objs), len(errs))
	}
}

func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	_, errs := mesh.Decode("x.yaml", []byte(header+"spec:\n"+strings.Repeat("  a b: 1\n", 5000)))
	if len(errs) == 0 || len(errs) > 120 {
		t.Errorf("%d errors", len(errs))
	}
}

// encode gives a document that decodes to the same object. JSON is YAML.
func encode(t *testing.T, obj mesh.Object) []byte {
	t.Helper()
	data, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/decode/*.txtar", "../../examples/*.yaml", "../../examples/kubernetes/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, doc := range txtar.Parse(data).Files {
				f.Add(doc.Data)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objs, errs := mesh.Decode("fuzz.yaml", data, mesh.InCluster())
		errs = append(errs, mesh.Validate(objs, mesh.InCluster())...)
		_ = errs.Error()
		if len(errs) > 0 {
			return
		}
		for _, obj := range objs {
			text := encode(t, obj)
			again, errs := mesh.Decode("again.yaml", text, mesh.InCluster())
			if len(errs) > 0 || len(again) != 1 {
				t.Fatalf("%s\n%v", text, errs)
			}
			if diff := cmp.Diff(obj, again[0], cmpopts.IgnoreUnexported(mesh.Ambassador{}, mesh.Adapter{}), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s\n(-first +second):\n%s", text, diff)
			}
		}
	})
}
