package nettest

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// serveLimit bounds a connection to a server that a test writes.
const serveLimit = 2 * time.Minute

// Serve is a server that a test writes: each connection is served by itself, and closed when serve returns. Its goroutines have ended when the test has.
func Serve(tb redistest.TB, serve func(net.Conn)) (addr string) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	var wg sync.WaitGroup
	tb.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(serveLimit))
				serve(c)
			})
		}
	})
	return ln.Addr().String()
}

// Nobody is an address where nobody listens, and nobody else will during the test.
func Nobody(tb redistest.TB) (addr string) {
	tb.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(redistest.Port(tb)))
}
