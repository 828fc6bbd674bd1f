package redistest

import (
	"fmt"
	"syscall"
)

// Port returns a free TCP port of 127.0.0.1 and keeps it for this test until the test ends.
//
// The port stays bound, without listening, so that the kernel hands it to nobody else: neither as the local port of some client nor to
// another test, also while the server that belongs there is down. A server that sets SO_REUSEADDR before it binds (net.Listen, Redis,
// twemproxy and HAProxy do) can still listen on it.
func Port(tb TB) int {
	tb.Helper()
	fd, port, err := reserve()
	if err != nil {
		tb.Fatalf("reserving a port: %v", err)
	}
	tb.Cleanup(func() { _ = syscall.Close(fd) })
	return port
}

// reserve binds first and sets SO_REUSEADDR afterwards: exclusive against every other reservation, shareable with the server to come.
func reserve() (fd, port int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("opening a socket: %w", err)
	}
	port, err = bindAny(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return -1, 0, err
	}
	return fd, port, nil
}

func bindAny(fd int) (int, error) {
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("binding: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, fmt.Errorf("setting SO_REUSEADDR: %w", err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("reading the bound address: %w", err)
	}
	in4, ok := sa.(*syscall.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("bound address is a %T, not IPv4", sa)
	}
	return in4.Port, nil
}
