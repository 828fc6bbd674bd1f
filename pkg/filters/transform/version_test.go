package transform_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
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
				links := []string{`<https://example.com/v1>; rel="deprecation"; type="text/html", </api/v2>; rel="successor-version"`}
				if diff := cmp.Diff(links, got.head["Link"]); diff != "" {
					t.Errorf("links (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestVersionsSpeakForThemselves: a response says of the version that the client has
// asked for that it is old, and not of those that the request became on its way, and
// keeps what the app says.
func TestVersionsSpeakForThemselves(t *testing.T) {
	t.Parallel()
	a := serve(t, `
    versions:
      path: "/{version}"
      app: v4
      older:
      - {name: v1, becomes: v2, deprecated: 2025-01-31, sunset: 2027-01-31, link: "https://example.com/v1", successor: "https://example.com/v4"}
      - {name: v2, becomes: v3, deprecated: 2026-01-31, sunset: 2028-01-31, link: "https://example.com/v2"}
      - {name: v3, sunset: 2029-01-31, link: "https://example.com/v3"}
`, replies(200, `{}`, "Content-Type", "application/json", "Link", `</x?page=2>; rel="next"`))
	const app = `</x?page=2>; rel="next"`
	for path, want := range map[string]http.Header{
		"/v1/x": {
			"Deprecation": {"@1738281600"}, "Sunset": {"Sun, 31 Jan 2027 00:00:00 GMT"},
			"Link": {app, `<https://example.com/v1>; rel="deprecation"; type="text/html", <https://example.com/v4>; rel="successor-version"`},
		},
		"/v2/x": {
			"Deprecation": {"@1769817600"}, "Sunset": {"Mon, 31 Jan 2028 00:00:00 GMT"},
			"Link": {app, `<https://example.com/v2>; rel="deprecation"; type="text/html", </v3>; rel="successor-version"`},
		},
		"/v3/x": {
			"Sunset": {"Wed, 31 Jan 2029 00:00:00 GMT"},
			"Link":   {app, `<https://example.com/v3>; rel="sunset"; type="text/html", </v4>; rel="successor-version"`},
		},
		"/v4/x": {"Link": {app}},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			got := http.Header{}
			head := a.ask("GET", path, "").head
			for _, name := range []string{"Deprecation", "Sunset", "Link"} {
				if list := head.Values(name); list != nil {
					got[name] = list
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestVersionsMethods: a path with a method that neither the version nor one that it
// becomes has gets 405 and the methods that there are.
func TestVersionsMethods(t *testing.T) {
	t.Parallel()
	const rest = `
      app: v3
      older:
      - name: v1
        becomes: v2
        deprecated: 2025-01-31
        routes:
        - {match: {method: POST, path: "/order/{id}"}, request: {method: PUT, path: "/orders/{id}"}}
        - {match: {method: POST, path: "/lists/new"}}
      - name: v2
        routes:
        - {match: {method: PATCH, path: "/orders/{id}"}, request: {method: PUT}}
    routes:
    - {match: {method: PUT, path: "/orders/{id}"}}
    - {match: {method: DELETE, path: "/orders/{id}"}}
    - {match: {method: GET, path: "/lists/{id}"}}
`
	byPath := serve(t, "\n    versions:\n      path: \"/{version}\""+rest, newest)
	byHeader := serve(t, "\n    versions:\n      header: Api-Version"+rest, newest)
	allow := func(methods string) string { return "405 " + methods }
	for _, tt := range []struct {
		method, version, path, want string
	}{
		{"POST", "v1", "/order/7", "200 "},
		{"GET", "v1", "/order/7", allow("POST")},
		{"GET", "v1", "/orders/7", allow("DELETE, PATCH, PUT")},
		{"GET", "v1", "/lists/new", "200 "},
		{"PUT", "v1", "/lists/new", allow("GET, POST")},
		{"GET", "v2", "/orders/7", allow("DELETE, PATCH, PUT")},
		{"DELETE", "v2", "/orders/7", "200 "},
		{"PATCH", "v3", "/orders/7", allow("DELETE, PUT")},
		{"POST", "v3", "/lists/new", allow("GET")},
		{"GET", "v3", "/order/7", "404 "},
		{"GET", "v1", "/other", "404 "},
	} {
		t.Run(tt.method+" "+tt.version+tt.path, func(t *testing.T) {
			t.Parallel()
			for _, got := range []answered{
				byPath.ask(tt.method, "/"+tt.version+tt.path, ""), byHeader.ask(tt.method, tt.path, "", "Api-Version", tt.version),
			} {
				if said := strconv.Itoa(got.status) + " " + got.head.Get("Allow"); said != tt.want {
					t.Errorf("%s, not %s", said, tt.want)
				}
				if old := got.head.Get("Deprecation") != ""; old != (tt.version == "v1") {
					t.Errorf("Deprecation: %t", old)
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
