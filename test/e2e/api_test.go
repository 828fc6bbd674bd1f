package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// apiEcho is an app that tells what it was asked.
func apiEcho(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Server", "echo")
		fmt.Fprintf(w, "%s %s tenant=%s cookie=%s %s", r.Method, r.RequestURI, r.Header.Get("X-Tenant"), r.Header.Get("Cookie"), body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// startAPI runs the proxy with an API adapter, and gives its URL. routes are
// lines of YAML.
func startAPI(t *testing.T, upstream, routes string) (*Proxy, string) {
	t.Helper()
	port := redistest.Port(t)
	p := startProxy(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders}
spec:
  api:
    listen: {port: %d}
    upstream: {address: %q}
    routes:
%s`, port, upstream, routes))
	return p, fmt.Sprintf("http://127.0.0.1:%d", port)
}

// ask sends a request, and gives status, body and head.
func ask(t *testing.T, method, url, body string, header ...string) (status int, text string, head http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

// TestAPIRewrites: what goes to the app is what the document says.
func TestAPIRewrites(t *testing.T) {
	t.Parallel()
	_, url := startAPI(t, apiEcho(t), `
    - match: {method: POST, path: "/v2/orders/{id}", headers: {X-Kind: rush}}
      request: {path: "/rush/{id}"}
    - match: {method: POST, path: "/v2/orders/{id}"}
      request:
        method: PUT
        path: "/orders/{id}/of/{query.kind}"
        query: {remove: [kind], rename: {dry: dryRun}, set: {tenant: "{header.X-Tenant}", none: "{query.none}"}, add: {id: "{id}"}}
        headers: {remove: [Cookie], set: {X-Tenant: "t-{id}"}}
      response: {headers: {remove: [Server], set: {X-Order: "{id}"}}}
    - match: {path: "/files/{rest=**}", query: {raw: "*"}}
      request: {path: "/raw/{rest}", query: {remove: ["*"]}}
`)
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     string
	}{
		{"header", "POST", "/v2/orders/7", "b", []string{"X-Kind", "rush"}, 200, "POST /rush/7 tenant= cookie= b"},
		{
			"all of it", "POST", "/v2/orders/a%2Fb?kind=x%2Fy&dry=1&z=%20", "body",
			[]string{"X-Tenant", "acme", "Cookie", "a=b"},
			200,
			"PUT /orders/a%2Fb/of/x%2Fy?dryRun=1&z=%20&tenant=acme&id=a%2Fb tenant=t-a/b cookie= body",
		},
		{"the rest", "GET", "/files/a/b?raw=1", "", nil, 200, "GET /raw/a/b tenant= cookie= "},
		{"a way out", "POST", "/v2/orders/7?kind=..", "", nil, 400, `{"title":"Bad Request","status":400,"detail":"a value makes a path with . or .. for a segment"}`},
		{"no parameter", "GET", "/files/a", "", nil, 404, `{"title":"Not Found","status":404,"detail":"no route has this path, with these headers and parameters"}`},
		{"method", "GET", "/v2/orders/7", "", nil, 405, `{"title":"Method Not Allowed","status":405,"detail":"this path has other methods"}`},
	}
	for _, tt := range tests {
		status, text, head := ask(t, tt.method, url+tt.path, tt.body, tt.header...)
		if status != tt.status || text != tt.want {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, status, text, tt.status, tt.want)
		}
		switch tt.name {
		case "all of it":
			if head.Get("Server") != "" || head.Get("X-Order") != "a/b" {
				t.Errorf("its head is %v", head)
			}
		case "method":
			if head.Get("Allow") != "POST" || head.Get("Content-Type") != "application/problem+json" {
				t.Errorf("its head is %v", head)
			}
		}
	}
}

// TestAPIBodies: a document's bodies over the wire: compressed, checked, refused,
// streamed, and with 100-continue.
func TestAPIBodies(t *testing.T) {
	t.Parallel()
	p, url := startAPI(t, apiEcho(t), `
    - match: {method: POST, path: "/orders/{id}"}
      request:
        schema: {type: object, required: [sku], properties: {sku: {type: string}}}
        body: {from: json, to: soap, soap: {operation: Order, namespace: "urn:o"}, values: {id: "{id}"}, map: {move: {sku: Sku, id: Id}}}
    - match: {method: POST, path: /csv}
      request: {body: {from: csv, to: ndjson}}
`)
	const envelope = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>`
	tests := []struct {
		name, path, body string
		header           []string
		status           int
		want             string
	}{
		{
			"converted", "/orders/7", `{"sku":"a"}`,
			[]string{"Content-Type", "application/json", "Expect", "100-continue"},
			200,
			"POST /orders/7 tenant= cookie= " + envelope + `<Order xmlns="urn:o"><Sku>a</Sku><Id>7</Id></Order></soap:Body></soap:Envelope>`,
		},
		{
			"refused", "/orders/7", `{"sku":1}`,
			[]string{"Content-Type", "application/json"},
			422,
			`{"title":"Unprocessable Entity","status":422,"detail":"the body does not fit the schema","errors":[{"pointer":"/sku","detail":"got number, want string"}]}`,
		},
		{"streamed", "/csv", "a,b\n1,2\n", []string{"Content-Type", "text/csv"}, 200, "POST /csv tenant= cookie= " + `{"a":"1","b":"2"}` + "\n"},
	}
	for _, tt := range tests {
		if status, text, _ := ask(t, "POST", url+tt.path, tt.body, tt.header...); status != tt.status || text != tt.want {
			t.Errorf("%s: got %d %s\nwant %d %s", tt.name, status, text, tt.status, tt.want)
		}
	}
	for _, want := range []string{
		`dragoman_transform_conversions_total{direction="request",listener="default/orders/adapter",route="0 POST /orders/{id}"} 1`,
		`dragoman_transform_failures_total{direction="request",listener="default/orders/adapter",reason="schema",route="0 POST /orders/{id}"} 1`,
	} {
		if err := p.shows("/metrics", want); err != nil {
			t.Error(err)
		}
	}
}
