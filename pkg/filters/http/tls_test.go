package http_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestTLS has clients agree by ALPN on what is spoken beneath TLS.
func TestTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	for name, tt := range map[string]struct {
		codec  resource.HTTPCodec
		offer  []string // by the client
		agreed string
	}{
		"HTTP/2":                       {resource.HTTPAuto, []string{"h2"}, "h2"},
		"HTTP/1.1":                     {resource.HTTPAuto, []string{"http/1.1"}, "http/1.1"},
		"either":                       {resource.HTTPAuto, []string{"http/1.1", "h2"}, "h2"},
		"no ALPN":                      {resource.HTTPAuto, nil, ""},
		"a listener of HTTP/1.1 alone": {resource.HTTPOne, []string{"h2", "http/1.1"}, "http/1.1"},
		"a listener of HTTP/2 alone":   {resource.HTTPTwo, []string{"h2", "http/1.1"}, "h2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := pki.ServerConfig()
			cfg.NextProtos = tt.codec.ALPN()
			m := manager(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				fmt.Fprintf(w, "%s, TLS %t", r.Proto, r.TLS != nil)
			})
			m.Codec = tt.codec
			h := newHost(t, m, cfg)
			client := pki.ClientConfig()
			client.ServerName, client.NextProtos = "localhost", tt.offer
			c := tls.Client(h.dial(), client)
			if err := c.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != tt.agreed {
				t.Fatalf("agreed on %q, want %q", got, tt.agreed)
			}
			want := "HTTP/1.1, TLS true"
			if tt.agreed == "h2" {
				want = "HTTP/2.0, TLS true"
			}
			speak := func() string { body, _ := ask(t, c, "/"); return body }
			if tt.agreed == "h2" {
				speak = func() string { return askHTTP2(t, c) }
			}
			if got := speak(); got != want {
				t.Errorf("answer %q, want %q", got, want)
			}
		})
	}
}

// askHTTP2 sends a request over a connection that has agreed on HTTP/2.
func askHTTP2(t *testing.T, c net.Conn) string {
	t.Helper()
	var two http.Protocols
	two.SetHTTP2(true)
	tr := &http.Transport{Protocols: &two, DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
