package kubetest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TB is the part of testing.TB that this package needs.
type TB = redistest.TB

// Runner is *testing.M.
type Runner interface{ Run() int }

// Suite is what the tests of one test binary share. Its zero value is ready; Main must be what TestMain calls.
type Suite struct {
	// Processes gives the test binary processes and mounts of its own, too, which all end with it: for tests that start what they could
	// not find again after a crash. Read-only once Main is called.
	Processes bool

	mu        sync.Mutex // guards what follows
	life      *lifetime
	server    *Server
	failure   error // why there is no server
	addresses int   // how many were given out
}

var errNoMain = errors.New("TestMain does not call kubetest.Suite.Main")

// Main runs the tests of a test binary in a network namespace of their own, ends what they shared, and returns the exit code.
func (s *Suite) Main(m Runner) int {
	if !isolated() {
		code, err := runIsolated(s.Processes)
		if err == nil {
			return code
		}
		fmt.Fprintf(os.Stderr, "kubetest: no network namespace of its own: %v\n", err)
	} else if err := setUpNetwork(); err != nil {
		fmt.Fprintf(os.Stderr, "kubetest: setting up the network namespace: %v\n", err)
		return 1
	}
	if s.Processes && isolated() {
		if err := setUpProcesses(); err != nil {
			fmt.Fprintf(os.Stderr, "kubetest: setting up the namespaces of processes and mounts: %v\n", err)
			return 1
		}
	}
	life := &lifetime{}
	defer life.end()
	s.mu.Lock()
	s.life = life
	s.mu.Unlock()
	return m.Run()
}

// Server returns the API server that all tests of this binary share, and starts it for the first of them. When the test fails, the end of
// the server's log goes to the test's.
func (s *Suite) Server(tb TB) *Server {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.failure == nil {
		s.failure = s.start()
	}
	if s.failure != nil {
		tb.Fatalf("%v", s.failure)
	}
	s.server.logOnFailure(tb)
	return s.server
}

// start runs the shared server for as long as the test binary.
func (s *Suite) start() error {
	if s.life == nil {
		return errNoMain
	}
	return s.life.try(func() { s.server = Start(s.life) })
}

// Addresses returns n IPv4 addresses of 10.200.0.0/16 that no other test has, on which servers can listen and which the API accepts as
// those of endpoints and pods.
func (s *Suite) Addresses(tb TB, n int) []netip.Addr {
	tb.Helper()
	return s.take(tb, n, netip.AddrFrom4([4]byte{10, 200, 0, 0}))
}

// Addresses6 is Addresses for IPv6: addresses of fd00:200::/64.
func (s *Suite) Addresses6(tb TB, n int) []netip.Addr {
	tb.Helper()
	addresses := s.take(tb, n, netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x02}))
	commands := make([]string, 0, n)
	for _, address := range addresses {
		commands = append(commands, "addr add "+address.String()+"/128 dev lo nodad")
	}
	if err := ip(commands...); err != nil {
		tb.Fatalf("adding addresses: %v", err)
	}
	return addresses
}

// take numbers addresses upwards from base; those of both families have the same numbers, none twice.
func (s *Suite) take(tb TB, n int, base netip.Addr) []netip.Addr {
	tb.Helper()
	if !isolated() {
		tb.Fatalf("there are no addresses beside loopback: Main could not make a network namespace. Run the tests as root, or allow user namespaces")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 1<<16 - 2
	if n > most-s.addresses {
		tb.Fatalf("%d addresses asked for, %d are left", n, most-s.addresses)
	}
	bytes := base.AsSlice()
	addresses := make([]netip.Addr, n)
	for i := range addresses {
		s.addresses++
		bytes[len(bytes)-2], bytes[len(bytes)-1] = byte(s.addresses>>8), byte(s.addresses)
		addresses[i], _ = netip.AddrFromSlice(bytes)
	}
	return addresses
}

// lifetime is the TB of what outlives a test. Fatalf ends the function that try runs.
type lifetime struct {
	mu       sync.Mutex // guards cleanups
	cleanups []func()
}

// fatal is what Fatalf panics with.
type fatal struct{ err error }

func (l *lifetime) Helper() {}

func (l *lifetime) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (l *lifetime) Fatalf(format string, args ...any) { panic(fatal{fmt.Errorf(format, args...)}) }

func (l *lifetime) Cleanup(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleanups = append(l.cleanups, fn)
}

// try runs fn and returns what it was fatally ended by.
func (l *lifetime) try(fn func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			f, ok := v.(fatal)
			if !ok {
				panic(v)
			}
			err = f.err
		}
	}()
	fn()
	return nil
}

// end runs the clean-ups, last come first served.
func (l *lifetime) end() {
	for {
		l.mu.Lock()
		last := len(l.cleanups) - 1
		if last < 0 {
			l.mu.Unlock()
			return
		}
		fn := l.cleanups[last]
		l.cleanups = l.cleanups[:last]
		l.mu.Unlock()
		fn()
	}
}
