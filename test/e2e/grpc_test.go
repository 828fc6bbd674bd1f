package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestGRPC runs both directions in one proxy: a gRPC client, the proxy, JSON, the
// proxy again, a gRPC server.
func TestGRPC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	set := filetest.Put(t, filepath.Join(dir, "shop.pb"), string(grpctest.Descriptors()))
	json, back := redistest.Port(t), redistest.Port(t)
	p := startProxy(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: json}
spec:
  api:
    listen: {port: %[1]d}
    upstream: {address: %[2]q}
    grpc:
      direction: FromJSON
      descriptors: {file: %[3]q}
      rules: [{selector: dragoman.test.shop.Orders.Echo, method: POST, path: /echo, body: "*"}]
---
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: grpc}
spec:
  api:
    listen: {port: %[4]d}
    upstream: {address: "127.0.0.1:%[1]d"}
    grpc:
      direction: ToJSON
      descriptors: {file: %[3]q}
      rules: [{selector: dragoman.test.shop.Orders.Echo, method: POST, path: /echo, body: "*"}]
`, json, grpctest.Serve(t), set, back))
	status, text, _ := ask(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/v1/orders/5?revision=7", json), "")
	if status != http.StatusOK || text != `{"name":"orders/5","serial":"7"}` {
		t.Errorf("%d %s", status, text)
	}
	status, text, _ = ask(t, "PATCH", fmt.Sprintf("http://127.0.0.1:%d/v1/orders/5", json), `{"items": [{"count": "x"}]}`)
	if status != http.StatusBadRequest || !strings.Contains(text, `"field":"items[0].count"`) {
		t.Errorf("%d %s", status, text)
	}
	echoes(t, back)
	if n := p.counter("dragoman_grpcjson_messages_total"); n < 6 {
		t.Errorf("%v messages are counted", n)
	}
}

// TestGRPCAmbassador: an app speaks JSON to a port of localhost, and the server of its
// environment gRPC; a second port is the other way round, in front of the first.
func TestGRPCAmbassador(t *testing.T) {
	t.Parallel()
	set := filetest.Put(t, filepath.Join(t.TempDir(), "shop.pb"), string(grpctest.Descriptors()))
	json, back := redistest.Port(t), redistest.Port(t)
	startProxy(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: json}
spec:
  protocol: http
  listen: {port: %[1]d}
  grpc:
    direction: FromJSON
    descriptors: {file: %[3]q}
    rules: [{selector: dragoman.test.shop.Orders.Echo, method: POST, path: /echo, body: "*"}]
  environments: {prod: {address: %[2]q}, dev: {address: "127.0.0.1:1"}}
  defaultEnvironment: prod
---
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: grpc}
spec:
  protocol: http
  listen: {port: %[4]d}
  grpc:
    direction: ToJSON
    descriptors: {file: %[3]q}
    rules: [{selector: dragoman.test.shop.Orders.Echo, method: POST, path: /echo, body: "*"}]
  environments: {prod: {address: "127.0.0.1:%[1]d"}}
  defaultEnvironment: prod
`, json, grpctest.Serve(t), set, back))
	status, text, _ := ask(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/v1/orders/5?revision=7", json), "")
	if status != http.StatusOK || text != `{"name":"orders/5","serial":"7"}` {
		t.Errorf("%d %s", status, text)
	}
	echoes(t, back)
}

// echoes sends a message through a port that speaks gRPC.
func echoes(t *testing.T, port int) {
	t.Helper()
	c, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := &shop.Everything{AInt64: 5, Strings: []string{"a", ""}, ABytes: []byte{0, 255}, ByInt: map[int32]string{-1: "x"}, ADouble: 0.1}
	out := &shop.Everything{}
	if err := c.Invoke(t.Context(), "/dragoman.test.shop.Orders/Echo", in, out); err != nil || !proto.Equal(in, out) {
		t.Errorf("%v, %v", out, err)
	}
}

// TestGRPCValidate names what is wrong with annotations in a file.
func TestGRPCValidate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	set := filetest.Put(t, filepath.Join(dir, "shop.pb"), string(grpctest.Descriptors()))
	doc := filetest.Put(t, filepath.Join(dir, "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: json}
spec:
  api:
    listen: {port: 8080}
    upstream: {address: "127.0.0.1:9090"}
    grpc:
      direction: FromJSON
      descriptors: {file: %q}
      rules: [{selector: dragoman.test.shop.Orders.Get, method: GET, path: "/v1/{colour}"}]
`, set))
	out, err := exec.CommandContext(t.Context(), proxyBinary(t), "validate", "-f", doc).CombinedOutput()
	const want = `dragoman.test.shop.Orders.Get: get /v1/{colour}: the variable "colour" is not a field: dragoman.test.shop.GetRequest has no "colour"`
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v\n%s\nwant %s", err, out, want)
	}
	_ = os.Remove(set)
	for strict, wantErr := range map[string]bool{"--strict=false": false, "--strict": true} { // the file may be elsewhere than the document is looked at
		out, err = exec.CommandContext(t.Context(), proxyBinary(t), "validate", strict, "-f", doc).CombinedOutput()
		if (err != nil) != wantErr || !strings.Contains(string(out), "no such file") {
			t.Errorf("%s: %v\n%s", strict, err, out)
		}
	}
}
