package transform_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const (
	anOrder    = `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><GetOrderResponse xmlns="urn:o"><Id>7</Id><Total>1.50</Total></GetOrderResponse></soap:Body></soap:Envelope>`
	notFound11 = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client.NotFound</faultcode><faultstring>no order 7</faultstring><detail><id xmlns="">7</id></detail></s:Fault></s:Body></s:Envelope>`
)

// soapAPI is JSON outside and SOAP inside.
const soapAPI = `
    routes:
    - match: {path: "/orders/{id}"}
      response:
        status: {"200": 203}
        headers: {remove: [X-Powered-By], set: {X-Order: "{id}"}}
        body: {from: soap, to: json, soap: {operation: GetOrderResponse, namespace: "urn:o"}, map: {coerce: {Total: number}}}
        faults: {Sender.NotFound: 404}
`

// jsonAPI is SOAP outside and JSON inside.
const jsonAPI = `
    routes:
    - match: {path: /ws}
      request: {body: {from: soap, to: json}}
      response: {body: {from: json, to: soap, soap: {operation: R, namespace: "urn:o"}}}
    - match: {path: /none}
      request: {schema: {type: object}}
`

// TestResponses: what a client gets of the app's response.
func TestResponses(t *testing.T) {
	t.Parallel()
	const jsonMap = `
    limits: {bodyBytes: 1Ki}
    routes:
    - match: {path: /}
      response: {status: {"5xx": 502, "404": 410}, body: {from: json, to: json, map: {move: {a: b}}}}
    - match: {path: /as-is}
      response: {body: {from: json, to: xml, asIs: true, xml: {root: o}}}
    - match: {path: /strict}
      response: {body: {from: json, to: xml, xml: {root: o}}}
    - match: {path: /errors}
      response: {body: {from: json, to: json}, error: {from: json, to: json, map: {move: {message: error.text}}}}
    - match: {path: /schema}
      response: {schema: {type: object, required: [id]}}
    - match: {path: /csv}
      response: {body: {from: ndjson, to: csv}}
    - match: {path: /list}
      response: {body: {from: ndjson, to: json}}
    - match: {path: /lines}
      response: {body: {from: json, to: ndjson}}
`
	const json, xml = "application/json", "text/xml; charset=utf-8"
	tests := []struct {
		name, api, method, path string
		header                  []string // of the request
		app                     http.HandlerFunc
		want                    string
		head                    map[string]string // of the response; "" for none
	}{
		{
			name: "a map", api: jsonMap, path: "/", app: replies(200, `{"a":1}`, "Content-Type", json, "Etag", `"x"`, "Digest", "y", "Content-Length", "7"),
			want: "200 application/json\n" + `{"b":1}`, head: map[string]string{"Etag": `W/"x"`, "Digest": "", "Content-Length": "7"},
		},
		{name: "an error in the same format", api: jsonMap, path: "/", app: replies(404, `{"a":1}`, "Content-Type", json), want: "410 application/json\n" + `{"a":1}`},
		{name: "an error in another", api: jsonMap, path: "/", app: replies(500, `oh`, "Content-Type", "text/plain"), want: "502 text/plain\noh"},
		{name: "an error with a map", api: jsonMap, path: "/errors", app: replies(400, `{"message":"x"}`, "Content-Type", "application/problem+json"), want: "400 application/problem+json\n" + `{"error":{"text":"x"}}`},
		{name: "nothing", api: jsonMap, path: "/", app: replies(201, ``, "Content-Length", "0"), want: "201 \n"},
		{name: "nothing, and no length", api: jsonMap, path: "/", app: replies(202, ``), want: "202 \n"},
		{name: "nothing, in JSON", api: jsonMap, path: "/", app: replies(200, ``, "Content-Type", json), want: "200 application/json\n"},
		{name: "nothing of a stream", api: jsonMap, path: "/lines", app: replies(202, ``, "Content-Type", json), want: "202 application/json\n"},
		{name: "nothing of a stream of records", api: jsonMap, path: "/list", app: replies(202, ``), want: "202 \n"},
		{name: "an error, and no more", api: jsonMap, path: "/", app: replies(500, ``), want: "502 \n"},
		{name: "no records", api: jsonMap, path: "/list", app: replies(200, ``, "Content-Type", "application/x-ndjson", "Content-Length", "0"), want: "200 application/json\n[]"},
		{name: "204", api: jsonMap, path: "/", app: replies(204, ``), want: "204 \n"},
		{name: "304", api: jsonMap, path: "/", app: replies(304, ``, "Etag", `"x"`), want: "304 \n", head: map[string]string{"Etag": `W/"x"`}},
		{name: "304 of what stays", api: jsonMap, path: "/as-is", header: []string{"Accept", json}, app: replies(304, ``, "Etag", `"x"`), want: "304 \n", head: map[string]string{"Etag": `"x"`, "Vary": "Accept"}},
		{name: "HEAD", api: jsonMap, method: "HEAD", path: "/", app: replies(200, ``, "Content-Type", "application/json", "Content-Length", "77", "Etag", `"x"`), want: "200 application/json\n", head: map[string]string{"Etag": `W/"x"`, "Content-Length": ""}},
		{name: "a redirect", api: jsonMap, path: "/", app: replies(302, "<a>", "Content-Type", "text/html", "Location", "/x"), want: "302 text/html\n<a>", head: map[string]string{"Location": "/x"}},
		{name: "another format", api: jsonMap, path: "/", app: replies(200, "<a>", "Content-Type", "text/html"), want: problemOf(502, "Bad Gateway", "the app's response is text/html, and not json")},
		{name: "malformed", api: jsonMap, path: "/", app: replies(200, "{", "Content-Type", json), want: problemOf(502, "Bad Gateway", "the app's response: json line 1, byte 2: it ends too early")},
		{name: "too large", api: jsonMap, path: "/", app: replies(200, strings.Repeat(" ", 2000), "Content-Type", json), want: problemOf(502, "Bad Gateway", "the app's response has more than 1024 bytes")},
		{name: "a part", api: jsonMap, path: "/", app: replies(206, "{}", "Content-Type", json), want: problemOf(502, "Bad Gateway", "the app's response is a part, which cannot be changed")},
		{
			name: "compressed for who takes it", api: jsonMap, path: "/", header: []string{"Accept-Encoding", "br, gzip;q=0.5"},
			app: func(w http.ResponseWriter, r *http.Request) {
				replies(200, zipped(t, fmt.Sprintf(`{"a":%q}`, r.Header["Accept-Encoding"])), "Content-Type", json, "Content-Encoding", "gzip")(w, r)
			},
			want: "200 application/json\n" + `{"b":["br, gzip"]}`, head: map[string]string{"Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
		},
		{name: "compressed for who does not", api: jsonMap, path: "/", app: replies(200, zipped(t, `{"a":1}`), "Content-Type", json, "Content-Encoding", "gzip"), want: "200 application/json\n" + `{"b":1}`, head: map[string]string{"Content-Encoding": ""}},
		{name: "a bomb", api: jsonMap, path: "/", app: replies(200, zipped(t, strings.Repeat(" ", 1<<18)), "Content-Type", json, "Content-Encoding", "gzip"), want: problemOf(502, "Bad Gateway", "the app's response: the body has more than 1024 bytes")},
		{name: "who wants A", api: jsonMap, path: "/as-is", header: []string{"Accept", "application/json"}, app: replies(200, `{"a":1}`, "Content-Type", json), want: "200 application/json\n" + `{"a":1}`, head: map[string]string{"Vary": "Accept"}},
		{name: "who wants B", api: jsonMap, path: "/as-is", header: []string{"Accept", "text/xml, application/json;q=0.9"}, app: replies(200, `{"a":1}`, "Content-Type", json), want: "200 application/xml; charset=utf-8\n" + `<?xml version="1.0" encoding="UTF-8"?>` + "\n<o><a>1</a></o>", head: map[string]string{"Vary": "Accept"}},
		{name: "who wants neither", api: jsonMap, path: "/as-is", header: []string{"Accept", "image/*"}, app: replies(200, `{}`), want: problemOf(406, "Not Acceptable", "the response is application/xml or application/json, and Accept has something else")},
		{name: "who wants what is not to be had", api: jsonMap, path: "/strict", header: []string{"Accept", "application/json"}, app: replies(200, `{}`), want: problemOf(406, "Not Acceptable", "the response is application/xml, and Accept has something else")},
		{name: "who wants anything", api: jsonMap, path: "/strict", header: []string{"Accept", "text/html, */*;q=0.1"}, app: replies(200, `{"a":[1,2]}`, "Content-Type", json), want: "200 application/xml; charset=utf-8\n" + `<?xml version="1.0" encoding="UTF-8"?>` + "\n<o><a>1</a><a>2</a></o>"},
		{name: "fits the schema", api: jsonMap, path: "/schema", app: replies(200, `{"id":1}`, "Content-Type", json), want: "200 application/json\n" + `{"id":1}`},
		{name: "does not fit the schema", api: jsonMap, path: "/schema", app: replies(200, `{"secret":1}`, "Content-Type", json), want: problemOf(502, "Bad Gateway", "the app's response does not fit the schema", `{"pointer":"/id","detail":"is missing"}`)},
		{name: "records", api: jsonMap, path: "/csv", app: replies(200, "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y,z\"}\n", "Content-Type", "application/x-ndjson"), want: "200 text/csv; charset=utf-8\na,b\r\n1,x\r\n2,\"y,z\"\r\n"},
		{name: "a record that is none", api: jsonMap, path: "/csv", app: replies(200, "x", "Content-Type", "application/x-ndjson"), want: problemOf(502, "Bad Gateway", "")},
		{
			name: "SOAP", api: soapAPI, path: "/orders/7", app: replies(200, anOrder, "Content-Type", "text/xml", "X-Powered-By", "y"),
			want: "203 application/json\n" + `{"Id":"7","Total":1.50}`, head: map[string]string{"X-Powered-By": "", "X-Order": "7"},
		},
		{name: "a fault that has a status", api: soapAPI, path: "/orders/7", app: replies(500, notFound11, "Content-Type", "text/xml"), want: "404 application/json\n" + `{"fault":{"code":"Sender","subcode":"NotFound","reason":"no order 7","detail":{"id":"7"}}}`},
		{name: "a fault of the sender", api: soapAPI, path: "/orders/7", app: replies(500, strings.ReplaceAll(notFound11, "Client.NotFound", "Client"), "Content-Type", "text/xml"), want: "400 application/json\n" + `{"fault":{"code":"Sender","reason":"no order 7","detail":{"id":"7"}}}`},
		{name: "an error page", api: soapAPI, path: "/orders/7", app: replies(503, "busy", "Content-Type", "text/plain"), want: "503 text/plain\nbusy"},
		{
			name: "to SOAP 1.1", api: jsonAPI, method: "POST", path: "/ws", header: []string{"Content-Type", "text/xml"}, app: replies(200, `{"a":1}`, "Content-Type", json),
			want: "200 " + xml + "\n" + `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><R xmlns="urn:o"><a>1</a></R></soap:Body></soap:Envelope>`,
		},
		{
			name: "to SOAP 1.2", api: jsonAPI, method: "POST", path: "/ws", header: []string{"Content-Type", "application/soap+xml"}, app: replies(200, `{"a":1}`, "Content-Type", json),
			want: "200 application/soap+xml; charset=utf-8\n" + `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"><soap:Body><R xmlns="urn:o"><a>1</a></R></soap:Body></soap:Envelope>`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.method == "" {
				tt.method = "GET"
			}
			body := ""
			if tt.method == "POST" {
				body = anOrder
				if tt.header[1] == "application/soap+xml" {
					body = strings.Replace(anOrder, "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope", 1)
				}
			}
			got := serve(t, tt.api, tt.app).ask(tt.method, tt.path, body, tt.header...)
			if got.head.Get("Content-Encoding") == "gzip" {
				got.body = unzipped(t, got.body)
			}
			text := got.String()
			if strings.HasSuffix(tt.want, `"detail":"`) {
				text = text[:min(len(text), len(tt.want))]
			}
			if diff := cmp.Diff(tt.want, text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for name, want := range tt.head {
				if got := got.head.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestEndless: a client need not wait for the end of a response that is not used.
func TestEndless(t *testing.T) {
	t.Parallel()
	const api = `
    limits: {bodyBytes: 1Ki}
    routes:
    - {match: {path: /}, response: {body: {from: json, to: json}}}
    - {match: {path: /records}, response: {body: {from: ndjson, to: csv}}}
`
	for name, tt := range map[string]struct{ path, contentType, text, want string }{
		"another format":      {"/", "text/event-stream", "data: 1\n\n", problemOf(502, "Bad Gateway", "the app's response is text/event-stream, and not json")},
		"nothing of it yet":   {"/", "text/event-stream", "", problemOf(502, "Bad Gateway", "the app's response is text/event-stream, and not json")},
		"too large":           {"/", "application/json", strings.Repeat(" ", 600), problemOf(502, "Bad Gateway", "the app's response has more than 1024 bytes")},
		"a record that is no": {"/records", "application/x-ndjson", "{\n", problemOf(502, "Bad Gateway", "the app's response: ndjson line 1, byte 1, [0]: it ends too early", `{"pointer":"/0","detail":"it ends too early"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := serve(t, api, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				control := http.NewResponseController(w)
				for control.Flush() == nil && r.Context().Err() == nil {
					if _, err := io.WriteString(w, tt.text); err != nil {
						panic(http.ErrAbortHandler) // as the router does
					}
				}
			})
			if got := a.ask("GET", tt.path, "").String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestFailuresCounted: one for each, also where a response has begun.
func TestFailuresCounted(t *testing.T) {
	t.Parallel()
	const api = `
    routes:
    - {match: {path: /up}, request: {body: {from: ndjson, to: ndjson}}}
    - {match: {path: /down}, response: {body: {from: ndjson, to: ndjson}}}
`
	a := serve(t, api, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, text := range []string{"{}\n", "{\n", "{}\n", "{}\n"} {
			if _, err := io.WriteString(w, text); err != nil {
				t.Errorf("it is the client who takes no more: %v", err)
			}
		}
	})
	if got := a.ask("POST", "/up", "{\n", "Content-Type", "application/x-ndjson"); got.status != 400 {
		t.Error(got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+"/down", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := nettest.Client.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); string(text) != "{}\n" || err == nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, direction := range []string{"request", "response"} {
		redistest.Eventually(t, time.Minute, direction, func() error {
			if n := a.failures(direction); n != 1 {
				return fmt.Errorf("%v failures are counted", n)
			}
			return nil
		})
	}
}

// TestFaults: a client who speaks SOAP hears of errors in its own version.
func TestFaults(t *testing.T) {
	t.Parallel()
	a := serve(t, jsonAPI, replies(404, `{"message":"none"}`, "Content-Type", "text/plain"))
	tests := []struct {
		name, path, body string
		header           []string
		want             []string
	}{
		{"no XML", "/ws", "<", []string{"Content-Type", "text/xml"}, []string{"500 text/xml", "soap/envelope/", "<faultcode>soap:Client</faultcode>"}},
		{"no XML, 1.2", "/ws", "<", []string{"Content-Type", "application/soap+xml"}, []string{"400 application/soap+xml", "2003/05/soap-envelope", "soap:Sender"}},
		{"the app's error", "/ws", anOrder, []string{"Content-Type", "text/xml"}, []string{"500 text/xml", "<faultcode>soap:Client</faultcode>", "the app answers 404 Not Found"}},
		{"no route", "/nowhere", "<", []string{"Content-Type", "text/xml", "SOAPAction", ""}, []string{"500 text/xml", "<faultcode>soap:Client</faultcode>"}},
		{"no route, no SOAP", "/nowhere", "<", []string{"Content-Type", "text/xml"}, []string{"404 application/problem+json"}},
	}
	for _, tt := range tests {
		got := a.ask("POST", tt.path, tt.body, tt.header...).String()
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, got)
			}
		}
	}
}

// TestTrailers: they come after a body that was changed, too.
func TestTrailers(t *testing.T) {
	t.Parallel()
	const api = `
    routes:
    - {match: {path: /whole}, response: {body: {from: json, to: json}}}
    - {match: {path: /records}, response: {body: {from: ndjson, to: ndjson}}}
`
	a := serve(t, api, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", map[string]string{"/whole": "application/json", "/records": "application/x-ndjson"}[r.URL.Path])
		_, _ = io.WriteString(w, "{\"a\":1}\n")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"Content-Digest", "sha-256=:AAAA:")
	})
	for _, path := range []string{"/whole", "/records"} {
		got := a.ask("GET", path, "")
		if got.status != 200 || strings.TrimSpace(got.body) != `{"a":1}` || got.late.Get("X-Sum") != "1" || got.late.Get("Content-Digest") != "" {
			t.Errorf("%s: %v, trailers %v", path, got, got.late)
		}
	}
}

// TestRecordsFlow: each record goes on when it is there.
func TestRecordsFlow(t *testing.T) {
	t.Parallel()
	const api = `
    routes:
    - match: {path: /}
      request: {body: {from: ndjson, to: ndjson, map: {move: {a: b}}}}
      response: {body: {from: ndjson, to: ndjson, map: {move: {b: c}}}}
`
	a := serve(t, api, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = control.Flush()
			}
			if err != nil {
				return
			}
		}
	})
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+"/", out)
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := io.WriteString(in, "{\"a\":1}\n")
		first <- err
	}()
	resp, err := nettest.Client.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for i := 1; i < 4; i++ { // the next record is sent when the one before has come back
		n, err := io.ReadAtLeast(resp.Body, buf, len("{\"c\":1}\n"))
		if want := fmt.Sprintf("{\"c\":%d}\n", i); err != nil || string(buf[:n]) != want {
			t.Fatalf("got %q, %v, want %q", buf[:n], err, want)
		}
		if _, err := fmt.Fprintf(in, "{\"a\":%d}\n", i+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != "{\"c\":4}\n" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}
