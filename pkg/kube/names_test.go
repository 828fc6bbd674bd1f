package kube_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// TestNamed: wherever an object may name a Secret or a ConfigMap, it is found.
func TestNamed(t *testing.T) {
	t.Parallel()
	objs, errs := mesh.Decode("", []byte(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec:
  protocol: redis
  listen: {port: 6380, tls: {cert: {secret: {name: listen-cert}}, clientCA: {secret: {name: listen-ca}}}}
  redis:
    users: [{name: default, passwordSecret: {name: users}}, {name: other, passwordSecret: {name: users, key: other}}]
    mirrors: [{pool: next}]
  environments:
    dev: {address: "127.0.0.1:6379", pools: {next: {address: "127.0.0.1:6378"}}}
    prod:
      sentinel: {masters: [a], addresses: ["s:26379"], credentials: {secret: {name: sentinel}}}
      credentials: {secret: {name: redis}}
      tls: {ca: {configMap: {name: ca}}, cert: {secret: {name: cert}}}
      pools:
        next: {address: "a:1", credentials: {secret: {name: next}}, tls: {ca: {secret: {name: ca}}}}
`), mesh.InCluster())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	ref := func(kind inventory.Kind, name string) inventory.Ref {
		return inventory.Ref{Kind: kind, Key: inventory.Key{Namespace: "shop", Name: name}}
	}
	var want []inventory.Ref
	for _, name := range []string{"ca", "cert", "listen-ca", "listen-cert", "next", "redis", "sentinel", "users"} {
		want = append(want, ref(inventory.KindSecret, name))
	}
	want = append(want, ref(inventory.KindConfigMap, "ca"))
	if diff := cmp.Diff(want, kube.Named(objs[0])); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
}
