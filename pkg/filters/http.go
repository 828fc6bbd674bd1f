package filters

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP is one filter of an HTTP connection manager's chain, configured for one
// listener. It is read-only after Build.
type HTTP interface {
	// Handler returns what serves a request: it answers itself, or has next
	// answer. next is nil for the last filter of a chain.
	Handler(next http.Handler) http.Handler
	// Close is called once the last request has left.
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
