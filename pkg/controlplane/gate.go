package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// gate lets nodes in that show who they are, and has the engine provide for
// them. The server counts and logs whom it turns away; the gate counts why.
type gate struct {
	auth    *trust.Authenticator
	engine  *engine.Engine
	refused *prometheus.CounterVec
	expired prometheus.Counter

	mu sync.Mutex
	// mu guards below
	ends map[*server.Node]*time.Timer // at which a node's credentials expire
}

func newGate(auth *trust.Authenticator, e *engine.Engine) *gate {
	return &gate{
		auth: auth, engine: e, ends: map[*server.Node]*time.Timer{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_controlplane_refused_credentials_total", Help: "Streams refused for what they showed, or did not.",
		}, []string{"reason"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragoman_controlplane_expired_streams_total", Help: "Streams ended because their credentials expired.",
		}),
	}
}

// Connect implements server.Nodes.
func (g *gate) Connect(ctx context.Context, n *server.Node) (string, error) {
	id, err := g.identify(ctx)
	if err != nil {
		return "", g.refuse(err)
	}
	if err := g.engine.Connect(ctx, n, id); err != nil {
		return "", err // the server tells the client to come again
	}
	g.endAt(n, id.Expires)
	return identityOf(id), nil
}

func (g *gate) identify(ctx context.Context) (inventory.Identity, error) {
	var state *tls.ConnectionState
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			state = &info.State
		}
	}
	token, err := bearer(ctx)
	if err != nil {
		return inventory.Identity{}, err
	}
	return g.auth.Authenticate(ctx, token, state)
}

var errAuthorization = errors.New("want one authorization of the kind Bearer")

// bearer gives the token of a stream; "": it has none.
func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) == 0 {
		return "", nil
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", &trust.Refusal{Reason: trust.NoCredentials, Err: errAuthorization}
	}
	return token, nil
}

// refuse counts, and gives what the client gets.
func (g *gate) refuse(err error) error {
	refusal, ok := errors.AsType[*trust.Refusal](err)
	if !ok {
		return err
	}
	g.refused.WithLabelValues(string(refusal.Reason)).Inc()
	if refusal.Temporary() {
		return &denial{status.New(codes.Unavailable, "the credentials cannot be reviewed now; try again"), err}
	}
	return &denial{status.New(codes.Unauthenticated, "refused: "+explain(refusal.Reason)), err}
}

// denial tells the client little, and the log the cause.
type denial struct {
	told  *status.Status
	cause error
}

// Error implements error.
func (d *denial) Error() string { return d.cause.Error() }

// Unwrap gives the cause.
func (d *denial) Unwrap() error { return d.cause }

// GRPCStatus is what the client gets.
func (d *denial) GRPCStatus() *status.Status { return d.told }

func explain(r trust.Reason) string {
	switch r {
	case trust.NoCredentials:
		return "neither a token (metadata authorization: Bearer TOKEN) nor a client certificate was shown"
	case trust.ExpiredToken:
		return "the credentials have expired"
	case trust.UnknownCertificate:
		return "the client certificate names nobody who is known here"
	case trust.UnknownToken, trust.ReviewUnavailable:
	}
	return "the token is not valid here"
}

// endAt ends a stream when its credentials do.
func (g *gate) endAt(n *server.Node, end time.Time) {
	if end.IsZero() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ends[n] = time.AfterFunc(time.Until(end), func() {
		g.expired.Inc()
		n.Close(status.Error(codes.Unauthenticated, "the credentials have expired; connect again with new ones"))
	})
}

// Disconnected implements server.Nodes.
func (g *gate) Disconnected(n *server.Node) {
	g.mu.Lock()
	if t := g.ends[n]; t != nil {
		t.Stop()
		delete(g.ends, n)
	}
	g.mu.Unlock()
	g.engine.Disconnect(n)
}

// identityOf names an identity in logs and views.
func identityOf(id inventory.Identity) string {
	if id.Pod != "" {
		return id.Namespace + "/" + id.Pod
	}
	return id.Namespace + "/serviceaccount/" + id.ServiceAccount
}

// Describe implements prometheus.Collector.
func (g *gate) Describe(ch chan<- *prometheus.Desc) {
	g.refused.Describe(ch)
	g.expired.Describe(ch)
}

// Collect implements prometheus.Collector.
func (g *gate) Collect(ch chan<- prometheus.Metric) {
	g.refused.Collect(ch)
	g.expired.Collect(ch)
}
