// Package metrics makes one exposition of many sources of metrics, whatever
// form each of them has.
package metrics

import (
	"context"

	dto "github.com/prometheus/client_model/go"
)

// Source is one place where an app has metrics. Each kind is a package of its
// own beneath this one.
type Source interface {
	// Gather returns what the source has now; ctx says how long it may take. The
	// families are the caller's to read, not to change, until it asks again. An
	// error with families means that these could be had and the rest could not.
	// It is never called twice at once.
	Gather(ctx context.Context) ([]*dto.MetricFamily, error)
	// Close frees what the source holds; it is not asked any more.
	Close() error
}
