package filters

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP is one filter of an HTTP connection manager's chain, configured for one
// listener. It is read-only after Build.
//
// Who does what: the connection manager bounds the request's head, makes its
// path the same (as configured), finds its route, recovers from panics and
// writes the access log. A filter answers or has next answer, not both; what it
// answers itself it gives a reason with [Exchange.Explain]. Requests run on
// goroutines of their own and may block until the request's context ends, which
// it does when the client has gone or a deadline has passed.
type HTTP interface {
	// Handler returns what serves a request: it answers itself, or has next
	// answer. next is never nil: after the last filter there is an answer of 404.
	// It is called once, when the chain is built.
	Handler(next http.Handler) http.Handler
	// Close is called once the last request has left, or when the filter is not
	// used after all.
	Close()
}

// HTTPBuilder makes HTTP filters of one kind. Like [Builder] it outlives them,
// and so keeps what must survive a change of configuration.
type HTTPBuilder interface {
	prometheus.Collector
	// BuildHTTP makes a filter from its validated configuration, one of the HTTP
	// filter structs of pkg/xds/resource. An error refuses the whole snapshot.
	BuildHTTP(cfg any, ctx Context) (HTTP, error)
}

// HTTPChain makes the HTTP filters that a connection manager's chain names, and
// exports the metrics of all kinds.
type HTTPChain interface {
	HTTPBuilder
	// Drain is that of every kind that has one; see [Drainer].
	Drain(ctx context.Context) error
}

// Exchange is one request with its response, as the filters of its chain share
// it. It may be used by the goroutine that serves the request only.
type Exchange interface {
	// FilterConfig is what the request's route says for the filter of that name
	// ([Context.Filter]), nil for nothing: one of the structs of
	// pkg/xds/resource.
	FilterConfig(filter string) any
	// Reroute looks for the route again, after r's path, host or headers were
	// changed by a filter.
	Reroute(r *http.Request)
	// Timeout is how long the route lets the response take, from the end of the
	// request on; 0: as long as it wants.
	Timeout() time.Duration
	// Explain says why the proxy itself answers, or ends the response, for the
	// access log: one of Envoy's response flags ("NR", "UF", ...), which may be
	// empty, and a word of detail.
	Explain(flag, detail string)
}

// Brancher is an [Exchange] that lets one request become several, each with an
// answer of its own. It is that of a request with a route that goes to a cluster.
type Brancher interface {
	// Cluster finds a cluster by name, among those that the route knows; the name
	// "" means the route's own.
	Cluster(name string) (Cluster, bool)
	// Branch returns what the next handler is called with for one branch: r, which
	// is the branch's own, goes where to says and otherwise as the route says.
	// Branches may be served at the same time. A branch's panic with
	// [http.ErrAbortHandler] says that its answer is not whole; all must have ended
	// before the filter returns.
	Branch(w http.ResponseWriter, r *http.Request, to Branch) (http.ResponseWriter, *http.Request)
	// Explanation is what was last said by Explain.
	Explanation() (flag, detail string)
}

// Branch is where one branch of a request goes.
type Branch struct {
	Cluster string    // "": that of the route
	Only    *Endpoint // nil: as the cluster balances
	Timeout time.Duration
	// Tried gathers the endpoints of branches that are to have different ones; nil:
	// nobody asks.
	Tried *Tried
}

// Tried is a set of endpoints that several branches share.
type Tried struct {
	mu   sync.Mutex
	list []*Endpoint // guarded by mu
}

// Add says that a branch goes to an endpoint.
func (t *Tried) Add(e *Endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, e)
}

// List gives the endpoints so far.
func (t *Tried) List() []*Endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

type exchangeKey struct{}

// WithExchange returns a context that carries an exchange.
func WithExchange(ctx context.Context, e Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, e)
}

// ExchangeOf returns the exchange of a request's context; one that knows and
// does nothing where there is none.
func ExchangeOf(ctx context.Context) Exchange {
	if e, ok := ctx.Value(exchangeKey{}).(Exchange); ok {
		return e
	}
	return noExchange{}
}

type noExchange struct{}

func (noExchange) FilterConfig(string) any { return nil }
func (noExchange) Reroute(*http.Request)   {}
func (noExchange) Timeout() time.Duration  { return 0 }
func (noExchange) Explain(string, string)  {}
