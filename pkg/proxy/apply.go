package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/pages"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// take makes a snapshot the running one, or says why not and leaves all as it
// is; the caller notes it. facts are what it was made with, for /config_dump. Only one call runs at
// a time.
func (p *Proxy) take(ctx context.Context, snap *snapshot.Snapshot, facts mesh.NodeFacts) error {
	p.taking.Lock()
	defer p.taking.Unlock()
	before := p.state.current()
	if before != nil && before.Version == snap.Version {
		p.state.accept(before, facts, time.Now())
		return nil
	}
	diff := snapshot.Compare(before, snap)
	if err := p.change(ctx, snap, &diff); err != nil {
		return err
	}
	p.state.accept(snap, facts, time.Now())
	p.logAccepted(snap, &diff)
	if before == nil {
		pages.Release(p.log)
	}
	p.pages.soon()
	return nil
}

// change goes from the running configuration to another: secrets, clusters and
// filters are made beside those that run, sockets are bound, and only then
// everything is swapped. Until that nothing is felt, and all can be undone.
func (p *Proxy) change(ctx context.Context, snap *snapshot.Snapshot, diff *snapshot.Diff) error {
	specs := list(snap.Listeners)
	if err := p.listeners.Probe(specs); err != nil {
		return err
	}
	if err := p.offerSecrets(snap, diff); err != nil {
		return err
	}
	clusters, err := p.clusters.Prepare(list(snap.Clusters), p.secrets)
	if err != nil {
		p.secrets.Withdraw()
		return err
	}
	listeners, err := p.prepareListeners(ctx, snap, clusters)
	if err != nil {
		clusters.Abort()
		p.secrets.Withdraw()
		return err
	}
	p.commit(clusters, listeners)
	if !diff.Endpoints.Empty() {
		p.listeners.EndpointsMoved()
	}
	return nil
}

// offerSecrets reads the secrets of a snapshot, if they are not those that are
// in use already.
func (p *Proxy) offerSecrets(snap *snapshot.Snapshot, diff *snapshot.Diff) error {
	store := p.secrets.Current()
	if store == nil || !diff.Secrets.Empty() {
		store = secrets.NewStore(list(snap.Secrets))
		if err := store.Check(); err != nil {
			if p.state.current() != nil || !mayCome(err, snap, p.log) {
				return err
			}
			p.awaited.Store(store)
		}
	}
	p.secrets.Offer(store)
	return nil
}

// commit swaps. Replaced clusters go on until no connection of a replaced
// filter is left, of this change or another.
func (p *Proxy) commit(clusters *upstream.Change, listeners *listener.Change) {
	p.retiring.Add(1) // first: an earlier change may be over at any moment
	p.secrets.Accept()
	clusters.Commit()
	listeners.Commit(func() {
		if p.retiring.Add(-1) == 0 {
			p.clusters.Release()
			p.secrets.Forget()
		}
	})
}

// prepareListeners builds filters, makes clusters ready and binds sockets.
func (p *Proxy) prepareListeners(
	ctx context.Context, snap *snapshot.Snapshot, clusters *upstream.Change,
) (*listener.Change, error) {
	change, err := p.listeners.Build(list(snap.Listeners), listener.Deps{
		Zone: p.opts.Zone, Clusters: clusters, Secrets: p.secrets, Routes: snap.Routes, Metrics: p.pages.after(p.registry), Tracer: p.opts.Tracer,
	})
	if err != nil {
		return nil, err
	}
	warm, cancel := context.WithTimeout(ctx, p.opts.WarmTimeout)
	defer cancel()
	if err := clusters.Warm(warm); err != nil {
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

// logAccepted says what runs now. Endpoints come and go all day: those are only
// of interest to who looks for them.
func (p *Proxy) logAccepted(snap *snapshot.Snapshot, diff *snapshot.Diff) {
	level := slog.LevelInfo
	if diff.Listeners.Empty() && diff.Clusters.Empty() && diff.Routes.Empty() && diff.Secrets.Empty() {
		level = slog.LevelDebug
	}
	p.log.Log(context.Background(), level, "configuration accepted", "version", snap.Version,
		"listeners", len(snap.Listeners), "clusters", len(snap.Clusters))
	changed := append(slices.Clone(diff.Listeners.Added), diff.Listeners.Changed...)
	for _, s := range p.listeners.Status() {
		if slices.Contains(changed, s.Name) {
			attrs := []any{"listener", s.Name, "address", s.Address}
			if s.Environment != "" {
				attrs = append(attrs, "environment", s.Environment, "environmentSource", s.Source)
			}
			p.log.Info("listening", attrs...)
		}
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
