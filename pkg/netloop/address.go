package netloop

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// parseAddr turns a literal address into what the kernel wants.
func parseAddr(network, addr string) (family int, sa syscall.Sockaddr, err error) {
	switch network {
	case "unix":
		if addr == "" || len(addr) > 107 { // sun_path
			return 0, nil, fmt.Errorf("%w: unix %q", ErrAddress, addr)
		}
		return syscall.AF_UNIX, &syscall.SockaddrUnix{Name: addr}, nil
	case "tcp":
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %q", ErrAddress, addr)
		}
		return sockaddrOf(ap)
	}
	return 0, nil, fmt.Errorf("%w: network %q", ErrAddress, network)
}

func sockaddrOf(ap netip.AddrPort) (int, syscall.Sockaddr, error) {
	a := ap.Addr()
	if a.Is4() || a.Is4In6() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(ap.Port()), Addr: a.As4()}, nil
	}
	sa := &syscall.SockaddrInet6{Port: int(ap.Port()), Addr: a.As16()}
	if z := a.Zone(); z != "" {
		i, err := net.InterfaceByName(z)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: zone %q: %w", ErrAddress, z, err)
		}
		sa.ZoneId = uint32(i.Index)
	}
	return syscall.AF_INET6, sa, nil
}

func bindSource(fd int, addr string) error {
	if addr == "" {
		return nil
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return fmt.Errorf("%w: source %q", ErrAddress, addr)
	}
	_, sa, err := sockaddrOf(netip.AddrPortFrom(a, 0))
	if err != nil {
		return err
	}
	if err := syscall.Bind(fd, sa); err != nil {
		return fmt.Errorf("binding source %q: %w", addr, err)
	}
	return nil
}

// addrPortOf is the reverse of sockaddrOf; invalid for other families.
func addrPortOf(sa syscall.Sockaddr) netip.AddrPort {
	switch s := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *syscall.SockaddrInet6:
		a := netip.AddrFrom16(s.Addr)
		if s.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(s.ZoneId)); err == nil {
				a = a.WithZone(i.Name)
			}
		}
		return netip.AddrPortFrom(a.Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// formatAddr returns IP:port, or a unix socket's path ("@" if it has none).
func formatAddr(sa syscall.Sockaddr) string {
	if u, ok := sa.(*syscall.SockaddrUnix); ok {
		if u.Name == "" {
			return "@"
		}
		return u.Name
	}
	if ap := addrPortOf(sa); ap.IsValid() {
		return ap.String()
	}
	return ""
}

// LocalAddr returns our address: IP:port or a path; empty without a socket.
func (c *Conn) LocalAddr() string {
	if c.fd < 0 {
		return ""
	}
	sa, err := syscall.Getsockname(int(c.fd))
	if err != nil {
		return ""
	}
	return formatAddr(sa)
}

// LocalAddrPort is [Conn.LocalAddr] for TCP.
func (c *Conn) LocalAddrPort() netip.AddrPort {
	if c.fd < 0 {
		return netip.AddrPort{}
	}
	sa, err := syscall.Getsockname(int(c.fd))
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPortOf(sa)
}

// RemoteAddr returns the peer's address: IP:port, or the path that was dialled,
// or "@" for a client on a unix socket.
func (c *Conn) RemoteAddr() string {
	switch {
	case c.remote.IsValid():
		return c.remote.String()
	case c.rare != nil && c.rare.path != "":
		return c.rare.path
	case c.is(isUnix):
		return "@"
	}
	return ""
}

// RemoteAddrPort is [Conn.RemoteAddr] for TCP, without an allocation.
func (c *Conn) RemoteAddrPort() netip.AddrPort { return c.remote }
