package listener

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// barrierTime bounds the wait for a loop that hangs.
const barrierTime = 10 * time.Second

// clientKeepAlive is after how long without a byte a client is probed, as by
// Redis: one that is gone without a word is found after 10 minutes in all.
const clientKeepAlive = 5 * time.Minute

// Deps is what the filters of one snapshot may use.
type Deps struct {
	Zone     string
	Clusters filters.ClusterSource
	// Secrets must give the values of now, whenever it is asked: a filter is not
	// built again because one of its secrets has another value.
	Secrets SecretSource
	Metrics prometheus.Gatherer
	// Routes are those by RDS. Other ones are no reason to build a filter again:
	// Commit shows them to the filters that run.
	Routes map[string]*resource.RouteConfig
	Tracer trace.Tracer // of filters' spans; nil: nobody collects them
}

// Error says which listener is wrong.
type Error struct {
	Listener string
	Err      error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("listener %q: %v", e.Listener, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Change is a new set of listeners on its way.
type Change struct {
	set   *Set
	deps  Deps
	parts []*part
	bound bool
}

// part is one listener of the change.
type part struct {
	spec  *resource.Listener
	old   *socket // that has the address, or nil
	next  *running
	fresh bool // next was built for this change
	// bound says that the socket was made for this change; ln is it, nil for an
	// internal listener.
	bound bool
	ln    *netloop.Listener
}

// Build makes the filters of all listeners, keeping those that would be built
// from the same things again. The error is an Error for every listener that
// fails; then nothing is left behind.
func (s *Set) Build(specs []*resource.Listener, deps Deps) (*Change, error) {
	c := &Change{set: s, deps: deps}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, ErrDraining
	}
	var errs []error
	seen := map[string]string{}
	for _, spec := range specs {
		if other, dup := seen[key(spec)]; dup {
			errs = append(errs, &Error{spec.Name, fmt.Errorf("address %s is the one of listener %q", spec.Address.Addr, other)})
			continue
		}
		seen[key(spec)] = spec.Name
		p := &part{spec: spec, old: s.sockets[key(spec)]}
		if err := c.build(p); err != nil {
			errs = append(errs, err)
			continue
		}
		c.parts = append(c.parts, p)
	}
	if len(errs) > 0 {
		c.discard()
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// ErrDraining refuses changes during shutdown.
var ErrDraining = errors.New("listeners are draining")

func (c *Change) build(p *part) error {
	next := &running{}
	for _, name := range p.spec.Filter.Config.ClusterNames() {
		cluster, ok := c.deps.Clusters.Cluster(name)
		if !ok {
			return &Error{p.spec.Name, fmt.Errorf("no cluster %q", name)}
		}
		next.clusters = append(next.clusters, cluster)
	}
	if p.old != nil && same(p.old, p.spec, next) {
		p.next = p.old.filter.Load()
		return nil
	}
	f, err := c.set.builder.Build(p.spec.Filter.Config, filters.Context{
		Listener:      p.spec.Name,
		Environment:   p.spec.Environment,
		DrainDeadline: p.spec.Drain.Deadline,
		Zone:          c.deps.Zone,
		Clusters:      c.deps.Clusters,
		Secrets:       c.deps.Secrets,
		Routes:        &routeView{c.set, c.routes()},
		Metrics:       c.deps.Metrics,
		Loops:         c.set.group.Loops,
		Tracer:        c.deps.Tracer,
		Log:           c.set.log.With("listener", p.spec.Name),
	})
	if err != nil {
		return &Error{p.spec.Name, err}
	}
	next.Network = f
	p.next, p.fresh = next, true
	return nil
}

func (c *Change) routes() *routeTable { return &routeTable{c.deps.Routes, c.deps.Clusters} }

// same says that the filter on a socket would be built from the same things.
func same(k *socket, spec *resource.Listener, next *running) bool {
	f := k.filter.Load()
	return k.spec.Name == spec.Name && k.spec.Environment == spec.Environment &&
		slices.Equal(f.clusters, next.clusters) &&
		reflect.DeepEqual(k.spec.Filter.Config, spec.Filter.Config)
}

// Bind binds the addresses that are new. Connections to them are served from
// then on. On an error everything is as it was before the change.
func (c *Change) Bind() error {
	s := c.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		c.discard()
		return ErrDraining
	}
	c.bound = true
	var errs []error
	var released []*socket
	for _, p := range c.parts {
		if p.old != nil {
			continue
		}
		err := c.bind(p)
		if k := c.inTheWay(p, err); k != nil {
			k.ln.Close()
			released = append(released, k)
			err = c.bind(p)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	c.discard()
	for _, k := range released {
		if err := s.rebind(k); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *Change) bind(p *part) error {
	k := &socket{spec: p.spec, secrets: c.deps.Secrets}
	k.filter.Store(p.next)
	if p.spec.Address.Network == resource.NetworkInternal {
		p.old, p.bound = k, true
		return nil
	}
	ln, err := c.set.listen(k, p.spec, c.deps.Secrets)
	if err != nil {
		return err
	}
	p.ln, p.old, p.bound = ln, k, true
	k.ln = ln
	return nil
}

func (s *Set) listen(k *socket, spec *resource.Listener, secrets SecretSource) (*netloop.Listener, error) {
	o := netloop.ListenOptions{
		Backlog:        int(spec.Backlog),
		TLS:            serverTLS(spec.TLS, secrets),
		StartTLS:       spec.LateTLS(),
		UnixMode:       os.FileMode(spec.Address.Mode),
		MaxConnections: int(spec.MaxConnections),
		KeepAlive:      keepAlive(spec),
		OnExhausted: func() {
			s.log.Error("no descriptors left: new connections are closed", "listener", spec.Name, "hint", "raise the limit of open files (ulimit -n, LimitNOFILE)")
		},
	}
	if r, ok := k.filter.Load().Network.(refuser); ok {
		o.OnRefuse = r.Refusal()
	}
	ln, err := netloop.Listen(s.group, spec.Address.Network, spec.Address.Addr, o,
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return k.filter.Load().Accept(c) })
	if err != nil {
		return nil, &BindError{Listener: spec.Name, Address: spec.Address.Addr, Err: err}
	}
	return ln, nil
}

// keepAlive are the probes of a listener's clients.
func keepAlive(spec *resource.Listener) netloop.KeepAlive {
	k := spec.TCPKeepalive
	if k == nil {
		return netloop.KeepAlive{Idle: clientKeepAlive}
	}
	return netloop.KernelKeepAlive(k.Time, k.Interval, k.Probes)
}

// refuser is a filter with a last word for connections above the limit.
type refuser interface{ Refusal() []byte }

// inTheWay finds a socket that this change gives up and whose port p wants, as
// when a listener moves from one address to all.
func (c *Change) inTheWay(p *part, err error) *socket {
	var taken *BindError
	if !errors.As(err, &taken) || !taken.Taken() || p.spec.Address.Network != resource.NetworkTCP {
		return nil
	}
	for _, k := range c.set.sockets {
		kept := slices.ContainsFunc(c.parts, func(other *part) bool { return other.old == k })
		if !kept && port(k.spec.Address) == port(p.spec.Address) {
			return k
		}
	}
	return nil
}

func (s *Set) rebind(k *socket) error {
	ln, err := s.listen(k, k.spec, k.secrets)
	if err != nil {
		return err
	}
	k.ln = ln
	return nil
}

// discard gives up everything made for the change.
func (c *Change) discard() {
	for _, p := range c.parts {
		if p.bound {
			p.old.close()
			p.ln, p.old, p.bound = nil, nil, false
		}
		if p.fresh {
			p.next.Retire(filters.Retirement{Cut: true, Done: func() {}})
			p.fresh = false
		}
	}
}

// Abort undoes a change that will not be committed.
func (c *Change) Abort() {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.discard()
}

// Commit makes the change live. Retiring what it replaced goes on in the
// background; retired is called when the last old connection has left.
func (c *Change) Commit(retired func()) {
	s := c.set
	s.mu.Lock()
	sockets := make(map[string]*socket, len(c.parts))
	var old []retirement
	for _, p := range c.parts {
		sockets[key(p.spec)] = p.old
		if !p.bound {
			old = c.swap(p, old)
		} else if f, ok := p.next.Network.(filters.Starter); ok {
			f.Start()
		}
	}
	for k, gone := range s.sockets {
		if _, kept := sockets[k]; !kept {
			gone.close()
			old = append(old, retirement{gone.filter.Load(), nil, gone.spec.Drain})
		}
	}
	s.sockets = sockets
	s.routes.Store(c.routes())
	s.mu.Unlock()
	go s.retire(old, retired)
}

// swap puts the new filter and options under a socket that stays.
func (c *Change) swap(p *part, old []retirement) []retirement {
	k := p.old
	if p.fresh {
		drain := p.spec.Drain
		if p.spec.Environment == k.spec.Environment {
			drain.Mode = resource.DrainGracefully // only another environment is a reason to cut
		}
		old = append(old, retirement{k.filter.Swap(p.next), p.next, drain})
	}
	if m := p.spec.Address.Mode; m != k.spec.Address.Mode && m != 0 {
		if err := os.Chmod(p.spec.Address.Addr, os.FileMode(m)); err != nil {
			c.set.log.Warn("the socket keeps its old permissions", "listener", p.spec.Name, "error", err)
		}
	}
	if k.ln == nil {
		k.spec, k.secrets = p.spec, c.deps.Secrets
		return old
	}
	k.ln.SetMaxConnections(int(p.spec.MaxConnections))
	if p.spec.Address.Network == resource.NetworkTCP {
		k.ln.SetKeepAlive(keepAlive(p.spec))
	}
	if k.secrets != c.deps.Secrets || k.spec.LateTLS() != p.spec.LateTLS() || !reflect.DeepEqual(k.spec.TLS, p.spec.TLS) {
		set := k.ln.SetTLS
		if p.spec.LateTLS() {
			set = k.ln.SetStartTLS
		}
		set(serverTLS(p.spec.TLS, c.deps.Secrets)) // sessions of the one before cannot be resumed
	}
	k.spec, k.secrets = p.spec, c.deps.Secrets
	return old
}

type retirement struct {
	filter *running
	next   *running
	drain  resource.DrainPolicy
}

// retire tells the old filters, once no loop can be giving them a connection.
func (s *Set) retire(old []retirement, retired func()) {
	if len(old) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), barrierTime)
		defer cancel()
		s.barrier(ctx)
	}
	left := make(chan struct{}, len(old))
	for _, r := range old {
		var next filters.Network
		if r.next != nil {
			next = r.next.Network
		}
		r.filter.Retire(filters.Retirement{
			Next:     next,
			Cut:      r.drain.Mode == resource.DrainCut,
			Deadline: r.drain.Deadline,
			Done:     func() { left <- struct{}{} },
		})
	}
	for range old {
		<-left
	}
	if retired != nil {
		retired()
	}
}
