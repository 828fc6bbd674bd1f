package translate

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	lbv1 "github.com/dragoman-mesh/dragoman/api/dragoman/load_balancing/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// distribution sets how keys are spread. A Redis Cluster spreads them itself.
func distribution(r *mesh.RedisSpec, u *mesh.Upstream, c *clusterv3.Cluster) {
	if u.Cluster != nil {
		return
	}
	switch r.Distribution {
	case mesh.DistributionRingHash:
		c.LbPolicy = clusterv3.Cluster_RING_HASH
		if s := r.RingSize; s != nil {
			c.LbConfig = &clusterv3.Cluster_RingHashLbConfig_{RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{
				MinimumRingSize: optional64(s.Min),
				MaximumRingSize: optional64(s.Max),
			}}
		}
	case mesh.DistributionMaglev:
		c.LbPolicy = clusterv3.Cluster_MAGLEV
		if r.TableSize != nil {
			c.LbConfig = &clusterv3.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterv3.Cluster_MaglevLbConfig{
				TableSize: optional64(r.TableSize),
			}}
		}
	case mesh.DistributionModula:
		ownPolicy(c, "modula", &lbv1.Modula{Hash: hash(r.Hash), AutoEject: autoEject(r.AutoEject)})
	case mesh.DistributionRandom:
		ownPolicy(c, "random", &lbv1.Random{AutoEject: autoEject(r.AutoEject)})
	case mesh.DistributionKetama, mesh.DistributionSlots, "":
		ownPolicy(c, "ketama", &lbv1.Ketama{Hash: hash(r.Hash), AutoEject: autoEject(r.AutoEject)})
	}
}

func ownPolicy(c *clusterv3.Cluster, name string, p proto.Message) {
	c.LoadBalancingPolicy = &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{
		{TypedExtensionConfig: extension("dragoman.load_balancing."+name, p)},
	}}
}

// hash gives the enumerator that is called as twemproxy calls the function.
func hash(h mesh.HashFunction) lbv1.Hash {
	if h == "" {
		h = mesh.DefaultHash
	}
	return lbv1.Hash(lbv1.Hash_value[strings.ToUpper(string(h))])
}

func autoEject(e *mesh.AutoEject) *lbv1.AutoEject {
	if e == nil {
		return nil
	}
	p := &lbv1.AutoEject{Failures: value(e.Failures, 0)}
	if e.RetryAfter != nil {
		p.RetryAfter = duration(e.RetryAfter, 0)
	}
	return p
}

func healthCheck(h *mesh.HealthCheck) *corev3.HealthCheck {
	const jitterPercent = 10 // so that a thousand proxies do not ask at once
	return &corev3.HealthCheck{
		Interval:              duration(h.Interval, defaultHealthInterval),
		Timeout:               duration(h.Timeout, defaultHealthTimeout),
		IntervalJitterPercent: jitterPercent,
		UnhealthyThreshold:    number(h.UnhealthyThreshold, defaultUnhealthyThreshold),
		HealthyThreshold:      number(h.HealthyThreshold, defaultHealthyThreshold),
	}
}

func outlier(o *mesh.OutlierDetection) *clusterv3.OutlierDetection {
	if o == nil {
		return nil
	}
	longest := duration(o.MaxEjection, defaultMaxEjection)
	if base := duration(o.BaseEjection, defaultBaseEjection); o.MaxEjection == nil && base.AsDuration() > longest.AsDuration() {
		longest = base
	}
	return &clusterv3.OutlierDetection{
		Consecutive_5Xx:    number(o.ConsecutiveFailures, defaultConsecutiveFailures),
		Interval:           duration(o.Interval, defaultOutlierInterval),
		BaseEjectionTime:   duration(o.BaseEjection, defaultBaseEjection),
		MaxEjectionTime:    longest,
		MaxEjectionPercent: number(o.MaxEjectionPercent, defaultMaxEjectionPercent),
	}
}

func circuitBreakers(l *mesh.RequestLimit) *clusterv3.CircuitBreakers {
	if l == nil {
		return nil
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     optional(l.MaxConnections),
		MaxPendingRequests: optional(l.MaxPending),
		MaxRequests:        optional(l.MaxRequests),
	}}}
}
