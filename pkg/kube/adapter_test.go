package kube_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
)

const adapterObject = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: cache}
spec:
  api:
    listen: {port: 8081, tls: {cert: {secret: {name: adapter-tls}}}}
    upstream: {address: "127.0.0.1:8080"}
    routes: [{match: {path: /}}]
`

// TestAdaptersAreObjects: an Adapter is followed and has a status, and is not
// taken for the Ambassador of its name. What it names is asked for.
func TestAdaptersAreObjects(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, ns := install(t, api), api.Namespace(t)
	api.Apply(t, ns, adapterObject)
	api.Apply(t, ns, cacheObject)
	a := startReplica(t, account(t, api, system), system, "a")
	ambassadorRef, ambassador := a.object(t, ns, "cache")
	ref := inventory.Ref{Kind: inventory.KindAdapter, Key: ambassadorRef.Key}
	eventually(t, "the Adapter", true, func() bool { return a.plane.store.Adapter(ref.Key) != nil })
	adapter := a.plane.store.Adapter(ref.Key)
	if adapter.Err != nil || adapter.UID == "" || adapter.UID == ambassador.UID || inventory.RefOf(adapter.Object) != ref {
		t.Errorf("the Adapter is %+v", adapter)
	}
	eventually(t, "its Secret is asked for", true, func() bool {
		err := a.source.Problem()
		return err != nil && strings.Contains(err.Error(), "adapter-tls")
	})

	status := inventory.Status{UID: adapter.UID, Generation: adapter.Generation, Conditions: []inventory.Condition{
		{Type: inventory.ConditionAccepted, Status: inventory.StatusFalse, Reason: "NotSupported", Message: "for people"},
	}}
	a.status.SetStatus(ref, status)
	text := func() string {
		obj, err := api.Dynamic().Resource(v1alpha1.Adapters()).Namespace(ns).Get(t.Context(), "cache", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return short(read(t, obj))
	}
	eventually(t, "its status", "Accepted=False/NotSupported", text)
	if got := short(posted(t, api, ns, "cache")); got != "" {
		t.Errorf("the Ambassador has the status of the Adapter: %s", got)
	}
	a.status.SetStatus(ambassadorRef, say(ambassador, 0, 0, 0))
	eventually(t, "the Ambassador's own", true, func() bool { return strings.Contains(short(posted(t, api, ns, "cache")), "Accepted=True") })
	if got := text(); got != "Accepted=False/NotSupported" {
		t.Errorf("the Adapter has the status of the Ambassador: %s", got)
	}

	if err := api.Dynamic().Resource(v1alpha1.Adapters()).Namespace(ns).Delete(t.Context(), "cache", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Adapter is gone", true, func() bool { return a.plane.store.Adapter(ref.Key) == nil })
	if a.plane.store.Ambassador(ref.Key) == nil {
		t.Error("and the Ambassador with it")
	}
}
