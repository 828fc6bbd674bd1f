// Package metrics makes one exposition of many sources of metrics, whatever
// form each of them has.
package metrics

import (
	"context"
	"log/slog"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
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

// Prompt is a Source whose Gather returns as soon as its context is done, and
// takes next to no CPU time: it is asked in the goroutine of who waits for it.
type Prompt interface {
	// Prompt says so.
	Prompt()
}

// Accountant is a Source that tells what it has lost.
type Accountant interface {
	// Losses counts since the source was made, by reason: "kernel" for datagrams
	// that the kernel dropped, "malformed", "series_limit" and the like. It may be
	// called at any time.
	Losses() map[string]uint64
}

// Env is what a source may use, while it is made and afterwards.
type Env struct {
	Name      string // of the source, for messages
	MaxSeries int    // that a source may keep or read; further ones are losses
	MaxBytes  int64  // that a source may read at once
	// Secrets gives values by name, and "name/key" where the secret has several.
	// They may change: read them each time they are used.
	Secrets filters.SecretSource
	// Sockets is where a source listens, so that a successor of it can go on
	// without losing a datagram.
	Sockets *sockets.Pool
	Log     *slog.Logger
}
