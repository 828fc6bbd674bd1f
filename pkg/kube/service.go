package kube

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// AllowFromAnnotation on a Service names the namespaces that may refer to it,
// separated by commas; "*" is all.
const AllowFromAnnotation = "mesh.dragoman.io/allow-from"

// Slice is what is kept of an EndpointSlice, or of a subset of an Endpoints
// object.
type Slice struct {
	service   inventory.Key
	name      string
	family    discoveryv1.AddressType
	endpoints []sliceEndpoint
}

// sliceEndpoint is an endpoint whose pod is not looked up yet.
type sliceEndpoint struct {
	inventory.Endpoint // without Labels
	podNamespace       string
}

// SliceOf converts an EndpointSlice; nil if it belongs to no Service.
func SliceOf(in *discoveryv1.EndpointSlice) *Slice {
	service := in.Labels[discoveryv1.LabelServiceName]
	if service == "" {
		return nil
	}
	out := &Slice{
		service:   inventory.Key{Namespace: in.Namespace, Name: service},
		name:      in.Name,
		family:    in.AddressType,
		endpoints: make([]sliceEndpoint, 0, len(in.Endpoints)),
	}
	ports := slicePorts(in.Ports)
	for i := range in.Endpoints {
		if e := &in.Endpoints[i]; len(e.Addresses) > 0 {
			out.endpoints = append(out.endpoints, sliceEndpointOf(in.Namespace, e, ports))
		}
	}
	return out
}

// slicePorts leaves out ports without a number, which stand for all.
func slicePorts(in []discoveryv1.EndpointPort) map[string]uint32 {
	out := make(map[string]uint32, len(in))
	for _, p := range in {
		if p.Port != nil {
			out[orZero(p.Name)] = uint32(*p.Port)
		}
	}
	return out
}

func sliceEndpointOf(namespace string, e *discoveryv1.Endpoint, ports map[string]uint32) sliceEndpoint {
	// The addresses of one endpoint are interchangeable; the first is enough.
	out := sliceEndpoint{podNamespace: namespace}
	ready := e.Conditions.Ready == nil || *e.Conditions.Ready // unknown means yes
	out.Endpoint = inventory.Endpoint{
		Address:     e.Addresses[0],
		Ports:       ports,
		Ready:       ready,
		Serving:     ready,
		Terminating: orZero(e.Conditions.Terminating),
		Hostname:    orZero(e.Hostname),
		Zone:        orZero(e.Zone),
		NodeName:    orZero(e.NodeName),
	}
	if e.Conditions.Serving != nil {
		out.Serving = *e.Conditions.Serving
	}
	if r := e.TargetRef; r != nil && r.Kind == "Pod" {
		out.Pod = r.Name
		out.podNamespace = cmp.Or(r.Namespace, namespace)
	}
	if e.Hints != nil {
		for _, z := range e.Hints.ForZones {
			out.ForZones = append(out.ForZones, z.Name)
		}
		slices.Sort(out.ForZones)
	}
	return out
}

// EndpointsOf converts a core Endpoints object, a slice for each of its subsets.
func EndpointsOf(in *corev1.Endpoints) []*Slice { //nolint:staticcheck // deprecated, and still what some clusters have
	var out []*Slice
	for i := range in.Subsets {
		s := &in.Subsets[i]
		ports := make(map[string]uint32, len(s.Ports))
		for _, p := range s.Ports {
			ports[p.Name] = uint32(p.Port)
		}
		slice := &Slice{service: inventory.Key{Namespace: in.Namespace, Name: in.Name}, name: strconv.Itoa(i)}
		for j := range s.Addresses {
			slice.endpoints = append(slice.endpoints, coreEndpointOf(in.Namespace, &s.Addresses[j], ports, true))
		}
		for j := range s.NotReadyAddresses {
			slice.endpoints = append(slice.endpoints, coreEndpointOf(in.Namespace, &s.NotReadyAddresses[j], ports, false))
		}
		slice.family = discoveryv1.AddressTypeIPv4
		if len(slice.endpoints) > 0 && strings.Contains(slice.endpoints[0].Address, ":") {
			slice.family = discoveryv1.AddressTypeIPv6
		}
		out = append(out, slice)
	}
	return out
}

func coreEndpointOf(namespace string, a *corev1.EndpointAddress, ports map[string]uint32, ready bool) sliceEndpoint {
	out := sliceEndpoint{podNamespace: namespace}
	out.Endpoint = inventory.Endpoint{
		Address: a.IP, Ports: ports, Ready: ready, Serving: ready, Hostname: a.Hostname, NodeName: orZero(a.NodeName),
	}
	if r := a.TargetRef; r != nil && r.Kind == "Pod" {
		out.Pod = r.Name
		out.podNamespace = cmp.Or(r.Namespace, namespace)
	}
	return out
}

// Service is what is kept of a Service.
type Service struct {
	service inventory.Service // without Endpoints
	family  corev1.IPFamily   // the first
}

// ServiceOf converts a Service without its endpoints.
func ServiceOf(in *corev1.Service) *Service {
	out := &Service{service: inventory.Service{
		Key:       inventory.Key{Namespace: in.Namespace, Name: in.Name},
		Headless:  in.Spec.ClusterIP == corev1.ClusterIPNone,
		AllowFrom: splitList(in.Annotations[AllowFromAnnotation]),
	}}
	if in.Spec.Type == corev1.ServiceTypeExternalName {
		out.service.ExternalName = in.Spec.ExternalName
	}
	// kube-proxy, whose setting it is, has no part in the two others.
	out.service.Local = !out.service.Headless && out.service.ExternalName == "" &&
		orZero(in.Spec.InternalTrafficPolicy) == corev1.ServiceInternalTrafficPolicyLocal
	for _, p := range in.Spec.Ports {
		protocol := cmp.Or(string(p.Protocol), string(corev1.ProtocolTCP))
		out.service.Ports = append(out.service.Ports, inventory.ServicePort{Name: p.Name, Port: uint32(p.Port), Protocol: protocol})
	}
	out.family = corev1.IPv4Protocol
	if len(in.Spec.IPFamilies) > 0 {
		out.family = in.Spec.IPFamilies[0]
	}
	return out
}

func splitList(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Surroundings answer for what a slice only names.
type Surroundings interface {
	// PodLabels gives those of a pod, nil if it is not known.
	PodLabels(pod inventory.Key) map[string]string
	// NodeZone gives the zone of a node, "" if it is not known.
	NodeZone(node string) string
}

// Join gives a Service with its endpoints: those of its slices, each once.
func (s *Service) Join(parts []*Slice, around Surroundings) *inventory.Service {
	out := s.service
	inOrder := slices.SortedFunc(slices.Values(parts), func(a, b *Slice) int { return cmp.Compare(a.name, b.name) })
	n := 0
	for _, p := range inOrder {
		n += len(p.endpoints)
	}
	out.Endpoints = make([]inventory.Endpoint, 0, n)
	for _, p := range s.firstFamily(inOrder) {
		out.Endpoints = append(out.Endpoints, resolveEndpoint(&p, around))
	}
	slices.SortStableFunc(out.Endpoints, compareEndpoints)
	out.Endpoints = mergeSame(out.Endpoints)
	return &out
}

// firstFamily gives the endpoints but for those of pods which have an address
// of the Service's first family, too.
func (s *Service) firstFamily(parts []*Slice) []sliceEndpoint {
	other := discoveryv1.AddressTypeIPv6
	if s.family == corev1.IPv6Protocol {
		other = discoveryv1.AddressTypeIPv4
	}
	var out, seconds []sliceEndpoint
	for _, p := range parts {
		if p.family == other {
			seconds = append(seconds, p.endpoints...)
		} else {
			out = append(out, p.endpoints...)
		}
	}
	if len(seconds) == 0 || len(out) == 0 {
		return append(out, seconds...)
	}
	known := make(map[inventory.Key]bool, len(out))
	for i := range out {
		known[out[i].podKey()] = true
	}
	for i := range seconds {
		if e := &seconds[i]; e.Pod == "" || !known[e.podKey()] {
			out = append(out, *e)
		}
	}
	return out
}

func (e *sliceEndpoint) podKey() inventory.Key {
	return inventory.Key{Namespace: e.podNamespace, Name: e.Pod}
}

func resolveEndpoint(e *sliceEndpoint, around Surroundings) inventory.Endpoint {
	out := e.Endpoint
	if e.Pod != "" {
		out.Labels = around.PodLabels(e.podKey())
	}
	if out.Zone == "" && e.NodeName != "" {
		out.Zone = around.NodeZone(e.NodeName)
	}
	return out
}

func compareEndpoints(a, b inventory.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Pod, b.Pod))
}

// mergeSame makes one of neighbours that are the same endpoint: an endpoint is
// in two slices while it moves from one to the other, or because each has some
// of its ports. It is as good as the better of the two. Servers of one host that are
// no pods differ by their ports alone: each of them is an endpoint.
func mergeSame(in []inventory.Endpoint) []inventory.Endpoint {
	out := in[:0]
	host := 0 // the first at the address of the last
	for i := range in {
		if len(out) > 0 && compareEndpoints(out[host], in[i]) != 0 {
			host = len(out)
		}
		at := slices.IndexFunc(out[host:], func(e inventory.Endpoint) bool { return e.Pod != "" || agree(e.Ports, in[i].Ports) })
		if at < 0 {
			out = append(out, in[i])
			continue
		}
		mergeInto(&out[host+at], &in[i])
	}
	return out
}

// agree reports whether no port has two numbers.
func agree(a, b map[string]uint32) bool {
	for name, number := range a {
		if other, ok := b[name]; ok && other != number {
			return false
		}
	}
	return true
}

func mergeInto(e, other *inventory.Endpoint) {
	if !maps.Equal(e.Ports, other.Ports) {
		ports := maps.Clone(other.Ports)
		maps.Copy(ports, e.Ports)
		e.Ports = ports
	}
	e.Ready = e.Ready || other.Ready
	e.Serving = e.Serving || other.Serving
	e.Terminating = e.Terminating && other.Terminating
}

func sameService(a, b *inventory.Service) bool {
	return a != nil && b != nil && a.Key == b.Key && a.ExternalName == b.ExternalName && a.Headless == b.Headless && a.Local == b.Local &&
		slices.Equal(a.Ports, b.Ports) && slices.Equal(a.AllowFrom, b.AllowFrom) &&
		slices.EqualFunc(a.Endpoints, b.Endpoints, sameEndpoint)
}

func sameEndpoint(a, b inventory.Endpoint) bool {
	return a.Address == b.Address && a.Pod == b.Pod && a.Hostname == b.Hostname && a.Zone == b.Zone && a.NodeName == b.NodeName &&
		a.Ready == b.Ready && a.Serving == b.Serving && a.Terminating == b.Terminating &&
		maps.Equal(a.Ports, b.Ports) && maps.Equal(a.Labels, b.Labels) && slices.Equal(a.ForZones, b.ForZones)
}

func orZero[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
