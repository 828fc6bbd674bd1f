package engine

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// ErrEnded is what Connect gives when the engine does not run any more.
var ErrEnded = errors.New("the control plane is ending")

// node is one that is connected.
type node struct {
	stream   *server.Node
	identity inventory.Identity
	kind     *kind // nil only until it is placed
	nodeName string
	// wants are ports of Services that it has asked for.
	wants map[variantKey]*variant
}

func (n *node) pod() inventory.Key {
	return inventory.Key{Namespace: n.identity.Namespace, Name: n.identity.Pod}
}

// Connect gives a node what is meant for its identity, and follows what becomes
// of that until Disconnect. A node whose pod is not known here is waited with for a
// while: the review may be ahead of the inventory, and a node that comes back must
// not be told that nothing is meant for it.
func (e *Engine) Connect(ctx context.Context, stream *server.Node, id inventory.Identity) error {
	n := &node{stream: stream, identity: id}
	patience := time.NewTimer(e.opts.PodWait)
	defer patience.Stop()
	for {
		var arrives <-chan struct{}
		ok := e.do(ctx, func() {
			if arrives = e.awaitPod(n); arrives == nil {
				e.connect(ctx, n)
			}
		})
		switch {
		case !ok && ctx.Err() != nil:
			return ctx.Err()
		case !ok:
			return ErrEnded
		case arrives == nil:
			return nil
		}
		select {
		case <-arrives:
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return status.Errorf(codes.Unavailable, "pod %s is not known here yet; try again", n.pod())
		}
	}
}

// awaitPod gives what is closed at the next change of the pod of a node; nil if
// the pod is known, or the node has none.
func (e *Engine) awaitPod(n *node) <-chan struct{} {
	if f := e.facts(n); f.known {
		return nil
	}
	key := n.pod()
	if e.awaited[key] == nil {
		e.awaited[key] = make(chan struct{})
	}
	return e.awaited[key]
}

// podChanged wakes those who wait for a pod.
func (e *Engine) podChanged(key inventory.Key) {
	if c := e.awaited[key]; c != nil {
		close(c)
		delete(e.awaited, key)
	}
}

// Disconnect forgets a node.
func (e *Engine) Disconnect(stream *server.Node) {
	e.do(context.Background(), func() {
		n := e.nodes[stream]
		if n == nil {
			return
		}
		delete(e.nodes, stream)
		e.byPlace.remove(n.identity.Namespace, n)
		if n.identity.Pod != "" {
			e.byPod.remove(n.pod(), n)
		}
		e.leave(n)
		b := e.begin(context.Background())
		e.unwant(n, b)
		b.finish()
	})
}

func (e *Engine) connect(ctx context.Context, n *node) {
	e.nodes[n.stream] = n
	e.byPlace.add(n.identity.Namespace, n)
	if n.identity.Pod != "" {
		e.byPod.add(n.pod(), n)
	}
	batch := e.begin(ctx)
	e.place(n, time.Time{}, batch)
	batch.finish()
}

// facts are what is known of a node without asking it.
type facts struct {
	mesh.NodeFacts
	labels map[string]string
	translate.Spot
	known bool // what its credentials are bound to is there
	// injected: a control plane has made the proxy's container, which has volumes at
	// mounts.
	injected bool
	mounts   []string
}

func (e *Engine) facts(n *node) facts {
	id := n.identity
	f := facts{NodeFacts: mesh.NodeFacts{Namespace: id.Namespace, Hostname: id.Pod}, known: true}
	if ns := e.opts.Store.Namespace(id.Namespace); ns != nil {
		f.NamespaceLabel = ns.Labels[mesh.EnvironmentLabel]
	}
	if id.Pod == "" {
		return f // a service account without a pod has no labels
	}
	pod := e.opts.Store.Pod(n.pod())
	if pod == nil || pod.UID != id.PodUID {
		// Not there yet, or gone and another of its name is: its labels are not ours.
		f.known = false
		return f
	}
	f.Spot = translate.Spot{Zone: pod.Zone, NodeName: pod.NodeName}
	f.labels, f.injected, f.mounts = pod.Labels, pod.Injected, pod.ProxyMounts
	f.PodLabel = pod.Labels[mesh.EnvironmentLabel]
	return f
}

// place finds the kind of a node and grants what that gets. at is when the reason
// to look was observed.
func (e *Engine) place(n *node, at time.Time, b *batch) {
	f := e.facts(n)
	p := e.placeOf(n.identity.Namespace)
	p.look(e.good)
	mark := p.mark(&f)
	k := p.known[mark]
	if k == nil {
		k = e.kindOf(n.identity.Namespace, &f, b)
		if len(p.known) >= maxKnown {
			clear(p.known) // pods come and go, and with rules by name each has a mark
		}
		p.known[mark] = k
	}
	if n.kind == k && n.nodeName == f.NodeName {
		return
	}
	e.leave(n)
	n.kind, n.nodeName = k, f.NodeName
	k.nodes[n] = struct{}{}
	k.idle = time.Time{}
	for _, v := range k.variants {
		e.atSpot(v, n.spot(), b)
	}
	for _, v := range n.wants {
		e.atSpot(v, n.spot(), b)
	}
	b.grant(n, at)
	e.status.touchKind(k)
}

// leave takes a node out of its kind, which may then be of no use.
func (e *Engine) leave(n *node) {
	if n.kind == nil {
		return
	}
	delete(n.kind.nodes, n)
	if len(n.kind.nodes) == 0 {
		n.kind.idle = time.Now()
	}
	e.status.touchKind(n.kind)
	n.kind = nil
}
