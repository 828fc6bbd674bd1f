package listener

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Probe tells whether the addresses that are new to the set could be bound
// now, before anything else is begun. Bind has the last word.
func (s *Set) Probe(ctx context.Context, specs []*resource.Listener) error {
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
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, a.Network, a.Addr)
		if err != nil {
			errs = append(errs, &BindError{Listener: spec.Name, Address: a.Addr, Err: err})
			continue
		}
		_ = ln.Close() // nothing was accepted
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
