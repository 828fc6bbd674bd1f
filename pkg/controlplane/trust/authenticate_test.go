package trust_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

const nodesFile = `
nodes:
- name: vm-1
  namespace: shop
  token: correct-horse-battery
  labels: {app: web}
  environment: prod
  zone: a
- name: vm-2
  tokenSHA256: 68c6b8ea8d5ef51b3b351b8c3ba31160f961c92cf97acff7b45ceff3445be246
  expires: 2026-01-01T00:00:00Z
- name: vm-3
  namespace: shop
  commonName: vm-3.example
- name: vm-4
  namespace: shop
  uri: spiffe://example/vm/4
`

// reviews answers as Kubernetes would.
type reviews map[string]inventory.Identity

var errAway = errors.New("connection refused")

func (r reviews) Review(_ context.Context, token string) (inventory.Identity, error) {
	if token == "away" {
		return inventory.Identity{}, errAway
	}
	id, ok := r[token]
	if !ok {
		return id, inventory.ErrUnauthenticated
	}
	return id, nil
}

func authenticator(t *testing.T) *trust.Authenticator {
	t.Helper()
	nodes, err := trust.ParseNodes("nodes.yaml", []byte(nodesFile))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	a := trust.NewAuthenticator(reviews{
		"pod":     {Namespace: "shop", ServiceAccount: "web", Pod: "web-0", PodUID: "u-0", Expires: now.Add(time.Hour)},
		"stale":   {Namespace: "shop", Pod: "web-0", Expires: now},
		"nowhere": {Pod: "web-0"},
	}, func() time.Time { return now })
	a.SetNodes(nodes)
	return a
}

func TestAuthenticateTokens(t *testing.T) {
	t.Parallel()
	a := authenticator(t)
	tests := []struct {
		name, token string
		want        inventory.Identity
		reason      trust.Reason
	}{
		{name: "static", token: "correct-horse-battery", want: inventory.Identity{Namespace: "shop", Pod: "vm-1", PodUID: "external:shop/vm-1"}},
		{name: "static, a letter missing", token: "correct-horse-batter", reason: trust.UnknownToken},
		{name: "static, given by hash, expired", token: "tr0ub4dor&3-and-more", reason: trust.ExpiredToken},
		{
			name: "of a pod", token: "pod",
			want: inventory.Identity{Namespace: "shop", ServiceAccount: "web", Pod: "web-0", PodUID: "u-0", Expires: time.Date(2026, 7, 1, 1, 0, 0, 0, time.UTC)},
		},
		{name: "of a pod, expired though a cached review says otherwise", token: "stale", reason: trust.ExpiredToken},
		{name: "a review without a namespace", token: "nowhere", reason: trust.UnknownToken},
		{name: "nobody's", token: "forged", reason: trust.UnknownToken},
		{name: "nobody to ask", token: "away", reason: trust.ReviewUnavailable},
		{name: "absurdly long", token: strings.Repeat("x", 1<<20), reason: trust.UnknownToken},
		{name: "none", reason: trust.NoCredentials},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := a.Authenticate(t.Context(), tt.token, nil)
			check(t, got, err, tt.want, tt.reason)
			if err != nil && tt.token != "" && strings.Contains(err.Error(), tt.token) {
				t.Errorf("the error repeats the token: %v", err)
			}
		})
	}
}

func check(t *testing.T, got inventory.Identity, err error, want inventory.Identity, reason trust.Reason) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	if reason == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	r, ok := errors.AsType[*trust.Refusal](err)
	if !ok || r.Reason != reason {
		t.Errorf("got %v, want a refusal for %s", err, reason)
	}
	if ok && r.Temporary() != (reason == trust.ReviewUnavailable) {
		t.Errorf("temporary: %v", r.Temporary())
	}
}

// certificate is as a TLS connection shows it after verification.
func certificate(commonName string, uris ...string) *tls.ConnectionState {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: commonName}, NotAfter: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{c}}}
}

func TestAuthenticateCertificates(t *testing.T) {
	t.Parallel()
	a := authenticator(t)
	end := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	expired := certificate("vm-3.example")
	expired.VerifiedChains[0][0].NotAfter = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	unverified := &tls.ConnectionState{PeerCertificates: certificate("vm-3.example").VerifiedChains[0]}
	tests := []struct {
		name   string
		state  *tls.ConnectionState
		want   inventory.Identity
		reason trust.Reason
	}{
		{name: "common name", state: certificate("vm-3.example"), want: inventory.Identity{Namespace: "shop", Pod: "vm-3", PodUID: "external:shop/vm-3", Expires: end}},
		{name: "uri", state: certificate("", "spiffe://example/vm/4"), want: inventory.Identity{Namespace: "shop", Pod: "vm-4", PodUID: "external:shop/vm-4", Expires: end}},
		{name: "service account", state: certificate("x", "spiffe://mesh/ns/bank/sa/teller"), want: inventory.Identity{Namespace: "bank", ServiceAccount: "teller", Expires: end}},
		{name: "more than a service account", state: certificate("", "spiffe://mesh/ns/bank/sa/teller/x"), reason: trust.UnknownCertificate},
		{name: "empty namespace", state: certificate("", "spiffe://mesh/ns//sa/teller"), reason: trust.UnknownCertificate},
		{name: "not spiffe", state: certificate("", "https://mesh/ns/bank/sa/teller"), reason: trust.UnknownCertificate},
		{name: "a node without a name for certificates", state: certificate(""), reason: trust.UnknownCertificate},
		{name: "expired since", state: expired, reason: trust.ExpiredToken},
		{name: "never verified", state: unverified, reason: trust.NoCredentials},
		{name: "none", state: &tls.ConnectionState{}, reason: trust.NoCredentials},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := a.Authenticate(t.Context(), "", tt.state)
			check(t, got, err, tt.want, tt.reason)
		})
	}
}

// TestNodesArePods: an environment given to a node stands for the label.
func TestNodesArePods(t *testing.T) {
	t.Parallel()
	nodes, err := trust.ParseNodes("nodes.yaml", []byte(nodesFile))
	if err != nil {
		t.Fatal(err)
	}
	want := &inventory.Pod{
		Key: inventory.Key{Namespace: "shop", Name: "vm-1"}, UID: "external:shop/vm-1", NodeName: "vm-1", Zone: "a",
		Labels: map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"},
	}
	if diff := cmp.Diff(want, nodes.Pods()[0]); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

func TestNodesErrors(t *testing.T) {
	t.Parallel()
	const hash = "68c6b8ea8d5ef51b3b351b8c3ba31160f961c92cf97acff7b45ceff3445be246"
	tests := []struct{ name, text, want string }{
		{"unknown key", "nodes:\n- name: a\n  tokn: x\n", "n.yaml:2: nodes file: nodes[0]: field tokn not found"},
		{"unknown key above", "node: []\n", "n.yaml: nodes file"},
		{"no name", "nodes:\n- token: 0123456789abcdef\n", "nodes[0]: name: is missing"},
		{"no way to be known", "nodes:\n- name: a\n", "nothing tells who it is"},
		{"short token", "nodes:\n- {name: a, token: secret}\n", "token: shorter than 16 characters"},
		{"two kinds of token", "nodes:\n- {name: a, token: 0123456789abcdef, tokenSHA256: " + hash + "}\n", "exclude each other"},
		{"no hash", "nodes:\n- {name: a, tokenSHA256: 12}\n", "want 64 hexadecimal digits"},
		{"same name", "nodes:\n- {name: a, commonName: x}\n- {name: a, commonName: y}\n", "default/a and default/a have the same name"},
		{"same token", "nodes:\n- {name: a, token: 0123456789abcdef}\n- {name: b, token: 0123456789abcdef}\n", "default/a and default/b have the same token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := trust.ParseNodes("n.yaml", []byte(tt.text))
			if !errors.Is(err, trust.ErrNodes) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "0123456789abcdef")) {
				t.Errorf("the error repeats a token: %v", err)
			}
		})
	}
}
