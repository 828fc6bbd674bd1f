package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// maxWants bounds the ports of Services that one stream may ask for.
const maxWants = 256

// Find implements server.Finder: gRPC clients name the Services that they call,
// and get those of their own namespace and those that let it refer to them.
func (e *Engine) Find(ctx context.Context, stream *server.Node, _ string, names []string) {
	var keys []variantKey
	for _, name := range names {
		if svc, port, ok := translate.ParseGRPCName(name, e.opts.Domain); ok {
			keys = append(keys, variantKey{object: inventory.Ref{Kind: inventory.KindService, Key: svc}, port: port})
		}
	}
	if len(keys) == 0 {
		return
	}
	e.do(ctx, func() {
		if n := e.nodes[stream]; n != nil {
			e.want(ctx, n, keys)
		}
	})
}

func (e *Engine) want(ctx context.Context, n *node, keys []variantKey) {
	b := e.begin(ctx)
	for _, key := range keys {
		if n.wants[key] != nil || len(n.wants) >= maxWants {
			continue
		}
		if n.wants == nil {
			n.wants = map[variantKey]*variant{}
		}
		v := e.need(key, b)
		n.wants[key], v.askers[n] = v, struct{}{}
		e.atSpot(v, n.spot(), b)
		b.grant(n, time.Time{})
	}
	b.finish()
}

// unwant takes back all that a node has asked for.
func (e *Engine) unwant(n *node, b *batch) {
	for _, v := range n.wants {
		delete(v.askers, n)
		if !v.used() {
			b.drop(v)
		}
	}
	n.wants = nil
}

// renewPort translates a port of a Service anew.
func (e *Engine) renewPort(v *variant, at time.Time, b *batch) {
	e.setRefs(v, []inventory.Ref{v.key.object})
	svc := e.opts.Store.Service(v.key.object.Key)
	was := v.service
	v.service = svc
	if allowed(svc) != allowed(was) {
		for n := range v.askers {
			b.grant(n, at)
		}
	}
	outputs, counts := map[translate.Spot]*resource.Set{}, translate.Counts{}
	var err error
	if at := e.translation(v, b); at != nil {
		outputs, counts, err = v.bySpot(at)
	}
	if err != nil {
		e.setUses(v, nil, translate.Counts{}, b) // there is no such port: nothing is to be called
		return
	}
	e.publish(v, outputs, counts, at, b)
}

// allowed is who may refer to a Service, to be compared.
func allowed(svc *inventory.Service) string {
	if svc == nil {
		return ""
	}
	return strings.Join(svc.AllowFrom, ",")
}

// permits reports whether a Service may be referred to from a namespace.
func permits(svc *inventory.Service, namespace string) bool {
	return svc != nil && (svc.Namespace == namespace || slices.Contains(svc.AllowFrom, "*") || slices.Contains(svc.AllowFrom, namespace))
}

// grantOf is what a node may have: what all of its kind get, and of what it has
// asked for that which it may have.
func (e *Engine) grantOf(n *node) *server.Grant {
	if n.kind == nil {
		return nil
	}
	if n.kind.stranger || len(n.wants) == 0 && !n.kind.local() {
		return n.kind.grant
	}
	return e.server.NewGrant(e.namesFor(n), e.kept(n.kind)...)
}

// namesFor are those that a node may have.
func (e *Engine) namesFor(n *node) map[string]map[string]string {
	names := n.kind.names(n.spot())
	for _, v := range n.wants {
		if !n.kind.stranger && permits(v.service, n.identity.Namespace) {
			v.names(n.spot(), names)
		}
	}
	return names
}
