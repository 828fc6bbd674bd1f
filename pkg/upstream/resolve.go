package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrNoAddress is a name that exists, without an address of the family that is
// wanted.
var ErrNoAddress = errors.New("no address of the wanted family")

// Resolver finds the addresses of a host, in the order of preference.
type Resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// SystemResolver asks as the system is configured to.
func SystemResolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve finds the addresses of a host that the configuration wants. A host
// that is an address is its own answer.
func (c *cluster) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.env.timing.dnsLimit)
	defer cancel()
	addrs, err := c.env.resolver(ctx, host)
	if err == nil {
		addrs = ofFamily(addrs, c.spec.Discovery.DNS.Family, host)
		if len(addrs) == 0 {
			err = ErrNoAddress
		}
	}
	if err != nil {
		if ctx.Err() != context.Canceled {
			c.stats.dnsFailures.Add(1)
		}
		return nil, fmt.Errorf("resolving %q: %w", host, withoutPorts(err))
	}
	return addrs, nil
}

// withoutPorts leaves out of the error of a resolver that could not be asked from which
// port that was, which is another each time: the same trouble has the same text.
func withoutPorts(err error) error {
	asked, ok := errors.AsType[*net.DNSError](err)
	if !ok {
		return err
	}
	words := strings.Fields(asked.Err)
	for i, word := range words {
		if _, server, ok := strings.Cut(word, "->"); ok {
			words[i] = server
		}
	}
	same := *asked
	same.Err = strings.Join(words, " ")
	return &same
}

// ofFamily keeps the addresses of the wanted family, once each, in their order.
//
// The name localhost is IPv4 first where both are allowed: almost every machine
// gives it both addresses, and almost every server binds the one.
func ofFamily(addrs []netip.Addr, family resource.DNSFamily, host string) []netip.Addr {
	var v4, v6, all []netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		if slices.Contains(all, a) {
			continue
		}
		all = append(all, a)
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	if host == "localhost" && family == resource.DNSAuto {
		family = resource.DNSV4Preferred
	}
	switch family {
	case resource.DNSV4Only:
		return v4
	case resource.DNSV6Only:
		return v6
	case resource.DNSV4Preferred:
		return either(v4, v6)
	case resource.DNSAll:
		return all
	default:
		return either(v6, v4)
	}
}

func either(first, second []netip.Addr) []netip.Addr {
	if len(first) > 0 {
		return first
	}
	return second
}
