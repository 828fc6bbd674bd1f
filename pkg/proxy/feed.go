package proxy

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// feed is where a proxy's configurations come from: documents, or a control
// plane.
type feed interface {
	// run offers configurations to the proxy until the context ends. It returns
	// an error only if there is nothing to run on, and that will not change.
	run(ctx context.Context) error
	// reload asks for another look, soon.
	reload()
	// standing is how the feed is doing, for /ready, /config_dump and status.
	standing() standing
	collectors() []prometheus.Collector
}

// standing is how a feed is doing.
type standing struct {
	sources []string // for people: files, addresses
	// waiting says why there is no configuration yet.
	waiting string
	// note is what /ready adds although the process serves: where the running
	// configuration comes from if it is not the usual place.
	note string
	// plane is nil with documents.
	plane *planeDump
}
