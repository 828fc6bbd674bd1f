package redis

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// A client that waits for its server to speak, for as long as that takes, must not
// wait for one that another has taken the place of. Such a server may be frozen, or
// well and out of reach for everybody else: nothing but the table tells.

// tablesVersion changes when a table of the filter's clusters does.
func (f *localFilter) tablesVersion() (version uint64) {
	for _, cl := range f.dataClusters() {
		version += cl.Table().Version
	}
	return version
}

// endMisplaced ends the waits and the sessions of clients whose server has been
// replaced, as Redis does itself with those of a primary that becomes a replica.
func (f *localFilter) endMisplaced() {
	version := f.tablesVersion()
	if version == f.version {
		return
	}
	f.version = version
	for c := range f.clients.All() {
		if s := c.session(); s != nil && f.replaced(s.pool) {
			f.w.b.log.Info("the server that a client listens to has been replaced, closing the client",
				"listener", f.name, "endpoint", s.pool.describe())
			c.drop()
			continue
		}
		if u := c.waitsAt(); u != nil && f.replaced(u.pool) {
			c.endWait(redisproto.AppendError(nil, "UNBLOCKED dragoman: "+u.pool.describe()+" is not the primary any more"))
		}
		for _, u := range c.waitsAside() {
			if f.replaced(u.pool) {
				u.fail("is not the primary any more")
			}
		}
	}
}

// keepsWaiting reports whether the client is blocked at a server that f would have it
// leave.
func (f *localFilter) keepsWaiting(c *client) bool {
	elsewhere := func(u *upstream) bool { return f.replaced(u.pool) }
	u := c.waitsAt()
	return u != nil && elsewhere(u) || slices.ContainsFunc(c.waitsAside(), elsewhere)
}

// replaced reports whether the pool's server was a primary and is none any more,
// since its shard has another one or is gone. A shard that has no primary now may
// have the same one again.
func (f *localFilter) replaced(p *pool) bool {
	e := p.key.endpoint
	for _, cl := range f.dataClusters() {
		if cl.Name() != p.cluster.Name() {
			continue
		}
		shards := cl.Table().Shards
		gone := len(shards) > 0 && e.Shard != "" // else a redirection led to it, and it may have no slots yet
		for i := range shards {
			s := &shards[i]
			switch {
			case s.Primary != nil && s.Primary.Address == e.Address:
				return false
			case s.Name == e.Shard, slices.ContainsFunc(s.Replicas, func(r *filters.Endpoint) bool { return r.Address == e.Address }):
				gone = s.Primary != nil
			}
		}
		return gone
	}
	return true
}
