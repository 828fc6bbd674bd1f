package listener

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Probe tells whether the addresses that are new to the set could be bound
// now, before anything else is begun. Bind has the last word.
func (s *Set) Probe(specs []*resource.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := map[string]bool{}
	for _, k := range s.sockets {
		ports[port(k.spec.Address)] = true
	}
	var errs []error
	for _, spec := range specs {
		a := spec.Address
		// A port of ours may be about to be given up.
		if s.sockets[key(spec)] != nil || a.Network != resource.NetworkTCP || ports[port(a)] {
			continue
		}
		if err := netloop.CheckListen(a.Addr); err != nil {
			errs = append(errs, &BindError{Listener: spec.Name, Address: a.Addr, Err: err})
		}
	}
	return errors.Join(errs...)
}

// port is a TCP address' port with its colon; empty for a unix socket.
func port(a resource.ListenAddress) string {
	if a.Network != resource.NetworkTCP {
		return ""
	}
	return a.Addr[strings.LastIndexByte(a.Addr, ':'):]
}
