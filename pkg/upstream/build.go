package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/outlier"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/tlsclient"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrNoSeeds is a cluster whose endpoints nothing can be learnt from.
var ErrNoSeeds = errors.New("no endpoint to ask for the topology")

// environment is what the clusters of a Set share.
type environment struct {
	ctx      context.Context // of the Set
	spawn    func(func())    // starts a goroutine that Close waits for
	resolver Resolver
	timing   *timing
	log      *slog.Logger
}

// newCluster builds a cluster that does not run yet. An error refuses the
// specification.
func newCluster(spec *resource.Cluster, env *environment, view *secretView, st *stats) (*cluster, error) {
	b, err := newBalance(spec.LB)
	if err != nil {
		return nil, fmt.Errorf("load balancing: %w", err)
	}
	c := &cluster{
		spec:      spec,
		env:       env,
		balance:   b,
		secrets:   view,
		stats:     st,
		log:       env.log.With("cluster", spec.Name),
		rebuild:   make(chan struct{}, 1),
		look:      make(chan struct{}, 1),
		search:    make(chan struct{}, 1),
		settled:   make(chan struct{}),
		members:   make(map[memberKey]*member),
		spare:     make(map[memberKey]spare),
		primaries: make(map[string]*member),
		rivals:    make(map[string]bool),
	}
	if spec.TLS != nil {
		c.tlsPrint = fmt.Sprintf("%+v", *spec.TLS)
	}
	c.options = c.newOptions()
	c.settings = c.newSettings()
	if c.discovery, err = newDiscovery(c); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	c.index.Store(&map[*filters.Endpoint]*member{})
	c.table.Store(&filters.Table{Options: c.options})
	return c, nil
}

func newDiscovery(c *cluster) (discovery, error) {
	switch c.spec.Discovery.Type {
	case resource.DiscoverStatic, resource.DiscoverEDS:
		return newStatic(c), nil
	case resource.DiscoverDNS:
		return newDNS(c), nil
	}
	if len(c.spec.Endpoints) == 0 {
		return nil, ErrNoSeeds
	}
	switch c.spec.Discovery.Type {
	case resource.DiscoverRedisCluster:
		return &redisCluster{c: c}, nil
	case resource.DiscoverSentinel:
		return newSentinel(c), nil
	default:
		return nil, fmt.Errorf("unknown type %v", c.spec.Discovery.Type)
	}
}

func (c *cluster) newOptions() *filters.UpstreamOptions {
	spec := c.spec
	pending := spec.Limits.MaxRequests
	if pending == 0 {
		pending = spec.Limits.MaxPending
	}
	return &filters.UpstreamOptions{
		ConnectTimeout:         spec.ConnectTimeout,
		ConnectionsPerEndpoint: int(max(spec.Redis.ConnectionsPerEndpoint, 1)),
		MaxPendingRequests:     int(pending),
		MaxConnections:         int(spec.Limits.MaxConnections),
		StartTLS:               spec.TLS != nil && spec.TLS.StartTLS,
		KeepAlive:              keepAlive(spec.TCPKeepalive),
		Redis: filters.RedisUpstream{
			Database:    int(spec.Redis.Database),
			Credentials: c.credentials(spec.Redis.UsernameSecret, spec.Redis.PasswordSecret),
			Preconnect:  spec.Redis.PreConnect,
		},
		HTTP: filters.HTTPUpstream{
			Protocol:    filters.HTTPProtocol(spec.HTTP.Protocol),
			IdleTimeout: spec.HTTP.Idle, MaxConnectionAge: spec.HTTP.MaxConnection,
			RequestsPerConn: int(spec.HTTP.MaxRequests), StreamsPerConn: int(spec.HTTP.MaxStreams),
			HeaderBytes: spec.HTTP.HeaderBytes, PingInterval: spec.HTTP.PingInterval, PingTimeout: spec.HTTP.PingTimeout,
			TableSize: int(spec.HTTP.TableSize), StreamWindow: int(spec.HTTP.StreamWindow), ConnectionWindow: int(spec.HTTP.ConnectionWindow),
			MaxPending: int(spec.Limits.MaxPending), MaxRequests: int(spec.Limits.MaxRequests),
			MaxConnections: int(spec.Limits.MaxConnections), MaxRetries: int(spec.Limits.MaxRetries),
			RetryBudget: spec.Limits.RetryBudget, RetryMinimum: int(spec.Limits.RetryMinimum),
			StatusCounts: spec.Outlier != nil,
		},
	}
}

// keepAlive are the probes that find endpoints which are gone without a word: a
// subscriber, for one, sends nothing that would be missed. What a specification
// leaves out is the kernel's default, as in Envoy.
func keepAlive(k *resource.TCPKeepalive) netloop.KeepAlive {
	if k == nil {
		return netloop.KeepAlive{Idle: 30 * time.Second}
	}
	return netloop.KernelKeepAlive(k.Time, k.Interval, k.Probes)
}

// credentials reads user and password at each call; nil if none are named. A
// secret without a user has a password alone.
func (c *cluster) credentials(user, password resource.SecretKey) func() (string, string, error) {
	if !password.Set() {
		return nil
	}
	view := c.secrets
	return func() (u, p string, err error) {
		if user.Set() {
			if u, err = view.value(user); err != nil && !errors.Is(err, secrets.ErrUnknown) {
				return "", "", err
			}
		}
		p, err = view.value(password)
		return u, p, err
	}
}

func (c *cluster) newSettings() *settings {
	spec, t := c.spec, c.env.timing
	s := &settings{
		check:     spec.HealthCheck,
		policy:    policyOf(spec, t),
		redis:     isRedis(spec),
		sql:       c.databaseTarget(),
		probeRole: c.probesRoles(),
		limit:     min(spec.ConnectTimeout, t.probeLimit),
		timing:    t,
		stats:     c.stats,
		log:       c.log,
	}
	if s.check != nil {
		s.limit = s.check.Timeout
	}
	return s
}

// probesRoles says whether the endpoints' own word decides. Redis Cluster and
// Sentinels know the roles themselves.
func (c *cluster) probesRoles() bool {
	switch c.spec.Discovery.Type {
	case resource.DiscoverRedisCluster, resource.DiscoverSentinel:
		return false
	default:
		h := c.spec.HealthCheck
		return c.spec.Redis.ProbeRole || h != nil && h.Kind.SQL() && h.Database.ProbeRole
	}
}

// isRedis says whether endpoints are asked in the Redis protocol. What an active
// check does is the configuration's to say; else a cluster that gives no sign of
// being Redis is only connected to.
func isRedis(spec *resource.Cluster) bool {
	switch {
	case spec.Redis.ProbeRole:
		return true
	case spec.HealthCheck != nil:
		return spec.HealthCheck.Kind == resource.HealthCheckRedis
	case spec.Discovery.Type == resource.DiscoverRedisCluster, spec.Discovery.Type == resource.DiscoverSentinel:
		return true
	default:
		return spec.Redis.PasswordSecret.Set() || spec.LB.Hash != ""
	}
}

// policyOf says when members are ejected. auto_eject_hosts is twemproxy's: any
// failures in a row, out for a fixed time.
func policyOf(spec *resource.Cluster, t *timing) outlier.Policy {
	const window = 30 * time.Second
	if auto := spec.LB.AutoEject; auto != nil {
		return outlier.Policy{
			ConnectFailures: auto.Failures, Failures: auto.Failures,
			Base: auto.RetryAfter, Max: auto.RetryAfter, HoldConnect: true, Window: window,
		}
	}
	if o := spec.Outlier; o != nil {
		return outlier.Policy{
			ConnectFailures: o.ConsecutiveFailures, Failures: o.ConsecutiveFailures,
			Base: o.BaseEjection, Max: o.MaxEjection, Window: window,
			Forget: max(o.MaxEjection, 10*o.BaseEjection),
		}
	}
	const failures = 5 // in a row, without a single answer between them
	return outlier.Policy{
		ConnectFailures: 1, Failures: failures,
		Base: t.minimalHold, Max: 40 * t.minimalHold, Window: window, Forget: time.Minute,
	}
}

// settingsFor are the settings of one member.
func (c *cluster) settingsFor(key memberKey, cfg *tls.Config) *settings {
	s := *c.settings
	if s.sql != nil {
		to := *s.sql
		to.Network, to.Address, to.TLS = key.network, key.address, cfg
		s.sql = &to
	}
	if c.options.StartTLS {
		cfg = nil // a probe only connects: it does not know how to ask for TLS
	}
	s.target = probe.Target{
		Network: key.network, Address: key.address, TLS: cfg, Credentials: c.options.Redis.Credentials,
	}
	return &s
}

// tlsConfig is for handshakes with an address; nil without TLS.
func (c *cluster) tlsConfig(key memberKey) *tls.Config {
	if c.spec.TLS == nil {
		return nil
	}
	ip, _, err := net.SplitHostPort(key.address)
	if err != nil {
		ip = "" // a unix socket
	}
	return tlsclient.Config(c.spec.TLS, tlsclient.Peer{Hostname: key.tlsHost, IP: ip}, c.secrets)
}
