package controlplane_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane"
	"github.com/dragoman-mesh/dragoman/pkg/kube/webhook"
)

// TestWebhooksOutliveTheProxies: a replica that ends, and has no proxy to hand over, goes
// on to answer the API server, which does not know yet that it is ending.
func TestWebhooksOutliveTheProxies(t *testing.T) {
	t.Parallel()
	p := start(t, func(p *plane, o *controlplane.Options) {
		store := o.Platform.Store
		o.Platform.Webhooks = webhook.NewHandler(&webhook.Injector{Store: store}, &webhook.Validator{Store: store}, slog.New(slog.DiscardHandler))
		o.WebhookAddress, o.WebhookTLS, o.DrainTimeout = "127.0.0.1:0", p.issuer.WebhookConfig(), time.Minute
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.issuer.Bundle())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	ask := func() (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+p.WebhookAddr()+webhook.InjectPath,
			strings.NewReader(`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u", "operation": "DELETE"}}`))
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	eventually(t, "the webhooks are served", func() bool {
		_, err := ask()
		return err == nil
	})
	p.end()
	eventually(t, "no proxy is let in", func() bool {
		c, err := net.Dial("tcp", p.XDSAddr())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if got, err := ask(); err != nil || !strings.Contains(got, `"allowed":true`) {
		t.Errorf("%q, %v", got, err)
	}
}

// eventually polls until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(adstest.Deadline)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
