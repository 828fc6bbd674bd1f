package engine

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// kind is what nodes have in common that get the same.
type kind struct {
	key       string
	namespace string
	zone      string
	choices   []choice
	variants  []*variant // of those choices that are not refused
	grant     *server.Grant
	nodes     map[*node]struct{}
	stranger  bool      // what the nodes' credentials are bound to is not there
	idle      time.Time // since when it has no nodes; zero: it has
}

// choice is one object and what a kind gets of it.
type choice struct {
	object  inventory.Ref
	variant variantKey
	reason  string // why it gets none; "" if it does
	message string
}

// choices are the objects that are for a node, sorted.
func (e *Engine) choices(namespace string, f *facts) []choice {
	if !f.known {
		return nil
	}
	var out []choice
	var taken []mesh.Object
	for _, ref := range e.placeOf(namespace).objects {
		obj := e.good[ref]
		if obj == nil || !mesh.SelectorOf(obj).Matches(f.labels) {
			continue
		}
		c := choose(ref, obj, f, taken)
		if c.reason == "" {
			taken = append(taken, obj)
		}
		out = append(out, c)
	}
	return out
}

func choose(ref inventory.Ref, obj mesh.Object, f *facts, taken []mesh.Object) choice {
	c := choice{object: ref, variant: variantKey{object: ref}}
	if a, ok := obj.(*mesh.Ambassador); ok {
		environment, source, err := mesh.SelectEnvironment(a, f.NodeFacts)
		if err != nil {
			c.reason, c.message = translate.ReasonNoEnvironment, strings.TrimPrefix(err.Error(), a.Key()+": ")
			return c
		}
		c.variant.environment, c.variant.source = environment, source
	}
	if a, ok := obj.(*mesh.Adapter); ok && f.injected && a.Spec.Logs != nil && !a.Spec.Logs.Reachable(f.mounts) {
		c.reason, c.message = translate.ReasonLogsNotMounted, fmt.Sprintf("their pods have no volume for the proxy at %s: "+
			"mount one there into the app's container (an emptyDir will do), and make pods anew that are older than this Adapter", a.Spec.Logs.Sources[0].Paths[0])
		c.variant = variantKey{}
		return c
	}
	for _, other := range taken {
		if clash := mesh.Meet(other, obj, true); clash != mesh.ClashNone {
			c.reason, c.message = translate.ReasonOf(clash), named(inventory.RefOf(other))+" "+clash.String()
			c.variant = variantKey{}
			return c
		}
	}
	return c
}

// named is an object for people: only an Adapter says its kind.
func named(ref inventory.Ref) string {
	if ref.Kind == inventory.KindAdapter {
		return ref.Kind.String() + " " + ref.String()
	}
	return ref.String()
}

func kindKey(namespace string, f *facts, choices []choice) string {
	var b strings.Builder
	write := func(s string) {
		b.WriteString(s)
		b.WriteByte(0)
	}
	write(namespace)
	write(f.Zone)
	write(strconv.FormatBool(f.known))
	for i := range choices {
		c := &choices[i]
		write(c.object.Kind.String())
		write(c.object.Name)
		write(c.reason)
		write(c.message)
		write(c.variant.environment)
		write(c.variant.source)
	}
	return b.String()
}

// kindOf gives the kind of nodes with these facts, making it if need be.
func (e *Engine) kindOf(namespace string, f *facts, b *batch) *kind {
	choices := e.choices(namespace, f)
	key := kindKey(namespace, f, choices)
	if k := e.kinds[key]; k != nil {
		return k
	}
	k := &kind{key: key, namespace: namespace, zone: f.Zone, choices: choices, stranger: !f.known, nodes: map[*node]struct{}{}, idle: time.Now()}
	e.kinds[key] = k
	e.placeOf(namespace).kinds[k] = struct{}{}
	for i := range choices {
		if choices[i].reason == "" {
			v := e.need(choices[i].variant, b)
			v.kinds[k] = struct{}{}
			e.atSpot(v, translate.Spot{Zone: k.zone}, b)
			k.variants = append(k.variants, v)
		}
	}
	b.regrant(k)
	return k
}

// forget drops a kind that no node is of, and what only it needed.
func (e *Engine) forget(k *kind, b *batch) {
	p := e.placeOf(k.namespace)
	delete(e.kinds, k.key)
	delete(p.kinds, k)
	maps.DeleteFunc(p.known, func(_ string, other *kind) bool { return other == k })
	if len(p.kinds)+len(p.objects)+len(p.broken) == 0 {
		delete(e.places, k.namespace)
	}
	for _, v := range k.variants {
		delete(v.kinds, k)
		if !v.used() {
			b.drop(v)
		}
	}
}

// sweep forgets kinds that have been without nodes for long enough.
func (e *Engine) sweep(now time.Time) {
	for key := range e.awaited {
		e.podChanged(key) // who still waits says so again
	}
	var idle []*kind
	for _, k := range e.kinds {
		if len(k.nodes) == 0 && now.Sub(k.idle) >= e.opts.Linger {
			idle = append(idle, k)
		}
	}
	if len(idle) == 0 {
		return
	}
	b := e.begin(context.Background())
	for _, k := range idle {
		e.forget(k, b)
	}
	b.finish()
}
