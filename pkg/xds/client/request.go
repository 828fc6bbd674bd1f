package client

import (
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// wildcardName asks for all resources of a type.
const wildcardName = "*"

// uncertain is the version that is claimed to be held of a resource that is not
// certain: only the file has told of it, it was refused, or it is a listener
// that does not run yet and has to be acknowledged when it does. No control
// plane has such a version, so that it sends the resource, or that it is gone.
const uncertain = "uncertain"

// subscribe tells the server which names of a type are wanted now, if it does
// not know.
func (m *machine) subscribe(k kind) {
	t := &m.types[k]
	if !m.stream.open {
		return
	}
	if k.wildcard() {
		if !t.asked {
			m.first(k, m.wildcardNames())
		}
		return
	}
	added, gone := difference(t.told, t.wanted)
	switch {
	case len(added)+len(gone) == 0:
	case !t.asked:
		m.first(k, added)
	case m.stream.mode == SotW:
		m.settleForced(k)
	default:
		request := &discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: k.typeURL(), ResourceNamesSubscribe: added, ResourceNamesUnsubscribe: gone,
		}
		m.todo.requests = append(m.todo.requests, request)
	}
	t.told = maps.Clone(t.wanted)
}

func (m *machine) wildcardNames() []string {
	if m.explicit {
		return []string{wildcardName}
	}
	return nil
}

// difference lists what is only in one of the two, sorted.
func difference(before, after map[string]bool) (added, gone []string) {
	for name := range after {
		if !before[name] {
			added = append(added, name)
		}
	}
	for name := range before {
		if !after[name] {
			gone = append(gone, name)
		}
	}
	slices.Sort(added)
	slices.Sort(gone)
	return added, gone
}

// first asks for a type for the first time on a stream.
func (m *machine) first(k kind, names []string) {
	t := &m.types[k]
	t.asked = true
	if m.stream.mode == SotW {
		request := m.sotwRequest(k.typeURL(), "", nil)
		request.ResourceNames, request.VersionInfo = names, t.number
		m.todo.requests = append(m.todo.requests, request)
		return
	}
	request := m.deltaRequest(k.typeURL(), "", nil)
	request.ResourceNamesSubscribe = names
	request.InitialResourceVersions = m.held(k)
	m.todo.requests = append(m.todo.requests, request)
}

// held are the resources that a server need tell about only if it has another
// version of them, or none.
func (m *machine) held(k kind) map[string]string {
	versions := make(map[string]string)
	for name, e := range m.types[k].entries {
		switch {
		case e.offered == nil && e.refused == nil || !k.wildcard() && !m.types[k].wanted[name]:
		case e.offered == nil || e.offered.disk || k == listeners && e.offered != e.running:
			versions[name] = uncertain
		default:
			versions[name] = e.offered.number
		}
	}
	return versions
}

// settleForced tells a SotW server the names. That takes the newest response's
// nonce along, and so answers what has no answer yet.
func (m *machine) settleForced(k kind) {
	t := &m.types[k]
	for _, r := range t.replies {
		if len(r.errs) > 0 {
			r.hurry = true // names go with the NACK, which must say why
			return
		}
	}
	if n := len(t.replies); n > 0 {
		m.events.acks[k]++
		t.number = t.replies[n-1].number
		t.replies = nil
	}
	request := m.sotwRequest(k.typeURL(), t.nonce, nil)
	request.VersionInfo = t.number
	request.ResourceNames = slices.Sorted(maps.Keys(t.wanted))
	m.todo.requests = append(m.todo.requests, request)
}

// send answers a response.
func (m *machine) send(k kind, nonce string, reason *statuspb.Status) {
	t := &m.types[k]
	if m.stream.mode != SotW {
		m.todo.requests = append(m.todo.requests, m.deltaRequest(k.typeURL(), nonce, reason))
		return
	}
	request := m.sotwRequest(k.typeURL(), nonce, reason)
	request.VersionInfo = t.number
	request.ResourceNames = slices.Sorted(maps.Keys(t.told))
	if k.wildcard() {
		request.ResourceNames = m.wildcardNames()
	}
	m.todo.requests = append(m.todo.requests, request)
}

// request is an answer in the protocol of the stream.
func (m *machine) request(typeURL, nonce string, reason *statuspb.Status) proto.Message {
	if m.stream.mode == SotW {
		return m.sotwRequest(typeURL, nonce, reason)
	}
	return m.deltaRequest(typeURL, nonce, reason)
}

func (m *machine) deltaRequest(typeURL, nonce string, reason *statuspb.Status) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{
		Node: m.nodeOnce(), TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: reason,
	}
}

func (m *machine) sotwRequest(typeURL, nonce string, reason *statuspb.Status) *discoveryv3.DiscoveryRequest {
	return &discoveryv3.DiscoveryRequest{
		Node: m.nodeOnce(), TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: reason,
	}
}

// nodeOnce gives the node for the first request of a stream, and none for the
// others.
func (m *machine) nodeOnce() *corev3.Node {
	if m.stream.nodeSent {
		return nil
	}
	m.stream.nodeSent = true
	return m.node
}
