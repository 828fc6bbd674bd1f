package proxy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// tryApply takes what the source holds now, or leaves all as it is and says why.
func (p *Proxy) tryApply(ctx context.Context) {
	if err := p.apply(ctx); err != nil {
		for line := range strings.Lines(err.Error()) {
			p.log.Error("configuration refused, the old one stays", "reason", strings.TrimSpace(line))
		}
	}
}

// apply takes the source's documents all the way. On an error the running
// configuration is untouched.
func (p *Proxy) apply(ctx context.Context) error {
	snap, facts, err := p.load()
	if err == nil {
		err = p.take(ctx, snap)
	}
	if err != nil {
		p.state.refuse(err, time.Now())
		return err
	}
	before := p.state.current()
	if before != nil && before.Version == snap.Version {
		snap = before
	}
	p.state.accept(snap, facts, time.Now())
	if snap != before {
		p.logAccepted(snap)
	}
	return nil
}

func (p *Proxy) load() (*snapshot.Snapshot, mesh.NodeFacts, error) {
	facts, err := p.opts.Detector.Facts()
	objs, err2 := p.source.Load()
	if err := errors.Join(err, err2); err != nil {
		return nil, facts, err
	}
	snap, err := Snapshot(objs, facts)
	return snap, facts, err
}

// take makes a snapshot the running one: clusters beside the old ones, filters,
// sockets, and only then the swap.
func (p *Proxy) take(ctx context.Context, snap *snapshot.Snapshot) error {
	before := p.state.current()
	if before != nil && before.Version == snap.Version {
		return nil
	}
	store := secrets.NewStore(list(snap.Secrets))
	if err := store.Check(); err != nil {
		return err
	}
	specs := list(snap.Listeners)
	if err := p.listeners.Probe(ctx, specs); err != nil {
		return err
	}
	if err := p.clusters.Apply(list(snap.Clusters), store); err != nil {
		return err
	}
	change, err := p.change(ctx, snap, store, specs)
	if err != nil {
		p.rollBack(before)
		return err
	}
	p.secrets = store
	p.commit(change)
	return nil
}

// commit swaps. Replaced clusters go on until no connection of a replaced
// filter is left, of this change or another.
func (p *Proxy) commit(change *listener.Change) {
	p.retiring.Add(1)
	change.Commit(func() {
		if p.retiring.Add(-1) == 0 {
			p.clusters.Release()
		}
	})
}

// change builds filters, makes clusters ready and binds sockets.
func (p *Proxy) change(
	ctx context.Context, snap *snapshot.Snapshot, store *secrets.Store, specs []*resource.Listener,
) (*listener.Change, error) {
	change, err := p.listeners.Build(specs, p.deps(snap, store))
	if err != nil {
		return nil, err
	}
	warm, cancel := context.WithTimeout(ctx, p.opts.WarmTimeout)
	defer cancel()
	names := slices.Sorted(maps.Keys(snap.Clusters))
	if err := p.clusters.Warm(warm, names); err != nil {
		if ctx.Err() != nil {
			change.Abort()
			return nil, ctx.Err()
		}
		// Names may resolve later; until then their keys get errors.
		p.log.Warn("going on before every cluster is ready", "error", err, "waited", p.opts.WarmTimeout.String())
	}
	if err := change.Bind(); err != nil {
		return nil, err
	}
	return change, nil
}

func (p *Proxy) deps(snap *snapshot.Snapshot, store *secrets.Store) listener.Deps {
	return listener.Deps{Zone: p.opts.Zone, Clusters: p.clusters, Secrets: store, Specs: snap.Secrets}
}

// rollBack undoes what clusters.Apply has begun. Clusters that had changed are
// built a second time as they were, and the running filters with them.
func (p *Proxy) rollBack(before *snapshot.Snapshot) {
	if before == nil {
		return
	}
	if err := p.clusters.Apply(list(before.Clusters), p.secrets); err != nil {
		p.log.Error("bringing the old clusters back", "error", err)
		return
	}
	change, err := p.listeners.Build(list(before.Listeners), p.deps(before, p.secrets))
	if err != nil {
		p.log.Error("bringing the old filters back", "error", err)
		return
	}
	if err := change.Bind(); err != nil {
		p.log.Error("bringing the old listeners back", "error", err)
		return
	}
	p.commit(change)
}

func (p *Proxy) logAccepted(snap *snapshot.Snapshot) {
	p.log.Info("configuration accepted", "version", snap.Version,
		"listeners", len(snap.Listeners), "clusters", len(snap.Clusters))
	for _, s := range p.listeners.Status() {
		p.log.Info("listening", "listener", s.Name, "address", s.Address,
			"environment", s.Environment, "environmentSource", s.Source)
	}
}

// list gives a map's values in the order of their keys.
func list[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
