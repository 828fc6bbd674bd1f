package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

const adapterDocument = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: cache, namespace: shop}
spec: {metrics: {listen: {port: 6380}, sources: [{name: nginx, nginxStubStatus: {uri: "http://localhost/nginx_status"}}]}}
`

// TestAdaptersAreRefusedAloud: an Adapter is never accepted, whatever it holds,
// and an Ambassador of the same name is as if it were not there.
func TestAdaptersAreRefusedAloud(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(adapterDocument)
	r.put(strings.NewReplacer("Adapter", "Ambassador", "{metrics: {listen: {port: 6380}, sources: [{name: nginx, nginxStubStatus: {uri: \"http://localhost/nginx_status\"}}]}}",
		`{protocol: redis, listen: {port: 6380}, environments: {dev: {address: "127.0.0.1:6379"}}}`).Replace(adapterDocument))
	r.start()
	const adapter = "Adapter shop/cache"
	c := r.awaitCondition(adapter, inventory.ConditionAccepted, inventory.StatusFalse, "NotSupported")
	if !strings.Contains(c.Message, "does not run Adapters yet") {
		t.Errorf("people read %q", c.Message)
	}
	r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusUnknown, "NotSupported")
	r.awaitCondition(adapter, inventory.ConditionProgrammed, inventory.StatusFalse, "NotSupported")
	r.awaitCondition("shop/cache", inventory.ConditionAccepted, inventory.StatusTrue, "Accepted")
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusUnknown, "NoProxies")

	objs, _ := mesh.Decode("", []byte(adapterDocument), mesh.InCluster())
	inventory.Put(r.store, inventory.RefOf(objs[0]), &inventory.Object{Object: objs[0], Generation: 2, Err: errors.New("it is wrong")}, time.Now())
	if c := r.awaitCondition(adapter, inventory.ConditionAccepted, inventory.StatusFalse, "Invalid"); c.Message != "it is wrong" {
		t.Errorf("people read %q", c.Message)
	}
}
