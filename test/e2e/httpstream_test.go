package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// httpEntry is a way into the proxy. Plain text is served on event loops, what is in TLS on goroutines.
type httpEntry struct {
	name   string
	addr   string
	tls    *tls.Config // nil: plain text
	http2  bool
	client *http.Client
}

// dial connects as for HTTP/1.1.
func (e *httpEntry) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * readyLimit)); err != nil {
		t.Fatal(err)
	}
	if e.tls == nil {
		return conn
	}
	conf := e.tls.Clone()
	conf.ServerName = "127.0.0.1"
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return secure
}

func (e *httpEntry) url() string {
	if e.tls == nil {
		return "http://" + e.addr
	}
	return "https://" + e.addr
}

// startEntries runs one proxy with a listener in plain text and one in TLS, both before an app.
func startEntries(t *testing.T, run func(*testing.T, []string, ...string) *Proxy, app http.Handler) (*Proxy, []*httpEntry) {
	t.Helper()
	s := httptest.NewServer(app)
	t.Cleanup(s.Close)
	pki := redistest.NewPKI(t)
	plain, secure := redistest.Port(t), redistest.Port(t)
	document := func(name string, port int, more string) string {
		return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: %s}
spec:
  protocol: http
  listen: {port: %d%s}
  http: {routes: [{prefix: /refused, status: 403}]}
  environments: {prod: {address: %q}}
  defaultEnvironment: prod
`, name, port, more, s.Listener.Addr())
	}
	text := document("plain", plain, "") + "---\n" +
		document("secure", secure, fmt.Sprintf(", tls: {certFile: %q, keyFile: %q}", pki.ServerCertFile, pki.ServerKeyFile))
	p := run(t, nil, "run", "-f", filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), text))
	p.awaitReady()
	client := func(conf *tls.Config, http2 bool) *http.Client {
		tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: http2, ExpectContinueTimeout: time.Minute}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	addr := mesh{port: secure}.Addr()
	return p, []*httpEntry{
		{"plain text", mesh{port: plain}.Addr(), nil, false, client(nil, false)},
		{"TLS", addr, pki.ClientConfig(), false, client(pki.ClientConfig(), false)},
		{"HTTP/2", addr, pki.ClientConfig(), true, client(pki.ClientConfig(), true)},
	}
}

// TestHTTPUpload streams bodies of 1 GB, whose length is known or not, through the proxy as it is delivered. It never has more than a
// small part of one.
func TestHTTPUpload(t *testing.T) {
	t.Parallel()
	p, entries := startEntries(t, deliver, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", r.ContentLength, " ", err)
	}))
	for _, e := range entries {
		size := int64(1 << 30)
		if e.http2 {
			size = 128 << 20 // the test's own client is slow with frames
		}
		for _, length := range []int64{size, -1} {
			began := time.Now()
			status, got := e.upload(t, size, length)
			if want := fmt.Sprint(size, " ", length, " <nil>"); got != want || status != http.StatusOK {
				t.Errorf("%s: %d %q, want %q", e.name, status, got, want)
			}
			t.Logf("%s, length %d: %v, at most %d KiB were resident", e.name, length, time.Since(began).Round(time.Millisecond), p.memory("VmHWM")>>10)
		}
	}
	const most = 64 << 20
	if taken := p.memory("VmHWM"); taken > most {
		t.Errorf("the proxy has taken %d bytes, want at most %d", taken, most)
	}
}

// upload sends so many bytes, whose length the head says unless it is negative.
func (e *httpEntry) upload(t *testing.T, size, length int64) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url(), io.LimitReader(endless{}, size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatalf("%s, length %d: %v", e.name, length, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s, length %d: %v", e.name, length, err)
	}
	return resp.StatusCode, string(got)
}

// endless is a body of zeros.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestHTTPTrailers: trailers of requests and responses pass.
func TestHTTPTrailers(t *testing.T) {
	t.Parallel()
	_, entries := startEntries(t, launch, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v %s", body, err, r.Trailer.Get("X-In"))
		w.Header().Set("X-Sum", "12")
	}))
	for _, e := range entries {
		body := struct{ io.Reader }{strings.NewReader("body")} // of no known length
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url(), body)
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-In": {"7"}}
		resp, err := e.client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(got) != "body <nil> 7" || err != nil || resp.Trailer.Get("X-Sum") != "12" {
			t.Errorf("%s: %q, %v, trailers %v", e.name, got, err, resp.Trailer)
		}
	}
}

// TestHTTPContinue: a client that expects 100 gets it where its body is wanted, and keeps its body elsewhere.
func TestHTTPContinue(t *testing.T) {
	t.Parallel()
	_, entries := startEntries(t, launch, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	for _, e := range entries {
		for path, want := range map[string]string{"/": "100 then 200 body", "/refused": "403 "} {
			if got := e.expect(t, path, "body"); got != want {
				t.Errorf("%s, %s: %q, want %q", e.name, path, got, want)
			}
		}
	}
}

// expect sends a body once it may, and says what the answers were.
func (e *httpEntry) expect(t *testing.T, path, body string) string {
	t.Helper()
	first := ""
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		first = fmt.Sprint(code, " then ")
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	return first + fmt.Sprint(resp.StatusCode, " ", string(got))
}

// TestHTTPWebSocket: frames pass both ways, and each side sees the other one leave.
func TestHTTPWebSocket(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	_, entries := startEntries(t, launch, websocket.Server{Handler: func(ws *websocket.Conn) {
		switch ws.Request().URL.Path {
		case "/bye":
			_, _ = io.WriteString(ws, "bye")
		default:
			_, err := io.Copy(ws, ws)
			ended <- err
		}
	}})
	for _, e := range entries[:2] { // over HTTP/2 browsers open another connection for it
		ws := e.webSocket(t, "/echo")
		for _, text := range []string{"a", strings.Repeat("long ", 1<<16)} {
			if err := websocket.Message.Send(ws, text); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
			got := make([]byte, len(text)) // the echo may come in several frames
			if _, err := io.ReadFull(ws, got); string(got) != text || err != nil {
				t.Errorf("%s: an echo of %d bytes differs: %v", e.name, len(text), err)
			}
		}
		if err := ws.Close(); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: the app's end: %v", e.name, err)
			}
		case <-time.After(readyLimit):
			t.Fatalf("%s: the app does not hear that the client has gone", e.name)
		}
		if got, err := io.ReadAll(e.webSocket(t, "/bye")); string(got) != "bye" || err != nil {
			t.Errorf("%s: the client's end: %q, %v", e.name, got, err)
		}
	}
}

// webSocket shakes hands with the app.
func (e *httpEntry) webSocket(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	conf, err := websocket.NewConfig("ws://app"+path, "http://app")
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(conf, e.dial(t))
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	return ws
}
