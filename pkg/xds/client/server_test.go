package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// own is our own server, with one grant for everybody.
type own struct {
	t      *testing.T
	server *server.Server

	mu    sync.Mutex // guards below
	grant *server.Grant
	kept  []server.Kept
	nodes map[*server.Node]bool
	nacks []string
	took  map[string]int // ACKs by type
	live  map[server.Key]bool
	came  map[string]int // streams that were let in, by the node's ID
}

func newOwn(t *testing.T) *own {
	t.Helper()
	o := &own{t: t, nodes: make(map[*server.Node]bool), took: make(map[string]int), live: make(map[server.Key]bool), came: make(map[string]int)}
	o.server = server.New(server.Options{Nodes: o, Observer: o, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := o.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return o
}

// Connect implements server.Nodes.
func (o *own) Connect(_ context.Context, n *server.Node) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n.SetGrant(o.grant)
	o.nodes[n] = true
	o.came[n.ID()]++
	return n.ID(), nil
}

// Disconnected implements server.Nodes.
func (o *own) Disconnected(n *server.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.nodes, n)
}

// Acked implements server.Observer.
func (o *own) Acked(_ *server.Node, a server.Ack) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took[a.TypeURL]++
}

// Refused implements server.Observer.
func (o *own) Refused(_ *server.Node, r server.Refusal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nacks = append(o.nacks, r.Message)
}

// set makes these everybody's resources, and nothing else.
func (o *own) set(resources ...proto.Message) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	names := make(map[string]map[string]string)
	var changes []server.Change
	live := make(map[server.Key]bool)
	for _, m := range resources {
		typeURL := "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
		name := nameOfResource(m)
		r, err := server.NewResource(typeURL, name, m)
		if err != nil {
			o.t.Fatal(err)
		}
		k := server.Key{TypeURL: typeURL, ID: name}
		live[k] = true
		changes = append(changes, server.Change{Key: k, Resource: r, At: time.Now()})
		if names[typeURL] == nil {
			names[typeURL] = make(map[string]string)
		}
		names[typeURL][name] = name
	}
	for k := range o.live {
		if !live[k] {
			changes = append(changes, server.Change{Key: k})
		}
	}
	o.live = live
	o.grant = o.server.NewGrant(names, o.kept...)
	for n := range o.nodes {
		n.SetGrant(o.grant)
	}
	o.server.Publish(changes)
}

func (o *own) refusals() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.nacks, "\n")
}

func (o *own) serve(at string) (address string, stop func()) {
	return serveAt(o.t, at, func(s *grpc.Server) { o.server.Register(s) }, o.server.GRPCOptions()...)
}

// TestOwnControlPlane takes a client through the life of a configuration that
// our own server gives, in both protocols.
func TestOwnControlPlane(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Auto, client.SotW} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			o := newOwn(t)
			address, stop := o.serve("127.0.0.1:0")
			proxy := newConsumer()
			opts := options(t, proxy, address)
			opts.Mode = mode
			c, _ := start(t, opts)

			o.set(edsCluster("c1"), assignment("c1", "10.0.0.1"), listener("l1", 1001, "c1"))
			proxy.runs(t, "l1:c1:10.0.0.1")
			o.set(edsCluster("c1"), assignment("c1", "10.0.0.2"), listener("l1", 1001, "c1"),
				tlsListener("l2", 1002, "c2", "s1"), staticCluster("c2", "10.0.0.3"), certificate("s1"))
			proxy.runs(t, "l1:c1:10.0.0.2", "l2:c2:10.0.0.3")

			// The old version of a bad one stays; it shows at the server; it gets well.
			o.set(edsCluster("c1"), assignment("c1", "10.0.0.4"), listener("l1", 1001, "c1"),
				tlsListener("l2", 1002, "c2", "s1"), badCluster("c2"), certificate("s1"))
			proxy.runs(t, "l1:c1:10.0.0.4", "l2:c2:10.0.0.3")
			eventually(t, func() bool { return strings.Contains(o.refusals(), `Cluster "c2": http2_protocol_options`) },
				func() string { return "NACKs: " + o.refusals() })
			o.set(edsCluster("c1"), assignment("c1", "10.0.0.4"), listener("l1", 1001, "c1"),
				tlsListener("l2", 1002, "c2", "s1"), staticCluster("c2", "10.0.0.5"), certificate("s1"))
			proxy.runs(t, "l1:c1:10.0.0.4", "l2:c2:10.0.0.5")

			// The server is away, things change, it is back.
			stop()
			eventually(t, func() bool { return !c.Status().Connected }, func() string { return "still connected" })
			o.set(staticCluster("c2", "10.0.0.6"), listener("l2", 1002, "c2"))
			o.serve(address)
			proxy.runs(t, "l2:c2:10.0.0.6")
		})
	}
}

// TestOwnHandover has servers say goodbye again and again.
func TestOwnHandover(t *testing.T) {
	t.Parallel()
	o := newOwn(t)
	address, _ := o.serve("127.0.0.1:0")
	proxy := newConsumer()
	c, _ := start(t, options(t, proxy, address))
	for i := range 20 {
		host := fmt.Sprintf("10.0.0.%d", i+1)
		o.set(edsCluster("c1"), assignment("c1", host), listener("l1", 1001, "c1"))
		proxy.runs(t, "l1:c1:"+host)
		o.mu.Lock()
		for n := range o.nodes {
			n.Close(nil)
		}
		o.mu.Unlock()
	}
	if s := c.Status(); len(s.Nacks) > 0 {
		t.Errorf("NACKs: %+v", s.Nacks)
	}
}

// TestDiskOutlivesBrokenObject starts from the file, and meets a control plane that
// began when an object was broken already: it has never seen what that was good for.
func TestDiskOutlivesBrokenObject(t *testing.T) {
	t.Parallel()
	before := newOwn(t)
	address, stop := before.serve("127.0.0.1:0")
	before.set(edsCluster("shop/cache/prod"), assignment("shop/cache/prod", "10.0.0.1"), listener("shop/cache", 1001, "shop/cache/prod"),
		staticCluster("shop/gone/prod", "10.0.0.2"), listener("shop/gone", 1002, "shop/gone/prod"))
	opts := options(t, newConsumer(), address)
	opts.CachePath = cachePath(t)
	_, end := start(t, opts)
	file := diskset.File{Path: opts.CachePath, Max: 1 << 20}
	eventually(t, func() bool {
		set, err := file.Read()
		return err == nil && len(set.Resources) == 5
	}, func() string { return "the file is not written" })
	end()
	stop()

	proxy := newConsumer()
	opts = options(t, proxy, address)
	opts.CachePath, opts.CacheWait, opts.ResourceTimeout = file.Path, 10*time.Millisecond, 200*time.Millisecond
	c, _ := start(t, opts)
	proxy.runs(t, "shop/cache:shop/cache/prod:10.0.0.1", "shop/gone:shop/gone/prod:10.0.0.2")
	after := newOwn(t)
	after.kept = []server.Kept{{Object: "shop/cache", Variant: "shop/cache/prod"}}
	after.set(staticCluster("shop/new/prod", "10.0.0.3"), listener("shop/new", 1003, "shop/new/prod"),
		tlsListener("shop/wants", 1004, "shop/new/prod", "shop/never"))
	after.serve(address)
	// When that secret is given up, all has come that ever will.
	eventually(t, func() bool { return len(c.Status().Missing) == 1 }, func() string { return fmt.Sprintf("missing: %+v", c.Status().Missing) })
	proxy.runs(t, "shop/cache:shop/cache/prod:10.0.0.1", "shop/new:shop/new/prod:10.0.0.3")

	after.mu.Lock()
	after.kept = nil // the object was deleted
	after.mu.Unlock()
	after.set(staticCluster("shop/new/prod", "10.0.0.3"), listener("shop/new", 1003, "shop/new/prod"))
	proxy.runs(t, "shop/new:shop/new/prod:10.0.0.3")
}
