package resource

import (
	"cmp"
	"math"
	"net/netip"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"

	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/listener/v1"
)

// connectionLimitType is the only filter that may stand before the terminal one.
const connectionLimitType = "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"

// DefaultDrainDeadline is how long connections of a replaced listener have
// where the resource does not say.
const DefaultDrainDeadline = 30 * time.Second

// ParseListener validates a listener. The error is an Errors.
func ParseListener(p *listenerv3.Listener) (*Listener, error) {
	r := &reader{typeURL: ListenerType, name: p.GetName()}
	l := &Listener{Name: p.GetName(), Raw: p}
	if l.Name == "" {
		r.fail("name", "is missing")
	}
	r.only(p, "", "name", "address", "stat_prefix", "filter_chains", "default_filter_chain", "metadata",
		"drain_type", "traffic_direction", "reuse_port", "enable_reuse_port", "tcp_backlog_size",
		"bind_to_port", "tcp_keepalive", "per_connection_buffer_limit_bytes", "ignore_global_conn_limit", "bypass_overload_manager",
		"internal_listener")
	if b := p.GetBindToPort(); b != nil && !b.GetValue() {
		r.fail("bind_to_port", "must be true: every listener binds")
	}
	l.Backlog = p.GetTcpBacklogSize().GetValue()
	if l.Backlog > math.MaxInt32 {
		r.fail("tcp_backlog_size", "must be at most %d", math.MaxInt32)
	}
	l.TCPKeepalive = keepalive(p.GetTcpKeepalive())
	if p.GetInternalListener() != nil {
		l.Address = internalAddress(l.Name)
		if p.GetAddress() != nil {
			r.fail("address", "does not go with internal_listener")
		}
	} else {
		l.Address = r.listenAddress(p.GetAddress(), "address")
	}
	r.listenerOptions(p.GetMetadata(), l)
	if chain, path := r.chain(p); chain != nil {
		r.filterChain(chain, path, l)
		r.internal(l, path)
	}
	l.Secrets = r.secrets
	return l, r.err()
}

// internal refuses filters that would wait for connections where none comes, and
// those that would get some and know none.
func (r *reader) internal(l *Listener, path string) {
	_, logs := l.Filter.Config.(*LogsFilter)
	switch {
	case logs != (l.Address.Network == NetworkInternal):
		r.fail(join(path, "filters"), "the filter of logs, and no other, is that of an internal_listener")
	case logs && l.TLS != nil:
		r.fail(join(path, "transport_socket"), "does not go with internal_listener")
	}
}

// chain finds the one filter chain.
func (r *reader) chain(p *listenerv3.Listener) (*listenerv3.FilterChain, string) {
	chains := p.GetFilterChains()
	switch {
	case len(chains) == 0 && p.GetDefaultFilterChain() != nil:
		return p.GetDefaultFilterChain(), "default_filter_chain"
	case len(chains) != 1 || p.GetDefaultFilterChain() != nil:
		r.fail("filter_chains", "must be exactly one")
		return nil, ""
	}
	return chains[0], "filter_chains[0]"
}

func (r *reader) listenAddress(a *corev3.Address, path string) ListenAddress {
	if p := a.GetPipe(); p != nil {
		if len(p.GetPath()) < 2 || len(p.GetPath()) > 107 || p.GetPath()[0] != '/' && p.GetPath()[0] != '@' {
			r.fail(join(path, "pipe.path"), "must be absolute (or begin with @) and at most 107 bytes")
		}
		if p.GetMode() > 0o777 {
			r.fail(join(path, "pipe.mode"), "has other bits than those of permissions")
		}
		return ListenAddress{Network: NetworkUnix, Addr: p.GetPath(), Mode: p.GetMode()}
	}
	s := a.GetSocketAddress()
	if s == nil {
		r.fail(path, "must be a socket_address or a pipe")
		return ListenAddress{}
	}
	path = join(path, "socket_address")
	r.only(s, path, "protocol", "address", "port_value", "ipv4_compat")
	if s.GetProtocol() != corev3.SocketAddress_TCP {
		r.fail(join(path, "protocol"), "must be TCP")
	}
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil {
		r.fail(join(path, "address"), "%q is not an IP address", s.GetAddress())
	}
	if s.GetPortValue() > math.MaxUint16 {
		r.fail(join(path, "port_value"), "must be at most 65535")
	}
	return ListenAddress{Network: NetworkTCP, Addr: netip.AddrPortFrom(ip, uint16(s.GetPortValue()&math.MaxUint16)).String()}
}

func (r *reader) listenerOptions(m *corev3.Metadata, l *Listener) {
	l.Drain.Deadline = DefaultDrainDeadline
	packed, ok := m.GetTypedFilterMetadata()[ListenerMetadata]
	if !ok {
		return
	}
	path := "metadata.typed_filter_metadata[" + strconv.Quote(ListenerMetadata) + "]"
	var o optionsv1.ListenerOptions
	if !r.unpack(packed, &o, path) {
		return
	}
	switch o.GetDrainMode() {
	case optionsv1.ListenerOptions_DRAIN:
	case optionsv1.ListenerOptions_CUT:
		l.Drain.Mode = DrainCut
	default:
		r.fail(join(path, "drain_mode"), "has the unknown value %d", o.GetDrainMode())
	}
	l.Drain.Deadline = r.positive(o.GetDrainDeadline(), join(path, "drain_deadline"), DefaultDrainDeadline)
	l.Environment, l.EnvironmentSource = o.GetEnvironment(), o.GetEnvironmentSource()
}

func (r *reader) filterChain(c *listenerv3.FilterChain, path string, l *Listener) {
	r.only(c, path, "filters", "metadata", "transport_socket", "transport_socket_connect_timeout", "name", "filter_chain_match")
	if m := c.GetFilterChainMatch(); m != nil {
		r.only(m, join(path, "filter_chain_match"))
	}
	l.TLSHandshakeTimeout = r.positive(c.GetTransportSocketConnectTimeout(),
		join(path, "transport_socket_connect_timeout"), defaultHandshakeTimeout)
	if s := c.GetTransportSocket(); s != nil {
		l.TLS = r.downstreamTLS(s, join(path, "transport_socket"))
	}
	filters := c.GetFilters()
	if len(filters) == 0 {
		r.fail(join(path, "filters"), "is empty")
		return
	}
	last := len(filters) - 1
	for i, f := range filters[:last] {
		r.connectionLimit(f, index(join(path, "filters"), i), l)
	}
	r.terminal(filters[last], index(join(path, "filters"), last), c, path, l)
	if l.TLS != nil && l.TLS.StartTLS != startsTLS(l.Filter.TypeURL) {
		r.fail(join(path, "transport_socket"), "is not of the kind that the filter needs: those of databases begin TLS "+
			"in mid-connection (envoy.transport_sockets.starttls), others at once (envoy.transport_sockets.tls)")
	}
}

// connectionLimit reads a filter before the terminal one.
func (r *reader) connectionLimit(f *listenerv3.Filter, path string, l *Listener) {
	packed := f.GetTypedConfig()
	if packed.GetTypeUrl() != connectionLimitType {
		r.fail(join(path, "typed_config"), "%q is not a filter that may stand before the last one",
			cmp.Or(packed.GetTypeUrl(), f.GetName()))
		return
	}
	path = join(path, "typed_config")
	var c limitv3.ConnectionLimit
	if !r.unpack(packed, &c, path) {
		return
	}
	r.only(&c, path, "stat_prefix", "max_connections")
	n := c.GetMaxConnections().GetValue()
	if n == 0 || n > math.MaxUint32 {
		r.fail(join(path, "max_connections"), "must be from 1 to %d", uint32(math.MaxUint32))
		return
	}
	if l.MaxConnections == 0 || uint32(n) < l.MaxConnections {
		l.MaxConnections = uint32(n)
	}
}

// startsTLS reports whether a filter agrees on TLS with the client itself.
func startsTLS(typeURL string) bool { return typeURL == PostgresType || typeURL == MySQLType }

// terminal reads the filter that deals with the bytes.
func (r *reader) terminal(f *listenerv3.Filter, path string, c *listenerv3.FilterChain, chainPath string, l *Listener) {
	packed := f.GetTypedConfig()
	l.Filter = Filter{Name: f.GetName(), TypeURL: packed.GetTypeUrl()}
	path = join(path, "typed_config")
	switch l.Filter.TypeURL {
	case RedisProxyType:
		config := r.redisProxy(packed, path)
		r.redisOptions(c.GetMetadata(), join(chainPath, "metadata"), config)
		l.Filter.Config = config
	case TCPProxyType:
		l.Filter.Config = r.tcpProxy(packed, path)
	case PostgresType:
		l.Filter.Config = r.postgresProxy(packed, path)
	case MySQLType:
		l.Filter.Config = r.mysqlProxy(packed, path)
	case HTTPType:
		m := r.httpManager(packed, path)
		if l.Filter.Config = m; l.TLS != nil && len(l.TLS.ALPN) == 0 {
			l.TLS.ALPN = m.Codec.ALPN()
		}
	case LogsType:
		l.Filter.Config = r.logsFilter(packed, path)
	default:
		r.fail(path, "%q is not a network filter of this proxy", cmp.Or(l.Filter.TypeURL, f.GetName()))
	}
}
