// Package listener runs the listeners of the snapshot: it binds their sockets,
// gives each connection to the listener's filter, and replaces filters beneath
// a socket that stays open.
//
// A change is made in steps, of which only the last is felt:
//
//	c, err := set.Build(listeners, deps) // filters
//	...                                  // the caller makes the clusters ready
//	err = c.Bind()                       // sockets of new addresses
//	c.Commit()                           // swap, then retire the old
//
// Before Commit, c.Abort undoes everything.
package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the filter of a listener.
type Builder interface {
	Build(cfg any, ctx filters.Context) (filters.Network, error)
}

// Set is the running listeners. Its methods may be called from any goroutine,
// changes one at a time.
type Set struct {
	// read-only after construction
	group   *netloop.Group
	builder Builder
	log     *slog.Logger

	routes atomic.Pointer[routeTable] // those of the last commit

	mu       sync.Mutex
	sockets  map[string]*socket // by key of the address, guarded by mu
	draining bool               // guarded by mu
}

// NewSet returns a set without listeners.
func NewSet(g *netloop.Group, b Builder, log *slog.Logger) *Set {
	return &Set{group: g, builder: b, log: log, sockets: map[string]*socket{}}
}

// socket is a bound address and what answers there now.
type socket struct {
	ln      *netloop.Listener // nil: the listener is internal, and nobody connects
	filter  atomic.Pointer[running]
	spec    *resource.Listener // guarded by Set.mu
	secrets SecretSource       // guarded by Set.mu
}

// close stops accepting.
func (k *socket) close() {
	if k.ln != nil {
		k.ln.Close()
	}
}

// running is a filter with what it was built from. It is read-only.
type running struct {
	filters.Network
	clusters []filters.Cluster // in the order of the filter's ClusterNames
}

// BindError says that an address could not be bound.
type BindError struct {
	Listener string
	Address  string
	Err      error
}

// Error implements error.
func (e *BindError) Error() string {
	text := fmt.Sprintf("listener %q: binding %s: %v", e.Listener, e.Address, e.Err)
	socket := strings.HasPrefix(e.Address, "/")
	switch {
	case e.Taken():
		text += " (another process has it)"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		text += " (this host does not have the address)"
	case errors.Is(e.Err, syscall.EACCES) && !socket:
		text += " (a port below 1024 needs the capability NET_BIND_SERVICE: take a higher one)"
	case errors.Is(e.Err, syscall.ENOENT) && socket:
		text += " (the socket's folder is not there)"
	}
	return text
}

// Unwrap returns the system's error.
func (e *BindError) Unwrap() error { return e.Err }

// Taken says that somebody else has the address, which may pass.
func (e *BindError) Taken() bool { return errors.Is(e.Err, syscall.EADDRINUSE) }

// ExitCode says whether another attempt may succeed: one that belongs to
// somebody else may become free, one that cannot be had will not.
func (e *BindError) ExitCode() int {
	if e.Taken() {
		return exit.CodeTemporary
	}
	return exit.CodeUsage
}

// key identifies what can be bound once. A port that the system chooses is
// another one for every listener.
func key(l *resource.Listener) string {
	k := l.Address.Network + " " + l.Address.Addr
	if l.Address.Network == resource.NetworkTCP && strings.HasSuffix(l.Address.Addr, ":0") {
		k += " " + l.Name
	}
	return k
}

// Status is a listener as seen from outside.
type Status struct {
	Name        string `json:"name"`
	Address     string `json:"address"` // as bound
	Network     string `json:"network"`
	Filter      string `json:"filter"` // type URL
	TLS         bool   `json:"tls"`
	Connections int    `json:"connections"`
	Environment string `json:"environment,omitempty"`
	Source      string `json:"environmentSource,omitempty"`
}

// Status lists the listeners by name.
func (s *Set) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Status, 0, len(s.sockets))
	for _, k := range s.sockets {
		status := Status{
			Name: k.spec.Name, Address: k.spec.Address.Addr, Network: k.spec.Address.Network,
			Filter: k.spec.Filter.TypeURL, TLS: k.spec.TLS != nil,
			Environment: k.spec.Environment, Source: k.spec.EnvironmentSource,
		}
		if k.ln != nil {
			status.Address, status.Connections = k.ln.Addr(), k.ln.Connections()
		}
		list = append(list, status)
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// EndpointsMoved tells the filters that some clusters have other endpoints.
func (s *Set) EndpointsMoved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sockets {
		if f, ok := k.filter.Load().Network.(filters.Mover); ok {
			f.EndpointsMoved(k.spec.Drain.Deadline)
		}
	}
}

// StopAccepting closes all sockets; connections live on.
func (s *Set) StopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for _, k := range s.sockets {
		k.close()
	}
}

// Draining says that StopAccepting was called.
func (s *Set) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// barrier returns when every loop has come round: what a loop began before, it
// has finished.
func (s *Set) barrier(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range s.group.Loops() {
		wg.Add(1)
		if !l.Post(wg.Done) {
			wg.Done() // stopped: nothing runs there
		}
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.log.Error("an event loop does not come round", "error", ctx.Err())
	}
}
