package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestPasswordRotates: a new password is used for the next connection, and
// nobody notices.
func TestPasswordRotates(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("first"))
	port := redistest.Port(t)
	f := startForeign(t)
	document := ambassador("cache", port, fmt.Sprintf("test: {address: %q, credentials: {secret: {name: redis}}}", node.Addr()))
	f.publish(&translated(t, document, "test", secret("redis", "password", "first")).Set)
	r := start(t, "", f.options())
	client := redistest.Dial(t, local(port))
	if got := client.Do("SET", "k", "v"); got != "+OK\r\n" {
		t.Fatalf("got %q", got)
	}
	admin := node.Client()
	before, version := received(admin), r.get("/config_dump")

	admin.Do("CONFIG", "SET", "requirepass", "second")
	f.publish(&translated(t, document, "test", secret("redis", "password", "second")).Set)
	r.eventually("the rotation to be taken", func() error {
		if page := r.get("/config_dump"); page == version || !strings.Contains(r.log.String(), "configuration accepted") {
			return errors.New(page)
		}
		return nil
	})
	if got := client.Do("GET", "k"); got != bulk("v") {
		t.Errorf("after the rotation: %q", got)
	}
	if got := received(admin); got != before {
		t.Errorf("%s connections after the rotation, %s before: it is no reason for another", got, before)
	}
	admin.Do("CLIENT", "KILL", "TYPE", "normal")
	r.eventually("a new connection to log in with the new password", func() error {
		got, err := client.TryDo("GET", "k")
		if err != nil {
			t.Fatalf("the client was dropped: %v", err)
		}
		if got != bulk("v") {
			return errors.New(got)
		}
		return nil
	})
	for _, page := range []string{"/config_dump", "/clusters", "/metrics"} {
		if text := r.get(page) + r.log.String(); strings.Contains(text, `"first"`) || strings.Contains(text, "second\"") {
			t.Errorf("%s or the log shows a password", page)
		}
	}
}

// TestCertificateRotates: the next handshake shows the new certificate; the
// connections of before live on, and so does the socket.
func TestCertificateRotates(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	f := startForeign(t)
	document := strings.Replace(ambassador("cache", port, one(node.Addr())),
		fmt.Sprintf("{port: %d}", port), fmt.Sprintf("{port: %d, tls: {cert: {secret: {name: web}}}}", port), 1)
	pki := redistest.NewPKI(t)
	certificate := func() string {
		chain, key := pki.Issue("localhost", "localhost", "127.0.0.1")
		f.publish(&translated(t, document, "test", secret("web", "tls.crt", readFile(t, chain), "tls.key", readFile(t, key))).Set)
		return serial(t, chain)
	}
	first := certificate()
	r := start(t, "", f.options())
	old := redistest.DialTLS(t, local(port), pki.ClientConfig())
	if got := old.Do("SET", "k", "v"); got != "+OK\r\n" {
		t.Fatalf("got %q", got)
	}
	shown := func() string {
		c, err := tls.Dial("tcp", local(port), pki.ClientConfig())
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if got := shown(); got != first {
		t.Fatalf("certificate %s, want %s", got, first)
	}
	second := certificate()
	r.eventually("the new certificate to be shown", func() error {
		if got := shown(); got != second {
			return errors.New(got)
		}
		return nil
	})
	if got := old.Do("GET", "k"); got != bulk("v") {
		t.Errorf("a connection from before: %q", got)
	}
	if text := r.get("/config_dump"); strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "BEGIN CERTIFICATE") {
		t.Error("/config_dump shows a key or a certificate")
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func serial(t *testing.T, chain string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(readFile(t, chain)))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber.String()
}
