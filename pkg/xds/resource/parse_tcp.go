package resource

import (
	"time"

	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// defaultTCPIdle is Envoy's, where the resource does not say.
const defaultTCPIdle = time.Hour

func (r *reader) tcpProxy(packed *anypb.Any, path string) *TCPFilter {
	f := &TCPFilter{}
	var p tcpv3.TcpProxy
	if !r.unpack(packed, &p, path) {
		return f
	}
	r.only(&p, path, "stat_prefix", "cluster", "idle_timeout", "max_connect_attempts", "max_downstream_connection_duration")
	f.StatPrefix = p.GetStatPrefix()
	f.Cluster = p.GetCluster()
	if f.Cluster == "" {
		r.fail(join(path, "cluster"), "is missing")
	}
	f.IdleTimeout = r.duration(p.GetIdleTimeout(), join(path, "idle_timeout"), defaultTCPIdle)
	f.MaxDuration = r.duration(p.GetMaxDownstreamConnectionDuration(), join(path, "max_downstream_connection_duration"), 0)
	f.MaxConnectAttempts = r.atLeast(p.GetMaxConnectAttempts(), join(path, "max_connect_attempts"), 1, 1)
	return f
}
