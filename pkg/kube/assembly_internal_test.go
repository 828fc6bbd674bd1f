package kube

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// perService is how many endpoints each Service of the benchmark has.
const perService = 10

// endpointSlice makes the slice of the i-th Service; ready is of its first
// endpoint.
func endpointSlice(i int, ready bool) *discoveryv1.EndpointSlice {
	name := fmt.Sprintf("service-%d", i)
	out := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("main"), Port: new(int32(6379))}},
	}
	for j := range perService {
		n := i*perService + j
		out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(j > 0 || ready)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("pod-%d", n)},
			NodeName:   new("node"), Zone: new("a"),
		})
	}
	return out
}

// filled is an assembly of so many Services, each pod of which is known.
func filled(services int) (*assembly, *inventory.Store) {
	a, into := newAssembly(), inventory.NewStore()
	at := time.Unix(1000, 0)
	for i := range services {
		s := endpointSlice(i, true)
		k := inventory.Key{Namespace: "shop", Name: fmt.Sprintf("service-%d", i)}
		a.setService(k, ServiceOf(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name}}), at)
		a.setSlice(inventory.Key{Namespace: s.Namespace, Name: s.Name}, SliceOf(s), at)
		for j := range s.Endpoints {
			pod := PodOf(&corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "shop", Name: s.Endpoints[j].TargetRef.Name, UID: "0c5a9b43-0b6a-4f5c-8a9e-4c4b8f0f5d11",
					Labels: map[string]string{"app": k.Name, "pod-template-hash": "5d4f8c7b9d"},
				},
				Spec:   corev1.PodSpec{NodeName: "node", ServiceAccountName: "default"},
				Status: corev1.PodStatus{PodIP: s.Endpoints[j].Addresses[0]},
			})
			a.setPod(pod.Key, pod, at)
		}
	}
	a.flush(into)
	return a, into
}

// TestAssemblyGathersBursts: many changes of one Service are one change of the
// inventory, with the time of the first; and changes that cancel out are none.
func TestAssemblyGathersBursts(t *testing.T) {
	t.Parallel()
	a, into := filled(3)
	into.Take()
	k := inventory.Key{Namespace: "shop", Name: "service-1-x"}
	for i := range 100 {
		a.setSlice(k, SliceOf(endpointSlice(1, i%2 == 1)), time.Unix(2000+int64(i), 0))
	}
	a.flush(into)
	if got := into.Take(); len(got) != 0 {
		t.Errorf("changes that cancel out are told: %v", got)
	}
	for i := range 101 {
		a.setSlice(k, SliceOf(endpointSlice(1, i%2 == 1)), time.Unix(3000+int64(i), 0))
	}
	a.flush(into)
	ref := inventory.Ref{Kind: inventory.KindService, Key: inventory.Key{Namespace: "shop", Name: "service-1"}}
	got := into.Take()
	if at, ok := got[ref]; len(got) != 1 || !ok || !at.Equal(time.Unix(3000, 0)) {
		t.Errorf("told %v, want %v at %v", got, ref, time.Unix(3000, 0))
	}
	if into.Service(ref.Key).Endpoints[0].Ready {
		t.Error("the first endpoint is ready")
	}
}

// BenchmarkChange is one endpoint that turns, among more and more others: the
// cost must not grow with them. B/endpoint is what is kept, pods included.
func BenchmarkChange(b *testing.B) {
	for _, endpoints := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("%dendpoints", endpoints), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			a, into := filled(endpoints / perService)
			runtime.GC()
			runtime.ReadMemStats(&after)
			k := inventory.Key{Namespace: "shop", Name: "service-1-x"}
			slices := []*Slice{SliceOf(endpointSlice(1, false)), SliceOf(endpointSlice(1, true))}
			i := 0
			for b.Loop() {
				a.setSlice(k, slices[i%2], time.Unix(2000, 0))
				a.flush(into)
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(endpoints), "B/endpoint")
		})
	}
}
