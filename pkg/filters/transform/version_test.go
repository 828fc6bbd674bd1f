package transform_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newest is an app that speaks v3 alone: it echoes the body, as JSON.
func newest(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if len(body) == 0 {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"asked":%q,"version":%q,"got":%s}`, r.Method+" "+r.URL.RequestURI(), r.Header.Get("Api-Version")+r.Header.Get("Accept"), body)
}

const older = `
      older:
      - name: v1
        becomes: v2
        deprecated: 2025-01-31
        sunset: 2026-01-31T12:00:00Z
        link: https://example.com/v1
        routes:
        - match: {method: POST, path: "/order/{id}"}
          request: {method: PUT, path: "/orders/{id}", body: {from: json, to: json, map: {move: {a: b}}}}
          response: {body: {from: json, to: json, map: {move: {second: first}}}}
      - name: v2
        routes:
        - match: {method: PUT, path: "/orders/{id}"}
          request: {query: {set: {by: "{id}"}}, body: {from: json, to: json, map: {move: {b: c}}}}
          response: {body: {from: json, to: json, map: {move: {got: second}}}}
`

// TestVersions: a chain of versions, whatever says which one a request is of.
func TestVersions(t *testing.T) {
	t.Parallel()
	byPath := serve(t, `
    versions:
      path: "/api/{version}"
      app: v3
      default: v1
`+older, newest)
	stripped := serve(t, `
    versions:
      path: "/{version}"
      app: v3
      appPath: /
`+older+`
    routes:
    - {match: {path: "/orders/{id}"}, request: {headers: {set: {Api-Version: latest}}}}
`, newest)
	byHeader := serve(t, `
    versions:
      header: Api-Version
      app: v3
      default: v3
`+older, newest)
	byType := serve(t, `
    versions:
      mediaType: application/json
      app: v3
`+older, newest)
	const json = "application/json"
	tests := []struct {
		name               string
		a                  *adapter
		method, path, body string
		header             []string
		want               string
		old                bool
	}{
		{"path, v1", byPath, "POST", "/api/v1/order/7", `{"a":1}`, nil, "200 application/json\n" + `{"asked":"PUT /api/v3/orders/7?by=7","version":"application/json, text/json","first":{"c":1}}`, true},
		{"path, v2", byPath, "PUT", "/api/v2/orders/7", `{"b":1}`, nil, "200 application/json\n" + `{"asked":"PUT /api/v3/orders/7?by=7","version":"application/json, text/json","second":{"c":1}}`, false},
		{"path, v3", byPath, "PUT", "/api/v3/orders/7", `{"b":1}`, nil, "200 application/json\n" + `{"asked":"PUT /api/v3/orders/7","version":"","got":{"b":1}}`, false},
		{"path, what stays", byPath, "GET", "/api/v1/other?x=%20", ``, nil, "200 application/json\n" + `{"asked":"GET /api/v3/other?x=%20","version":"","got":{}}`, true},
		{"path, the top", byPath, "GET", "/api/v1", ``, nil, "200 application/json\n" + `{"asked":"GET /api/v3","version":"","got":{}}`, true},
		{"path, none said", byPath, "POST", "/order/7", `{"a":1}`, nil, "200 application/json\n" + `{"asked":"PUT /api/v3/orders/7?by=7","version":"application/json, text/json","first":{"c":1}}`, true},
		{"path, for an app without", stripped, "POST", "/v1/order/7", `{"a":1}`, nil, "200 application/json\n" + `{"asked":"PUT /orders/7?by=7","version":"latestapplication/json, text/json","first":{"c":1}}`, true},
		{"path, no such version", stripped, "GET", "/v9/orders/7", ``, nil, problemOf(404, "Not Found", "no route has this path, with these headers and parameters"), false},
		{"path, no such route", stripped, "GET", "/v1/other", ``, nil, problemOf(404, "Not Found", "no route has this path, with these headers and parameters"), true},

		{"header, v1", byHeader, "POST", "/order/7", `{"a":1}`, []string{"Api-Version", "v1"}, "200 application/json\n" + `{"asked":"PUT /orders/7?by=7","version":"v3application/json, text/json","first":{"c":1}}`, true},
		{"header, v3", byHeader, "POST", "/order/7", `{"a":1}`, []string{"Api-Version", "v3"}, "200 application/json\n" + `{"asked":"POST /order/7","version":"v3","got":{"a":1}}`, false},
		{"header, none said", byHeader, "POST", "/order/7", `{"a":1}`, nil, "200 application/json\n" + `{"asked":"POST /order/7","version":"","got":{"a":1}}`, false},
		{"header, no such version", byHeader, "POST", "/order/7", `{"a":1}`, []string{"Api-Version", "v9"}, problemOf(400, "Bad Request", "there is no such version: the header Api-Version may be v1, v2, v3"), false},

		{"type, v1", byType, "POST", "/order/7", `{"a":1}`, []string{"Accept", `text/html, application/json; q=0.5; version="v1"`}, "200 application/json\n" + `{"asked":"PUT /orders/7?by=7","version":"application/json; version=v3","first":{"c":1}}`, true},
		{"type, v3", byType, "GET", "/x", ``, []string{"Accept", json + ";version=v3"}, "200 application/json\n" + `{"asked":"GET /x","version":"application/json;version=v3","got":{}}`, false},
		{"type, none said", byType, "GET", "/x", ``, []string{"Accept", json}, problemOf(400, "Bad Request", "the request does not say its version: the parameter version of Accept may be v1, v2, v3"), false},
		{"type, no such version", byType, "GET", "/x", ``, []string{"Accept", json + "; version=v9"}, problemOf(406, "Not Acceptable", "there is no such version: the parameter version of Accept may be v1, v2, v3"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.a.ask(tt.method, tt.path, tt.body, tt.header...)
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want := map[string]string{}
			if tt.old {
				want = map[string]string{"Deprecation": "@1738281600", "Sunset": "Sat, 31 Jan 2026 12:00:00 GMT"}
			}
			for _, name := range []string{"Deprecation", "Sunset"} {
				if got.head.Get(name) != want[name] {
					t.Errorf("%s is %q", name, got.head.Get(name))
				}
			}
			if tt.name == "path, v1" {
				links := []string{`</api/v3>; rel="successor-version"`, `<https://example.com/v1>; rel="deprecation"; type="text/html", </api/v2>; rel="successor-version"`}
				if diff := cmp.Diff(links, got.head["Link"]); diff != "" {
					t.Errorf("links (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestGone: a version whose sunset is over may be refused.
func TestGone(t *testing.T) {
	t.Parallel()
	a := serve(t, `
    versions:
      path: "/{version}"
      app: v2
      older: [{name: v1, sunset: 2020-01-31, afterSunset: Refuse}]
`, newest)
	if diff := cmp.Diff(problemOf(410, "Gone", "this version of the API is gone since 2020-01-31"), a.ask("GET", "/v1/x", "").String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
