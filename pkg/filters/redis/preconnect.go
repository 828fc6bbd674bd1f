package redis

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Clusters that are to be connected before the first request (twemproxy's
// preconnect) may not have found their endpoints yet when a filter is built.
const (
	preconnectEvery = 100 * time.Millisecond
	preconnectTries = 100
)

// preconnect opens the shared connections to the primaries of f's clusters
// that ask for it, on every loop.
func (b *Builder) preconnect(f *Filter) {
	for _, l := range f.ctx.Loops() {
		w := b.worker(l)
		for _, cl := range f.clusters() {
			l.Post(func() { w.preconnect(cl, int32(f.cfg.Database), preconnectTries) })
		}
	}
}

func (w *worker) preconnect(cl filters.Cluster, db int32, tries int) {
	t := cl.Table()
	if len(t.Shards) == 0 {
		if tries > 0 {
			w.loop.After(preconnectEvery, func() { w.preconnect(cl, db, tries-1) })
		}
		return
	}
	if !t.Options.Redis.Preconnect {
		return
	}
	for i := range t.Shards {
		if e := t.Shards[i].Primary; e != nil {
			w.pool(poolKey{endpoint: e, db: effectiveDB(db, t.Options), resp: 2}, cl, t.Options).connectAll()
		}
	}
}

// connectAll dials the shared connections that are missing.
func (p *pool) connectAll() {
	for i, u := range p.shared {
		if u != nil {
			continue
		}
		if u, _ = p.dial(); u == nil {
			return
		}
		u.shared = true
		p.shared[i] = u
	}
}

// effectiveDB is the database on the server for a client's database: the
// cluster's own where the client has not selected another.
func effectiveDB(db int32, o *filters.UpstreamOptions) int32 {
	if db == 0 {
		return int32(o.Redis.Database)
	}
	return db
}
