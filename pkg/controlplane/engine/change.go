package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// take does what the changes of the inventory ask for.
func (e *Engine) take(ctx context.Context) {
	changes := e.opts.Store.Take()
	if len(changes) == 0 {
		return
	}
	began := time.Now()
	ctx, span := e.opts.Tracer.Start(ctx, "apply changes", trace.WithAttributes(attribute.Int("dragoman.changes", len(changes))))
	defer span.End()
	b := e.begin(ctx)
	// Objects first: nodes are placed by them.
	moved := map[string]time.Time{}
	for _, ref := range slices.SortedFunc(maps.Keys(changes), inventory.Ref.Compare) {
		e.changed(ref, changes[ref], b, moved)
	}
	for namespace, at := range moved {
		for n := range e.byPlace[namespace] {
			e.place(n, at, b)
		}
	}
	b.finish()
	e.metrics.changes.Add(float64(len(changes)))
	e.metrics.applying.Observe(time.Since(began).Seconds())
}

// changed notes what a change is about. Namespaces in which nodes may have to
// move go into moved, with the time of the first reason.
func (e *Engine) changed(ref inventory.Ref, at time.Time, b *batch, moved map[string]time.Time) {
	move := func(namespace string) {
		moved[namespace] = earlier(moved[namespace], at)
	}
	switch ref.Kind {
	case inventory.KindAmbassador, inventory.KindAdapter:
		e.objectChanged(ref, at, b)
		move(ref.Namespace)
	case inventory.KindPod:
		e.podChanged(ref.Key)
		e.barePodChanged(ref.Key)
		for n := range e.byPod[ref.Key] {
			e.place(n, at, b)
		}
	case inventory.KindNamespace:
		e.bareNamespaceChanged(ref.Name)
		move(ref.Name)
	case inventory.KindService, inventory.KindSecret, inventory.KindConfigMap, inventory.KindLease:
		e.refChanged(ref, at, b)
	}
}

// objectChanged takes the new document of an object. One with errors leaves the
// former in force.
func (e *Engine) objectChanged(key inventory.Ref, at time.Time, b *batch) {
	o := inventory.Get[*inventory.Object](e.opts.Store, key)
	e.status.touch(key)
	switch a := usable(o); {
	case o == nil:
		delete(e.good, key)
		e.status.remove(key)
	case a == nil:
		e.opts.Log.Warn("object refused, what ran before stays", "object", named(key), "error", o.Err)
		e.setBroken(key, e.good[key] == nil, b)
		return
	default:
		e.good[key] = a
	}
	e.setBroken(key, false, b)
	_, there := e.good[key]
	e.placeOf(key.Namespace).set(key, there)
	for v := range e.byObject[key] {
		b.renew(v, at)
	}
	e.refChanged(key, at, b)
}

// refChanged looks at all that names something which has changed.
func (e *Engine) refChanged(ref inventory.Ref, at time.Time, b *batch) {
	for v := range e.byRef[ref] {
		b.renew(v, at)
	}
	e.status.refChanged(ref, e.opts.Store)
}

// usable gives the document of an object that has no errors, or nil.
func usable(o *inventory.Object) mesh.Object {
	if o == nil || o.Err != nil {
		return nil
	}
	return o.Object
}

// batch gathers what has to be done, so that it is done once and in the right
// order: what is new is published before anybody is granted it, and what is gone
// disappears when nobody is granted it any more.
type batch struct {
	e   *Engine
	ctx context.Context

	dirty    map[*variant]time.Time                   // since when the cause of it is known
	extended map[*variant]map[translate.Spot]struct{} // to these spots
	kinds    map[*kind]struct{}                       // whose grant may be another
	nodes    map[*node]time.Time                      // who are of another kind
	dropped  map[*variant]struct{}
	released map[server.Key]struct{} // which a variant used and does not any more
	changes  []server.Change
}

func (e *Engine) begin(ctx context.Context) *batch {
	return &batch{
		e: e, ctx: ctx, dirty: map[*variant]time.Time{}, extended: map[*variant]map[translate.Spot]struct{}{}, kinds: map[*kind]struct{}{}, nodes: map[*node]time.Time{},
		dropped: map[*variant]struct{}{}, released: map[server.Key]struct{}{},
	}
}

func (b *batch) regrant(k *kind) { b.kinds[k] = struct{}{} }
func (b *batch) drop(v *variant) { b.dropped[v] = struct{}{} }
func (v *variant) used() bool    { return len(v.kinds)+len(v.askers) > 0 }

// grant has a node's grant looked at, because of what was observed at some time;
// zero: of nothing that counts.
func (b *batch) grant(n *node, at time.Time) { b.nodes[n] = earlier(b.nodes[n], at) }

// renew has a variant translated again.
func (b *batch) renew(v *variant, at time.Time) { b.dirty[v] = earlier(b.dirty[v], at) }

// extend has a variant translated for a spot, too.
func (b *batch) extend(v *variant, spot translate.Spot) {
	if b.extended[v] == nil {
		b.extended[v] = map[translate.Spot]struct{}{}
	}
	b.extended[v][spot] = struct{}{}
}

// earlier gives the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (b *batch) finish() {
	e := b.e
	for v := range b.dropped {
		if !v.used() {
			e.dropVariant(v, b)
		}
	}
	for v, at := range b.dirty {
		if v.used() {
			e.renew(v, at, b)
		}
	}
	for v, spots := range b.extended {
		if _, done := b.dirty[v]; !done && v.used() {
			e.extend(v, spots, b)
		}
	}
	if len(b.changes) > 0 {
		_, span := e.opts.Tracer.Start(b.ctx, "push", trace.WithAttributes(attribute.Int("dragoman.resources", len(b.changes))))
		e.server.Publish(b.changes)
		span.End()
	}
	for k := range b.kinds {
		k.grant = e.server.NewGrant(k.names(translate.Spot{Zone: k.zone}), e.kept(k)...)
		for n := range k.nodes {
			b.grant(n, time.Time{})
		}
	}
	for n, at := range b.nodes {
		n.stream.SetGrantSince(e.grantOf(n), at)
	}
	e.withdraw(b.released)
	e.metrics.sizes(len(e.nodes), len(e.kinds), len(e.variants), len(e.resources))
}
