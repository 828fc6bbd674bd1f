package kube_test

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// TestSourceWithKubernetesOwnSlices: with Kubernetes' controller a headless
// Service of both families has each pod once, with its labels; a pod that is
// relabelled leaves it, one that becomes ready joins it.
func TestSourceWithKubernetesOwnSlices(t *testing.T) {
	t.Parallel()
	api := kubetest.Start(t)
	api.RunEndpointSliceController(t)
	system, ns := install(t, api), api.Namespace(t)
	p := startPlane(t, account(t, api, system), system)
	p.await(t)
	dual := corev1.IPFamilyPolicyRequireDualStack
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "redis"},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": "redis"},
			IPFamilyPolicy: &dual, Ports: []corev1.ServicePort{{Name: "redis", Port: 6379}},
		},
	}
	if _, err := api.Client().CoreV1().Services(ns).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := make([]*corev1.Pod, 3)
	for i := range pods {
		n := byte(i + 1)
		pods[i] = api.Pod(t, kubetest.PodSpec{
			Namespace: ns, Name: "redis-" + string('0'+rune(i)), NotReady: i == 2,
			Labels: map[string]string{"app": "redis", "shard": string('0' + rune(i))},
			Addresses: []netip.Addr{
				netip.AddrFrom4([4]byte{10, 9, 4, n}), netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x09, 15: n}),
			},
		})
	}
	endpoints := func() []string {
		s := p.store.Service(inventory.Key{Namespace: ns, Name: "redis"})
		out := []string{}
		if s == nil || !s.Headless {
			return out
		}
		for _, e := range s.Endpoints {
			ready := map[bool]string{true: "ready", false: "not ready"}[e.Ready]
			out = append(out, e.Address+" "+e.Pod+" "+e.Labels["shard"]+" "+ready)
		}
		slices.Sort(out)
		return out
	}
	eventually(t, "three pods", []string{
		"10.9.4.1 redis-0 0 ready", "10.9.4.2 redis-1 1 ready", "10.9.4.3 redis-2 2 not ready",
	}, endpoints)
	api.Label(t, pods[0], "app", "other")
	api.Label(t, pods[1], "shard", "7")
	eventually(t, "one left, one has another shard", []string{
		"10.9.4.2 redis-1 7 ready", "10.9.4.3 redis-2 2 not ready",
	}, endpoints)
	api.DeletePod(t, pods[2])
	eventually(t, "one is deleted", []string{"10.9.4.2 redis-1 7 ready"}, endpoints)
}
