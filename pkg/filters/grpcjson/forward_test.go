package grpcjson_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
)

// TestUnary has requests of every kind made calls, over both versions of HTTP.
func TestUnary(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(`, "auto_mapping": true`))
	tests := []struct {
		request, body string
		want          string
	}{
		{"GET /v1/orders/5?state=PAID&revision=7", "", `{"name":"orders/5","state":"PAID","serial":"7"}`},
		{"GET /v1/orders/a%20b", "", `{"name":"orders/a b"}`},
		{"GET /v1/orders/5?filter.since=2026-01-02T03:04:05Z", "", `{"name":"orders/5","customerName":"since:{seconds:1767323045}","created":"2026-01-02T03:04:05Z"}`},
		{"FETCH /v1/fetch/2/x", "", `{}`},
		{"POST /v1/shelves/1/orders?dryRun=true", `{"name": "n", "items": [{"sku": "s", "count": 2}]}`, `{"name":"shelves/1/n","state":"OPEN","items":[{"sku":"s","count":2}]}`},
		{"POST /v1/shelves/1/orders", "", `{"name":"shelves/1/"}`},
		{"POST /v1/orders:create", `{"shelf": "s", "order": {"name": "n"}}`, `{"name":"s/n"}`},
		{"PATCH /v1/orders/5", `{"customer_name": "c", "total": 1.5}`, `{"name":"orders/5","customerName":"c","total":1.5}`},
		{"PATCH /v1/orders/5", `{"name": "other"}`, `{"name":"other"}`},
		{"PUT /v1/orders/5/items", `[{"sku": "a"}, {"sku": "b"}]`, `[{"sku":"a"},{"sku":"b"}]`},
		{"GET /v1/orders?page_size=1&states=OPEN&states=2", "", `{"orders":[{"name":"orders/0","items":[{"sku":"a","count":1,"price":1.5}],"created":"2023-11-14T22:13:20Z"},{"state":"OPEN"},{"state":"PAID"}]}`},
		{"DELETE /v1/orders/5", "", `{}`},
		{"POST /" + grpctest.Orders + "/Echo", `{"aInt64": "5", "any": {"@type": "type.googleapis.com/dragoman.test.shop.Item", "sku": "x"}, "unknown": 1}`, `{"aInt64":"5","any":{"@type":"type.googleapis.com/dragoman.test.shop.Item","sku":"x"}}`},
		{"POST /v1/files:convert", "plain \x00 bytes", "got plain \x00 bytes"},
	}
	for name, c := range clients(t) {
		for _, test := range tests {
			method, path, _ := strings.Cut(test.request, " ")
			r := ask(t, c, method, "http://"+addr+path, test.body, "Content-Type", "application/json")
			if r.StatusCode != http.StatusOK || r.body != test.want {
				t.Errorf("%s %s: %s %s, want %s", name, test.request, r.Status, r.body, test.want)
			}
			if got := r.Header.Get("Grpc-Status"); got != "0" {
				t.Errorf("%s %s: grpc-status %q", name, test.request, got)
			}
			want := "application/json"
			if strings.HasSuffix(path, ":convert") {
				want = "text/x-application/json"
			}
			if got := r.Header.Get("Content-Type"); got != want {
				t.Errorf("%s %s: content type %q", name, test.request, got)
			}
		}
	}
}

// TestMetadata: headers become metadata and the other way round, but for those
// of a connection.
func TestMetadata(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(""))
	for name, c := range clients(t) {
		header := []string{"X-Tenant", "acme", "X-Data-Bin", "AQI="}
		if name == "HTTP/1.1" {
			header = append(header, "X-Hop", "1", "Connection", "X-Hop")
		}
		r := ask(t, c, "GET", "http://"+addr+"/v1/orders/5", "", header...)
		if want := `{"name":"orders/5","labels":{"x-data-bin":"\u0001\u0002","x-tenant":"acme"}}`; r.body != want {
			t.Errorf("%s: %s, want %s", name, r.body, want)
		}
		if cost := map[string]string{"HTTP/2": "5"}[name]; r.Trailer.Get("X-Cost") != cost || r.Header.Get("X-Cost") != "" {
			t.Errorf("%s: trailers %v, header %v", name, r.Trailer, r.Header)
		}
		if r.Header.Get("X-Seen") != "acme" || r.Header.Get("Grpc-Encoding") != "" || r.Header.Get("Content-Length") == "" {
			t.Errorf("%s: %v", name, r.Header)
		}
	}
}

// TestRefused: what is wrong with a request is said with the name of the field,
// before any server sees it.
func TestRefused(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(`, "max_request_body_size": 1000, "request_validation_options": {"reject_unknown_method": true, "reject_unknown_query_parameters": true, "reject_binding_body_field_collisions": true}`))
	c := clients(t)["HTTP/1.1"]
	for _, test := range []struct{ request, body, want string }{
		{"GET /v2/none", "", "404 no method has a rule for this method and path"},
		{"PUT /v1/orders/5", "", "404 no method has a rule for this method and path"},
		{"GET /v1/orders/5?none=1", "", "400 query none: is not a field of the message"},
		{"GET /v1/orders/5?name=6", "", "400 query name: is not a field of the message"},
		{"GET /v1/orders/5?filter=6", "", "400 query filter: is not a field of the message"},
		{"GET /v1/orders/5?revision=x", "", "400 query revision: is not a whole number"},
		{"GET /v1/orders/5?filter.limit=1.5", "", "400 query filter.limit: is not a whole number"},
		{"GET /v1/orders/5?revision=%2", "", "400 query : has an escape that is none"},
		{"FETCH /v1/fetch/NONE/x", "", `400 path state: "NONE" is not a value of the enum`},
		{"PATCH /v1/orders/5", `{"items": [{"count": 1}, {"count": -1}]}`, "400 body items[1].count: is not in the range of a uint32"},
		{"PATCH /v1/orders/5", `{"name": "other"}`, "400 body name: is not what the path or the query says"},
		{"PATCH /v1/orders/5", `{"items": `, "400 body items: ends where a list is expected"},
		{"PATCH /v1/orders/5", `[]`, "400 body : at byte 0: '[' where an object is expected"},
		{"PATCH /v1/orders/5", strings.Repeat("[", 500), "400 body : at byte 0: '[' where an object is expected"},
		{"PUT /v1/orders/5/items", `{}`, "400 body : at byte 0: '{' where a list is expected"},
		{"PATCH /v1/orders/5", `{"customerName": "` + strings.Repeat("x", 1000) + `"}`, "413 the body, or a message in it, has more than 1000 bytes"},
		{"POST /v1/orders:import", `{"name": "a"} {"name": 5}`, "400 body name: '5' where a string is expected"},
		{"POST /v1/orders:import", `{"name": "` + strings.Repeat("x", 2000) + `"}`, "413 the body, or a message in it, has more than 1000 bytes"},
		{"POST /v1/orders:import", `[{"name": "a"}`, "400 body : "},
		{"POST /v1/orders:chat", `{"name": }`, "400 body name: "},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		r := ask(t, c, method, "http://"+addr+path, test.body)
		if got := r.fields(t); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s %.60s: %s, want %s", test.request, test.body, got, test.want)
		}
	}
}

// TestPass: without its options the filter leaves alone what means no method.
func TestPass(t *testing.T) {
	t.Parallel()
	addr, _ := startWith(t, envoy(`, "ignored_query_parameters": ["trace"]`), `{"match": {"prefix": "/v1/orders"}, "direct_response": {"status": 418}},
	  {"match": {"prefix": "/"}, "route": {"cluster": "app"}}`)
	c := clients(t)["HTTP/1.1"]
	for request, want := range map[string]int{"/v1/orders/5?none=1": 418, "/v1/orders/5/6": 418, "/v1/orders/5?trace=1": 200, "/v1/orders/5": 200} {
		if r := ask(t, c, "GET", "http://"+addr+request, ""); r.StatusCode != want {
			t.Errorf("%s: %s, want %d", request, r.Status, want)
		}
	}
}

// TestStatus has errors of the server become those of HTTP.
func TestStatus(t *testing.T) {
	t.Parallel()
	plain, converted := start(t, envoy("")), start(t, envoy(`, "convert_grpc_status": true`))
	c := clients(t)["HTTP/2"]
	codes := map[string]int{
		"1": 499, "2": 500, "3": 400, "4": 504, "5": 404, "6": 409, "7": 403, "8": 429, "9": 400, "10": 409, "11": 400, "12": 501, "13": 500, "14": 503, "15": 500, "16": 401,
	}
	for code, want := range codes {
		r := ask(t, c, "GET", "http://"+plain+"/v1/orders/code-"+code, "")
		if r.StatusCode != want || r.Header.Get("Grpc-Status") != code || r.Header.Get("Grpc-Message") != "as asked" || r.body != "" {
			t.Errorf("%s: %s %v %q, want %d", code, r.Status, r.Header, r.body, want)
		}
		r = ask(t, c, "GET", "http://"+converted+"/v1/orders/code-"+code, "")
		if r.StatusCode != want || r.body != `{"code":`+code+`,"message":"as asked"}` || r.Header.Get("Grpc-Status") != "" || r.Header.Get("X-Cost") != "5" {
			t.Errorf("%s: %s %v %q, want %d", code, r.Status, r.Header, r.body, want)
		}
	}
	r := ask(t, c, "GET", "http://"+converted+"/v1/orders/missing", "")
	if want := `{"code":5,"message":"no order \"missing\": 100% gone, é","details":[{"@type":"type.googleapis.com/dragoman.test.shop.Item","sku":"s"}]}`; r.StatusCode != http.StatusNotFound || !strings.Contains(r.body, `"sku":"s"`) {
		t.Errorf("%s %s, want %s", r.Status, r.body, want)
	}
	if r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", r.Header)
	}
}

// TestServerStream has a stream of answers written in each of its ways.
func TestServerStream(t *testing.T) {
	t.Parallel()
	array := start(t, envoy(""))
	lines := start(t, envoy(`, "print_options": {"stream_newline_delimited": true}`))
	events := start(t, envoy(`, "print_options": {"stream_sse_style_delimited": true}`))
	one := func(i string) string {
		return `{"name":"orders/` + i + `","items":[{"sku":"a","count":1,"price":1.5}],"created":"2023-11-14T22:13:20Z"` + map[string]string{"0": "", "1": `,"serial":"1"`}[i] + `}`
	}
	const array0, lines0, events0 = "application/json", "application/x-ndjson", "text/event-stream"
	for name, c := range clients(t) {
		for _, test := range []struct{ addr, query, accept, want, kind, status string }{
			{array, "page_size=2", "", "[" + one("0") + "," + one("1") + "]", array0, "0"},
			{array, "page_size=0", "", "[]", array0, "0"},
			{array, "page_size=1", "text/event-stream", "data: " + one("0") + "\n\n", events0, "0"},
			{array, "page_size=1", "text/html, application/x-ndjson;q=0.5", one("0") + "\n", lines0, "0"},
			{lines, "page_size=2", "", one("0") + "\n" + one("1") + "\n", lines0, "0"},
			{events, "page_size=2", "*/*", "data: " + one("0") + "\n\ndata: " + one("1") + "\n\n", events0, "0"},
			{array, "page_size=1&page_token=bad", "", "[" + one("0"), array0, "15"},
			{lines, "page_size=1&page_token=bad", "", one("0") + "\n" + `{"error":{"code":15,"message":"bad"}}` + "\n", lines0, "15"},
			{events, "page_size=1&page_token=bad", "", "data: " + one("0") + "\n\nevent: error\ndata: " + `{"code":15,"message":"bad"}` + "\n\n", events0, "15"},
		} {
			r := ask(t, c, "GET", "http://"+test.addr+"/v1/orders:watch?"+test.query, "", "Accept", test.accept)
			if r.StatusCode != http.StatusOK || r.body != test.want || r.err != nil || r.Header.Get("Content-Type") != test.kind {
				t.Errorf("%s %s %s: %s %v %v\n%s\nwant\n%s", name, test.query, test.accept, r.Status, r.Header, r.err, r.body, test.want)
			}
			if name == "HTTP/2" && test.query != "page_size=0" && (r.Trailer.Get("Grpc-Status") != test.status || r.Trailer.Get("X-Cost") != "7") {
				t.Errorf("%s %s: trailers %v, want %s", name, test.query, r.Trailer, test.status)
			}
		}
		if r := ask(t, c, "GET", "http://"+array+"/v1/orders:watch?page_token=refused", ""); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: an error before any message: %s", name, r.Status)
		}
		if r := ask(t, c, "GET", "http://"+array+"/v1/files/three", ""); r.body != "one two three" || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %v %s", name, r.Header, r.body)
		}
	}
}

// TestClientStream has a stream of messages made of a body of several.
func TestClientStream(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(""))
	for name, c := range clients(t) {
		for body, want := range map[string]string{
			`[{"name": "a"}, {"serial": 5}]`:         `{"orders":[{"name":"a"},{"serial":"5"}]}`,
			"{\"name\": \"a\"}\n{\"name\": \"b\"}\n": `{"orders":[{"name":"a"},{"name":"b"}]}`,
			"":                                       `{}`,
			"[]":                                     `{}`,
		} {
			if r := ask(t, c, "POST", "http://"+addr+"/v1/orders:import", body); r.StatusCode != http.StatusOK || r.body != want {
				t.Errorf("%s %s: %s %s, want %s", name, body, r.Status, r.body, want)
			}
		}
		if r := ask(t, c, "POST", "http://"+addr+"/v1/files:upload", strings.Repeat("x", 3<<20), "Content-Type", "a/b"); r.body != `{"nextPageToken":"a/b 3145728"}` {
			t.Errorf("%s: %s %s", name, r.Status, r.body)
		}
		if r := ask(t, c, "POST", "http://"+addr+"/v1/orders:import", `[{"name": "stop"}`+strings.Repeat(`,{"name": "a"}`, 1000)+"]"); r.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s: a server that has had enough: %s %s", name, r.Status, r.body)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = io.WriteString(z, `{"name": "a"}`)
		_ = z.Close()
		if r := ask(t, c, "POST", "http://"+addr+"/v1/orders:import", packed.String(), "Content-Encoding", "gzip"); r.body != `{"orders":[{"name":"a"}]}` {
			t.Errorf("%s: %s %s", name, r.Status, r.body)
		}
		if r := ask(t, c, "POST", "http://"+addr+"/v1/orders:import", "x", "Content-Encoding", "br"); r.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
}

// TestBidi answers each message before the next one is sent.
func TestBidi(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(`, "print_options": {"stream_newline_delimited": true}`))
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/orders:chat", in)
	if err != nil {
		t.Fatal(err)
	}
	const line = `{"name":"x"}` + "\n"
	go func() { _, _ = io.WriteString(out, line) }() // a server says nothing before it is asked
	resp, err := clients(t)["HTTP/2"].Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for range 5 {
		got, err := lines.ReadString('\n')
		if err != nil || got != `{"name":"x","serial":"1"}`+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := io.WriteString(out, line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%q, %v, %v", rest, err, resp.Trailer)
	}
}
