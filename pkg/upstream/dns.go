package upstream

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// dns is the discovery of endpoints that are host names. Every host is resolved
// by itself, again and again; a failure leaves the last good answer in force.
type dns struct {
	// read-only after construction
	c     *cluster
	hosts []*hostState

	mu      sync.Mutex            // guards below, and the order of publications
	waiting int                   // hosts whose first resolution is under way
	answers map[string]hostAnswer // by host; the last good ones
	chosen  map[int]netip.Addr    // by endpoint that is one of a host's addresses
	failing map[string]error      // by host; of the latest resolution
}

type hostState struct {
	name string
	wake chan struct{} // has room for one
}

type hostAnswer struct {
	addrs []netip.Addr // in the resolver's order
}

func newDNS(c *cluster) *dns {
	d := &dns{c: c, answers: make(map[string]hostAnswer), chosen: make(map[int]netip.Addr), failing: make(map[string]error)}
	seen := make(map[string]bool)
	for i := range c.spec.Endpoints {
		e := &c.spec.Endpoints[i]
		if _, err := netip.ParseAddr(e.Host); err == nil || e.Path != "" || seen[e.Host] {
			continue
		}
		seen[e.Host] = true
		d.hosts = append(d.hosts, &hostState{name: e.Host, wake: make(chan struct{}, 1)})
	}
	d.waiting = len(d.hosts)
	return d
}

// prepare publishes the shards, so that their order is known, with those
// addresses that need no resolution.
func (d *dns) prepare() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.c.hasLayout() {
		d.c.publish(d.c.compose(d.c.spec.Endpoints, d.addressesLocked))
	}
	if d.waiting == 0 {
		d.c.settle()
	}
}

func (d *dns) run(ctx context.Context) {
	for _, h := range d.hosts {
		d.c.env.spawn(func() { d.follow(ctx, h) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.c.search:
			for _, h := range d.hosts {
				signal(h.wake)
			}
		}
	}
}

// follow keeps the answer for one host fresh.
func (d *dns) follow(ctx context.Context, h *hostState) {
	var r rhythm
	failures := 0
	for first := true; ctx.Err() == nil; first = false {
		addrs, err := d.c.resolve(ctx, h.name)
		if ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if err != nil {
			wait = d.retry(failures)
			failures++
		} else {
			failures = 0
			// A server that died may come back at another address.
			wait = r.next(d.c.env.timing, d.c.spec.Discovery.DNS.RefreshRate, nil, d.c.suspect())
		}
		d.tell(h.name, err)
		d.take(h.name, addrs, first)
		pause(ctx, wait, h.wake)
	}
}

// tell says of which hosts the latest resolution failed: one that is well does not
// make the others so.
func (d *dns) tell(host string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.failing, host)
	} else {
		d.failing[host] = err
	}
	if len(d.failing) == 0 {
		d.c.succeeded()
		return
	}
	var errs []error
	for _, host := range slices.Sorted(maps.Keys(d.failing)) {
		errs = append(errs, d.failing[host])
	}
	d.c.failed(errors.Join(errs...))
}

// retry is the pause after so many failures before the latest.
func (d *dns) retry(failures int) time.Duration {
	spec := &d.c.spec.Discovery.DNS
	return d.c.env.timing.backoff(failures, spec.FailureRefreshRate, max(spec.FailureRefreshMax, spec.FailureRefreshRate))
}

// take publishes an answer; none leaves the last good one in force.
func (d *dns) take(host string, addrs []netip.Addr, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(addrs) > 0 {
		d.answers[host] = hostAnswer{addrs: addrs}
		d.c.publish(d.c.compose(d.c.spec.Endpoints, d.addressesLocked))
	}
	if !first {
		return
	}
	if d.waiting--; d.waiting == 0 {
		d.c.settle()
	}
}

// addressesLocked gives the known addresses of an endpoint's host: all of them,
// sorted, since resolvers rotate them; or the chosen one first.
func (d *dns) addressesLocked(i int, e *resource.Endpoint) []netip.Addr {
	addrs := d.answers[e.Host].addrs
	if len(addrs) == 0 {
		return nil
	}
	if d.c.several(e) {
		addrs = slices.Clone(addrs)
		slices.SortFunc(addrs, netip.Addr.Compare)
		return addrs
	}
	d.chosen[i] = choose(d.chosen[i], addrs, func(a netip.Addr) bool {
		return d.c.suspectAddress(netip.AddrPortFrom(a, uint16(e.Port)).String())
	})
	return []netip.Addr{d.chosen[i]}
}

// choose keeps to the current address as long as it is among the answers, unless
// it is out of use and another one is not.
func choose(current netip.Addr, answers []netip.Addr, suspect func(netip.Addr) bool) netip.Addr {
	at := slices.Index(answers, current)
	if at >= 0 && !suspect(current) {
		return current
	}
	for i := range answers {
		if a := answers[(at+1+i)%len(answers)]; !suspect(a) {
			return a
		}
	}
	if at >= 0 {
		return current
	}
	return answers[0]
}

// peer is a server that can be asked about others.
type peer struct {
	network string
	address string
	host    string // as configured or announced; "" for a unix socket
	tlsHost string // "" where only an address is known
}

// seeds resolves the configured endpoints, for discoveries that ask them.
func (c *cluster) seeds(ctx context.Context) ([]peer, error) {
	var peers []peer
	var errs []error
	for i := range c.spec.Endpoints {
		e := &c.spec.Endpoints[i]
		if e.Path != "" {
			peers = append(peers, peer{network: "unix", address: e.Path})
			continue
		}
		found, err := c.peersAt(ctx, e.Host, int(e.Port))
		if err != nil {
			errs = append(errs, err)
		}
		for _, p := range found {
			if e.Hostname != "" {
				p.tlsHost = e.Hostname
			}
			peers = append(peers, p)
		}
	}
	if len(peers) == 0 {
		return nil, errors.Join(errs...)
	}
	return peers, nil
}

// peersAt resolves a host to the peers at its addresses.
func (c *cluster) peersAt(ctx context.Context, host string, port int) ([]peer, error) {
	addrs, err := c.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	peers := make([]peer, len(addrs))
	for i, a := range addrs {
		at := netip.AddrPortFrom(a, uint16(port))
		peers[i] = peer{network: "tcp", address: at.String(), host: host}
		if _, err := netip.ParseAddr(host); err != nil {
			peers[i].tlsHost = host
		}
	}
	return peers, nil
}
