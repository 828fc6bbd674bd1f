package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestAPIHostile: what clients send to do harm gets an error, costs bounded memory,
// and others are served meanwhile.
func TestAPIHostile(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // which may break off
	}))
	t.Cleanup(s.Close)
	p, url := startAPI(t, s.Listener.Addr().String(), `
    - match: {method: POST, path: /json}
      request: {body: {from: json, to: json, map: {move: {a: b}}}}
    - match: {method: POST, path: /xml}
      request: {body: {from: xml, to: json}}
    - match: {method: POST, path: /jq}
      request: {body: {from: json, to: json, jq: "[.[] | tostring] | add"}}
    - match: {method: POST, path: /csv}
      request: {body: {from: csv, to: ndjson}}
`)
	bomb := gzipOf(t, 64<<20)
	entities := `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><a>&b;</a>`
	tests := []struct {
		name, path, body string
		header           []string
		status           int
	}{
		{"deep lists", "/json", strings.Repeat("[", 500_000), nil, 413},
		{"deep elements", "/xml", strings.Repeat("<a>", 100_000), nil, 413},
		{"many values", "/json", "[" + strings.Repeat("1,", 400_000) + "1]", nil, 413},
		{"a huge number", "/json", `{"a":1e999999999}`, nil, 413},
		{"many digits", "/json", `{"a":` + strings.Repeat("9", 100_000) + `}`, nil, 413},
		{"keys twice", "/json", `{"a":1,"a":2}`, nil, 400},
		{"no UTF-8", "/json", "{\"a\":\"\xc0\x80\"}", nil, 400},
		{"entities", "/xml", entities, nil, 400},
		{"an external entity", "/xml", `<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>`, nil, 400},
		{"a gzip bomb", "/json", bomb, []string{"Content-Encoding", "gzip"}, 413},
		{"a long body", "/json", strings.Repeat(" ", 2<<20), nil, 413},
		{"a long record", "/csv", "a\n" + strings.Repeat("x", 2<<20), []string{"Content-Type", "text/csv"}, 413},
		{"a gzip bomb of records", "/csv", bomb, []string{"Content-Encoding", "gzip", "Content-Type", "text/csv"}, 413},
	}
	done := make(chan error, len(tests))
	for _, tt := range tests {
		go func() {
			for range 4 {
				status, err := post(t, url+tt.path, tt.body, tt.header...)
				if err == nil && status != tt.status {
					err = fmt.Errorf("got %d, want %d", status, tt.status)
				}
				if err != nil {
					done <- fmt.Errorf("%s: %w", tt.name, err)
					return
				}
			}
			done <- nil
		}()
	}
	for left := len(tests); left > 0; {
		select {
		case err := <-done:
			if left--; err != nil {
				t.Error(err)
			}
		default:
			if status, text, _ := ask(t, "POST", url+"/json", `{"a":1}`); status != 200 || text != `{"b":1}` {
				t.Fatalf("others get %d %s", status, text)
			}
		}
	}
	const most = 400 << 20
	if taken := p.memory("VmHWM"); taken > most {
		t.Errorf("the proxy has taken %d MB", taken>>20)
	}
}

// TestAPISlowBodies: clients that send next to nothing get 408, and hold up nobody.
func TestAPISlowBodies(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	startProxy(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders}
spec:
  api:
    listen: {port: %d}
    upstream: {address: %q}
    limits: {bodyTimeout: 1s}
    routes: [{match: {path: /}, request: {body: {from: json, to: json}}}]
`, port, apiEcho(t)))
	addr := "127.0.0.1:" + strconv.Itoa(port)
	var slow []*httpClient
	for range 200 {
		c := dialHTTP(t, addr)
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	if status, text, _ := ask(t, "POST", "http://"+addr+"/", `{}`); status != 200 {
		t.Errorf("others get %d %s", status, text)
	}
	for _, c := range slow {
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %s", resp.Status)
		}
		_ = resp.Body.Close()
	}
}

// post sends a body, of which the server may not want all.
func post(t *testing.T, url, body string, header ...string) (int, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

// gzipOf is so many spaces, compressed.
func gzipOf(t *testing.T, n int) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.CopyN(w, spaces{}, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
