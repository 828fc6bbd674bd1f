package proxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// documents is the feed of documents, and of what says in which environment
// they are read.
type documents struct {
	// read-only after construction
	source   Source
	detector environment.Detector
	watcher  *watch.Watcher
	again    chan struct{} // has room for one
	proxy    *Proxy
	log      *slog.Logger
}

func newDocuments(p *Proxy, o *Options) *documents {
	d := &documents{source: o.Source, detector: o.Detector, again: make(chan struct{}, 1), proxy: p, log: o.Log}
	d.watcher = watch.New(d.watched(), watch.Options{Poll: o.Poll, Log: o.Log}, d.reload)
	return d
}

// watched are the files and folders whose change is a reason to load again.
func (d *documents) watched() []string {
	paths := slices.Concat(d.source.Paths(), d.detector.Files())
	if s, ok := d.source.(interface{ Named() []string }); ok {
		paths = append(paths, s.Named()...)
	}
	return paths
}

// run implements feed. What is there at the start has to be good; later the old
// configuration stays until it is.
func (d *documents) run(ctx context.Context) error {
	if err := d.apply(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // asked to end before it had begun
		}
		return startError(err)
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { d.watcher.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.again:
			d.tryApply(ctx)
		}
	}
}

// reload implements feed.
func (d *documents) reload() { poke(d.again) }

// standing implements feed.
func (d *documents) standing() standing { return standing{sources: d.source.Paths()} }

// collectors implements feed.
func (d *documents) collectors() []prometheus.Collector { return nil }

// tryApply takes what the source holds now, or leaves all as it is and says why.
func (d *documents) tryApply(ctx context.Context) {
	if err := d.apply(ctx); err != nil {
		for line := range strings.Lines(err.Error()) {
			d.log.Error("configuration refused, the old one stays", "reason", strings.TrimSpace(line))
		}
	}
}

// apply takes the source's documents all the way. On an error the running
// configuration is untouched, and a change of the secrets' files, one of which may
// be what was wrong, is a reason to try again.
func (d *documents) apply(ctx context.Context) error {
	snap, objs, facts, err := d.load()
	if err != nil {
		d.proxy.state.refuse(err, time.Now())
		return err
	}
	paths := d.watched()
	d.watcher.SetPaths(append(slices.Clone(paths), secretFiles(snap)...)) // before they are read
	if err := d.proxy.take(ctx, snap, facts); err != nil {
		err = located(err, objs, snap)
		d.proxy.state.refuse(err, time.Now())
		return err
	}
	d.watcher.SetPaths(paths)
	return nil
}

func (d *documents) load() (*snapshot.Snapshot, []mesh.Object, mesh.NodeFacts, error) {
	facts, err := d.detector.Facts()
	objs, err2 := d.source.Load()
	d.watcher.SetPaths(d.watched())
	if err := errors.Join(err, err2); err != nil {
		return nil, nil, facts, err
	}
	snap, err := Snapshot(objs, facts)
	return snap, objs, facts, err
}
