package kube_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// elected applies a Lease as a candidate keeps it, renewed now.
func elected(t *testing.T, api *kubetest.Server, ns, name, holder string, seconds int, renewed time.Time) {
	t.Helper()
	api.Apply(t, ns, fmt.Sprintf(`apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: %s}
spec: {holderIdentity: %q, leaseDurationSeconds: %d, renewTime: %q}
`, name, holder, seconds, renewed.UTC().Format(metav1.RFC3339Micro)))
}

const followsLeader = `apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: leader}
spec:
  protocol: tcp
  listen: {port: 7000}
  environments: {dev: {leader: {election: chosen, port: 80}}}
`

// TestSourceFollowsLeaders: with the rights of its own manifest it sees who holds
// a Lease that an object names and where that pod is; three in turn, the last of
// which fails to renew; and no other Lease, nor this one when nobody names it.
func TestSourceFollowsLeaders(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t)
	for i := range 3 {
		api.Pod(t, kubetest.PodSpec{
			Namespace: ns, Name: fmt.Sprintf("web-%d", i), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, 0, byte(i)})},
		})
	}
	key := inventory.Key{Namespace: ns, Name: "chosen"}
	leads := func(what string, want *inventory.Lease) {
		t.Helper()
		if want != nil {
			want.Key = key
		}
		eventually(t, what, want, func() *inventory.Lease { return p.store.Lease(key) })
	}
	elected(t, api, ns, "other", "web-0", 3600, time.Now())
	elected(t, api, ns, "chosen", "web-0", 3600, time.Now().Add(-2*time.Hour))
	api.Apply(t, ns, followsLeader)
	leads("one that has run out by its own clock", &inventory.Lease{Holder: "web-0", Expired: true, Pod: "web-0", IPs: []string{"10.9.0.0"}})
	elected(t, api, ns, "chosen", "web-0", 3600, time.Now().Add(-time.Hour-time.Minute))
	leads("renewed, with a clock that is slow", &inventory.Lease{Holder: "web-0", Pod: "web-0", IPs: []string{"10.9.0.0"}})
	elected(t, api, ns, "chosen", "web-1_7d0a", 3600, time.Now())
	leads("the second, as client-go names it", &inventory.Lease{Holder: "web-1_7d0a", Pod: "web-1", IPs: []string{"10.9.0.1"}})
	elected(t, api, ns, "chosen", "", 1, time.Now())
	eventually(t, "nobody", "", func() string { return p.store.Lease(key).Holder })
	elected(t, api, ns, "chosen", "somebody", 3600, time.Now())
	leads("one that is no pod", &inventory.Lease{Holder: "somebody"})
	elected(t, api, ns, "chosen", "web-2", 1, time.Now())
	leads("the third, which does not renew", &inventory.Lease{Holder: "web-2", Expired: true, Pod: "web-2", IPs: []string{"10.9.0.2"}})

	if got := p.store.Lease(inventory.Key{Namespace: ns, Name: "other"}); got != nil {
		t.Errorf("a Lease that nobody names was read: %+v", got)
	}
	deleteAmbassador(t, api, ns, "leader")
	leads("nobody names it", nil)
}

// TestSourceKnowsAnotherPodOfTheSameName: a pod that comes back under the name of
// the holder does not lead before the Lease is renewed.
func TestSourceKnowsAnotherPodOfTheSameName(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t)
	spec := kubetest.PodSpec{Namespace: ns, Name: "web-0", Addresses: []netip.Addr{netip.MustParseAddr("10.9.1.1")}}
	former := api.Pod(t, spec)
	elected(t, api, ns, "chosen", "web-0", 3600, time.Now())
	api.Apply(t, ns, followsLeader)
	key := inventory.Key{Namespace: ns, Name: "chosen"}
	at := func() (ips []string) {
		if l := p.store.Lease(key); l != nil {
			ips = l.IPs
		}
		return ips
	}
	eventually(t, "the first", []string{"10.9.1.1"}, at)
	api.DeletePod(t, former)
	eventually(t, "its end", nil, at)
	spec.Addresses[0] = netip.MustParseAddr("10.9.1.2")
	made := api.Pod(t, spec)
	eventually(t, "the second pod", []string{"10.9.1.2"}, func() (ips []string) {
		if pod := p.store.Pod(inventory.Key{Namespace: ns, Name: made.Name}); pod != nil {
			ips = pod.IPs
		}
		return ips
	})
	if got := at(); got != nil {
		t.Errorf("it leads already: %v", got)
	}
	elected(t, api, ns, "chosen", "web-0", 3600, time.Now())
	eventually(t, "it has won", []string{"10.9.1.2"}, at)
}
