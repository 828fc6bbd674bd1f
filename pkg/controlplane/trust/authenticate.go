package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// Reason is why a peer was refused, as metrics and logs name it.
type Reason string

// The reasons.
const (
	NoCredentials      Reason = "no_credentials"      // neither token nor certificate
	UnknownToken       Reason = "unknown_token"       // nobody's, or not meant for us
	ExpiredToken       Reason = "expired_token"       // it was somebody's
	UnknownCertificate Reason = "unknown_certificate" // trusted, but nobody is named so
	ReviewUnavailable  Reason = "review_unavailable"  // nobody could say; to be tried again
)

// Refusal is a peer that is not let in. It says nothing of what was shown.
type Refusal struct {
	Reason Reason
	Err    error // the cause, for the log; may be nil
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Err == nil {
		return "refused: " + string(r.Reason)
	}
	return "refused: " + string(r.Reason) + ": " + r.Err.Error()
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Temporary reports whether another attempt with the same credentials may
// succeed.
func (r *Refusal) Temporary() bool { return r.Reason == ReviewUnavailable }

// maxTokenBytes bounds what is looked at: a token of Kubernetes has about 1 KiB.
const maxTokenBytes = 16 << 10

// Reviewer says whose token of a service account it is; see the contract in
// package controlplane.
type Reviewer interface {
	Review(ctx context.Context, token string) (inventory.Identity, error)
}

// Authenticator knows who may come in.
type Authenticator struct {
	reviewer Reviewer // nil: outside Kubernetes
	nodes    atomic.Pointer[Nodes]
	clients  atomic.Pointer[x509.CertPool] // nil: no client certificates
	now      func() time.Time
}

// NewAuthenticator returns one that asks reviewer, if it is not nil, about
// tokens that no node has. now nil is the system's clock.
func NewAuthenticator(reviewer Reviewer, now func() time.Time) *Authenticator {
	if now == nil {
		now = time.Now
	}
	a := &Authenticator{reviewer: reviewer, now: now}
	a.nodes.Store(&Nodes{})
	return a
}

// SetNodes replaces the nodes outside Kubernetes.
func (a *Authenticator) SetNodes(n *Nodes) { a.nodes.Store(n) }

// SetClients replaces the authorities of client certificates.
func (a *Authenticator) SetClients(pool *x509.CertPool) { a.clients.Store(pool) }

// Clients are the authorities of client certificates, or nil.
func (a *Authenticator) Clients() *x509.CertPool { return a.clients.Load() }

// Authenticate says who a peer is by its bearer token ("": none) and its
// verified client certificate (state nil or without one: none). A token counts
// before a certificate. Errors are of type *Refusal.
func (a *Authenticator) Authenticate(ctx context.Context, token string, state *tls.ConnectionState) (inventory.Identity, error) {
	switch {
	case token != "":
		return a.byToken(ctx, token)
	case state != nil && len(state.VerifiedChains) > 0 && len(state.VerifiedChains[0]) > 0:
		return a.byCertificate(state.VerifiedChains[0][0])
	}
	return inventory.Identity{}, &Refusal{Reason: NoCredentials}
}

func (a *Authenticator) byToken(ctx context.Context, token string) (inventory.Identity, error) {
	if len(token) > maxTokenBytes {
		return inventory.Identity{}, &Refusal{Reason: UnknownToken, Err: errors.New("it is absurdly long")}
	}
	if n := a.nodes.Load().byToken(token); n != nil {
		return a.unexpired(n.identity(n.Expires))
	}
	if a.reviewer == nil {
		return inventory.Identity{}, &Refusal{Reason: UnknownToken}
	}
	id, err := a.reviewer.Review(ctx, token)
	switch {
	case errors.Is(err, inventory.ErrUnauthenticated):
		return inventory.Identity{}, &Refusal{Reason: UnknownToken, Err: err}
	case err != nil:
		return inventory.Identity{}, &Refusal{Reason: ReviewUnavailable, Err: err}
	case id.Namespace == "":
		return inventory.Identity{}, &Refusal{Reason: UnknownToken, Err: errors.New("the review names no namespace")}
	}
	return a.unexpired(id)
}

func (a *Authenticator) unexpired(id inventory.Identity) (inventory.Identity, error) {
	if !id.Expires.IsZero() && !a.now().Before(id.Expires) {
		return inventory.Identity{}, &Refusal{Reason: ExpiredToken}
	}
	return id, nil
}

func (a *Authenticator) byCertificate(cert *x509.Certificate) (inventory.Identity, error) {
	if n := a.nodes.Load().byCertificate(cert.Subject.CommonName, cert.URIs); n != nil {
		return a.unexpired(n.identity(cert.NotAfter))
	}
	for _, uri := range cert.URIs {
		if namespace, account, ok := spiffe(uri); ok {
			return a.unexpired(inventory.Identity{Namespace: namespace, ServiceAccount: account, Expires: cert.NotAfter})
		}
	}
	return inventory.Identity{}, &Refusal{Reason: UnknownCertificate}
}

// spiffe takes spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT apart.
func spiffe(uri *url.URL) (namespace, account string, ok bool) {
	if uri.Scheme != "spiffe" || uri.Host == "" || uri.RawQuery != "" || uri.Fragment != "" {
		return "", "", false
	}
	parts := strings.Split(uri.Path, "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "ns" || parts[3] != "sa" || parts[2] == "" || parts[4] == "" {
		return "", "", false
	}
	return parts[2], parts[4], true
}
