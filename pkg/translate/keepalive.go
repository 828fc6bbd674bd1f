package translate

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// After how long without a byte clients and servers are probed.
const (
	defaultClientIdle = 5 * time.Minute // as by Redis
	defaultServerIdle = 30 * time.Second
)

// keepalive gives nil for what is not configured: a proxy has the same defaults.
func keepalive(k *mesh.TCPKeepalive, idle time.Duration) *corev3.TcpKeepalive {
	if k == nil {
		return nil
	}
	if k.Idle != nil {
		idle = time.Duration(*k.Idle)
	}
	interval := (idle/3 + time.Second - 1).Truncate(time.Second)
	if k.Interval != nil {
		interval = time.Duration(*k.Interval)
	}
	return &corev3.TcpKeepalive{
		KeepaliveTime:     wrapperspb.UInt32(uint32(idle / time.Second)),
		KeepaliveInterval: wrapperspb.UInt32(uint32(interval / time.Second)),
		KeepaliveProbes:   number(k.Probes, 3),
	}
}

func serverKeepalive(k *mesh.TCPKeepalive) *clusterv3.UpstreamConnectionOptions {
	if k == nil {
		return nil
	}
	return &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive(k, defaultServerIdle)}
}
