package client

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// RefetchSecret asks the control plane for a secret that it has sent already,
// because there is reason to believe that it has changed. A server of the delta
// protocol has to send what is subscribed to once more; one of the other protocol
// knows no such wish. It may be called at any time, from any goroutine.
func (c *Client) RefetchSecret(name string) {
	c.mu.Lock()
	c.machine.refetch(secrets, name)
	c.mu.Unlock()
	select {
	case c.events <- event{}: // nothing but a reason to look
	default: // there are enough
	}
}

// refetch asks for a resource that is subscribed to.
func (m *machine) refetch(k kind, name string) {
	t := &m.types[k]
	if !m.stream.open || m.stream.mode != Delta || !t.asked || !t.told[name] {
		return
	}
	m.todo.requests = append(m.todo.requests, &discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: k.typeURL(), ResourceNamesSubscribe: []string{name},
	})
}
