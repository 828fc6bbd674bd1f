package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// comeBack is a proxy that has been served by another control plane: it has the listener
// of shop/cache in prod, and that of an object which is gone.
func (r *rig) comeBack() *adstest.Client {
	c := r.dial("shop", "web-0")
	clusters := map[string]string{"shop/cache/prod": "v", "shop/gone/prod": "v"}
	listeners := map[string]string{"shop/cache": "v", "shop/gone": "v"}
	first := func(typeURL string, versions map[string]string) {
		c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}, InitialResourceVersions: versions})
	}
	first(server.ClusterType, clusters)
	first(server.ListenerType, listeners)
	c.AwaitGone(server.ListenerType, "shop/gone")
	c.AwaitGone(server.ClusterType, "shop/gone/prod")
	return c
}

// TestBeginsWithWhatIsBroken: a control plane that begins when a document is invalid
// already, or what it names is gone, does not take from proxies what they run. What becomes
// of the object later is told.
func TestBeginsWithWhatIsBroken(t *testing.T) {
	t.Parallel()
	prod := map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"}
	secret := inventory.Ref{Kind: inventory.KindSecret, Key: inventory.Key{Namespace: "shop", Name: "redis-prod"}}
	broken := &inventory.Object{Object: mesh.NewAmbassador("cache", mesh.AmbassadorSpec{}), Err: errors.New("no good")}
	invalid := func(r *rig) { inventory.Put(r.store, objectRef("shop", "cache"), broken, time.Now()) }
	lost := func(r *rig) { r.store.Delete(secret, time.Now()) }
	gone := func(r *rig) { r.store.Delete(objectRef("shop", "cache"), time.Now()) }
	tests := []struct {
		name   string
		breaks func(*rig)
		then   func(*rig)
		stays  bool
	}{
		{"a Secret comes back", lost, func(r *rig) { r.secret("shop", "redis-prod", "s3cret") }, true},
		{"the object goes, whose Secret is gone", lost, gone, false},
		{"the document is mended", invalid, func(r *rig) { r.put(cache) }, true},
		{"the invalid object goes", invalid, gone, false},
		{"the pod is not the mended object's", invalid, func(r *rig) {
			r.pod("shop", "web-0", map[string]string{"app": "other"})
			r.put(cache)
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t).shop()
			r.pod("shop", "web-0", prod)
			tt.breaks(r)
			r.start()
			c := r.comeBack()
			if c.Gone(server.ListenerType, "shop/cache") || c.Gone(server.ClusterType, "shop/cache/prod") {
				t.Fatal("what ran is taken away")
			}
			tt.then(r)
			if !tt.stays {
				c.AwaitGone(server.ListenerType, "shop/cache")
				c.AwaitGone(server.ClusterType, "shop/cache/prod")
				return
			}
			var l listenerv3.Listener
			c.Await(server.ListenerType, "shop/cache", &l)
			if got := environmentOf(&l); got != "prod" {
				t.Errorf("environment %q", got)
			}
			if !slices.Contains(c.Names(server.ClusterType), "shop/cache/prod") {
				t.Error("its cluster is not there")
			}
		})
	}
}

// TestBrokenElsewhere: what is not known of one environment keeps nobody in another.
func TestBrokenElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.store.Delete(inventory.Ref{Kind: inventory.KindService, Key: inventory.Key{Namespace: "shop", Name: "redis-dev"}}, time.Now())
	r.start() // web-0 is in dev, and comes with what it had in prod
	c := r.comeBack()
	c.AwaitGone(server.ListenerType, "shop/cache")
	c.AwaitGone(server.ClusterType, "shop/cache/prod")
}
