package translate

import (
	"cmp"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/listener/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	defaultListenAddress = "127.0.0.1"
	defaultDrainDeadline = 30 * time.Second
)

// listener makes the one of an object, which leads to the cluster main.
func (t *translator) listener(env *mesh.Environment, main string, v Variant) {
	a, s := t.a, &t.a.Spec
	options := &optionsv1.ListenerOptions{
		DrainDeadline:     duration(s.DrainDeadline, defaultDrainDeadline),
		Environment:       v.Environment,
		EnvironmentSource: v.Source,
	}
	if s.OnEnvironmentChange == mesh.ChangeCut {
		options.DrainMode = optionsv1.ListenerOptions_CUT
	}
	chain := &listenerv3.FilterChain{TransportSocket: t.downstreamTLS(a.Key(), s.Listen.TLS)}
	statPrefix := t.statPrefix()
	if limit := orEmpty(s.Limits).MaxConnections; limit != nil && !s.Protocol.IsDatabase() {
		chain.Filters = append(chain.Filters, filter("envoy.filters.network.connection_limit", &limitv3.ConnectionLimit{
			StatPrefix:     statPrefix,
			MaxConnections: wrapperspb.UInt64(uint64(*limit)),
		}))
	}
	switch {
	case s.Protocol == mesh.ProtocolRedis:
		chain.Filters = append(chain.Filters, filter("envoy.filters.network.redis_proxy", redisProxy(s, env, main, statPrefix)))
		chain.Metadata = &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
			resource.RedisMetadata: pack(t.redisOptions(env)),
		}}
	case s.Protocol.IsDatabase():
		chain.Filters = append(chain.Filters, t.databaseFilter(env, t.databaseProxy(env, main)))
	case s.Protocol == mesh.ProtocolHTTP:
		chain.Filters = append(chain.Filters, filter("envoy.filters.network.http_connection_manager", t.httpManager(env, main, statPrefix)))
	default:
		chain.Filters = append(chain.Filters, filter("envoy.filters.network.tcp_proxy", tcpProxy(s, main, statPrefix)))
	}
	l := &listenerv3.Listener{
		Name:         a.Key(),
		Address:      listenAddress(&s.Listen),
		StatPrefix:   statPrefix,
		FilterChains: []*listenerv3.FilterChain{chain},
		Metadata: &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
			resource.ListenerMetadata: pack(options),
		}},
		TcpBacklogSize:   optional(s.Listen.Backlog),
		TcpKeepalive:     keepalive(s.Listen.TCPKeepalive, defaultClientIdle),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
	}
	t.set.Listeners = append(t.set.Listeners, l)
	if s.ReadOnly != nil {
		t.readOnlyListener(env, main, l)
	}
}

func (t *translator) statPrefix() string { return t.a.Metadata.Namespace + "." + t.a.Metadata.Name }

func filter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(config)}}
}

func listenAddress(l *mesh.Listen) *corev3.Address {
	if l.Path != "" {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: l.Path, Mode: uint32(l.Mode)}}}
	}
	return socketAddress(cmp.Or(l.Address, defaultListenAddress), l.Port)
}

func tcpProxy(s *mesh.AmbassadorSpec, cluster, statPrefix string) *tcpv3.TcpProxy {
	p := &tcpv3.TcpProxy{
		StatPrefix:         statPrefix,
		ClusterSpecifier:   &tcpv3.TcpProxy_Cluster{Cluster: cluster},
		IdleTimeout:        duration(orEmpty(s.Limits).IdleTimeout, 0), // absent would mean Envoy's hour
		MaxConnectAttempts: optional(orEmpty(s.TCP).MaxConnectAttempts),
	}
	if d := orEmpty(s.TCP).MaxConnectionDuration; d != nil && *d > 0 {
		p.MaxDownstreamConnectionDuration = duration(d, 0)
	}
	return p
}
