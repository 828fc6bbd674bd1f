package translate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
)

// A case is a world with the Service shop/web, a target, and what that becomes.
func TestGRPCGolden(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/grpc/*.txtar", func(t *testing.T, c *goldentest.Case) {
		var port uint32
		var spot translate.Spot
		if n, err := fmt.Sscanf(c.Text("target"), "port %d zone %s node %s", &port, &spot.Zone, &spot.NodeName); n == 0 {
			t.Fatal(err)
		}
		svc := readWorld(t, c.Archive).Service(inventory.Key{Namespace: "shop", Name: "web"})
		set, counts, err := translate.GRPCService(svc, port, spot, translate.ClusterDomain)
		if err != nil {
			t.Fatal(err)
		}
		c.Compare(t, map[string]string{"zoned": fmt.Sprintln(counts.Zone), "resources.json": asJSON(t, set)})
	})
}

func TestGRPCServiceWithoutThePort(t *testing.T) {
	t.Parallel()
	svc := &inventory.Service{
		Key:   inventory.Key{Namespace: "shop", Name: "web"},
		Ports: []inventory.ServicePort{{Port: 80, Protocol: "UDP"}},
	}
	if set, _, err := translate.GRPCService(svc, 80, translate.Spot{}, translate.ClusterDomain); err == nil || len(set.Listeners) > 0 {
		t.Errorf("%v, %d listeners", err, len(set.Listeners))
	}
}

func TestParseGRPCName(t *testing.T) {
	t.Parallel()
	web := inventory.Key{Namespace: "shop", Name: "web"}
	for _, name := range append(translate.GRPCNames(web, 80, "cluster.local"), "shop/web:80") {
		if key, port, ok := translate.ParseGRPCName(name, "cluster.local"); !ok || key != web || port != 80 {
			t.Errorf("%q: %v %d %v", name, key, port, ok)
		}
	}
	if key, _, ok := translate.ParseGRPCName("svc.svc:80", "cluster.local"); !ok || key.Namespace != "svc" {
		t.Errorf("in a namespace svc: %v %v", key, ok)
	}
	for _, name := range []string{
		"", ":", "web", "web:80", "web.shop", "web.shop:", "web.shop:0", "web.shop:080", "web.shop:65536", "web.shop:-1", "web.shop:+1",
		"web.shop.svc.other:80", "web.shop.cluster.local:80", "a.web.shop.svc:80", "Web.shop:80", "web/shop/x:80", "/web:80", "shop/web",
		"shop/web.svc:80", "shop/cache/prod",
	} {
		if key, port, ok := translate.ParseGRPCName(name, "cluster.local"); ok {
			t.Errorf("%q is taken for %v port %d", name, key, port)
		}
	}
}

// FuzzParseGRPCName: what is taken for a name is one of the names of what it is
// taken for.
func FuzzParseGRPCName(f *testing.F) {
	for _, name := range []string{"web.shop:80", "shop/web:80", "web.shop.svc.cluster.local:80", "svc.svc:1", "svc.svc.svc:1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key, port, ok := translate.ParseGRPCName(name, "cluster.local")
		if !ok {
			return
		}
		names := append(translate.GRPCNames(key, port, "cluster.local"), fmt.Sprintf("%v:%d", key, port))
		if !strings.Contains("\n"+strings.Join(names, "\n")+"\n", "\n"+name+"\n") {
			t.Errorf("%q is taken for %s", name, cmp.Diff(name, names))
		}
	})
}
