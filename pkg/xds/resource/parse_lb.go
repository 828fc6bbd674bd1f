package resource

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	lbv1 "github.com/dragoman-mesh/dragoman/api/dragoman/load_balancing/v1"
)

// Defaults and bounds of Envoy's hashing policies, and of twemproxy's ejection.
const (
	defaultMinRing      = 1024
	maxRing             = 8 << 20
	defaultTableSize    = 65537
	maxTableSize        = 5_000_011
	defaultEjectAfter   = 2
	defaultEjectRetry   = 30 * time.Second
	defaultChoiceCount  = 2
	loadBalancingPolicy = "load_balancing_policy"
)

func (r *reader) loadBalancing(p *clusterv3.Cluster, t DiscoveryType) LoadBalancing {
	if t == DiscoverRedisCluster {
		return LoadBalancing{Policy: LBSlots, Hash: HashCRC16}
	}
	if policy := p.GetLoadBalancingPolicy(); policy != nil {
		return r.extensionPolicy(policy)
	}
	switch p.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN:
		return LoadBalancing{Policy: LBRoundRobin}
	case clusterv3.Cluster_RANDOM:
		return LoadBalancing{Policy: LBRandom}
	case clusterv3.Cluster_LEAST_REQUEST:
		return r.leastRequest(p)
	case clusterv3.Cluster_RING_HASH:
		c := p.GetRingHashLbConfig()
		function := RingXXHash
		if c.GetHashFunction() == clusterv3.Cluster_RingHashLbConfig_MURMUR_HASH_2 {
			function = RingMurmur2
		}
		return r.ringHash(function, c.GetMinimumRingSize(), c.GetMaximumRingSize(), "ring_hash_lb_config")
	case clusterv3.Cluster_MAGLEV:
		return r.maglev(p.GetMaglevLbConfig().GetTableSize(), "maglev_lb_config")
	}
	r.fail("lb_policy", "%v is not supported", p.GetLbPolicy())
	return LoadBalancing{Policy: LBRoundRobin}
}

func (r *reader) leastRequest(p *clusterv3.Cluster) LoadBalancing {
	c := p.GetLeastRequestLbConfig()
	if c != nil {
		r.only(c, "least_request_lb_config", "choice_count")
	}
	return LoadBalancing{
		Policy:      LBLeastRequest,
		ChoiceCount: r.atLeast(c.GetChoiceCount(), "least_request_lb_config.choice_count", defaultChoiceCount, 2),
	}
}

// extensionPolicy takes the first policy that is known, as Envoy does.
func (r *reader) extensionPolicy(p *clusterv3.LoadBalancingPolicy) LoadBalancing {
	for i, policy := range p.GetPolicies() {
		path := index(loadBalancingPolicy+".policies", i) + ".typed_extension_config.typed_config"
		packed := policy.GetTypedExtensionConfig().GetTypedConfig()
		if lb, known := r.policy(packed, path); known {
			return lb
		}
	}
	r.fail(loadBalancingPolicy, "names no policy of this proxy")
	return LoadBalancing{Policy: LBRoundRobin}
}

func (r *reader) policy(packed *anypb.Any, path string) (lb LoadBalancing, known bool) {
	switch packed.MessageName() {
	case nameOf(&lbv1.Ketama{}):
		var p lbv1.Ketama
		r.unpack(packed, &p, path)
		return r.twemproxy(LBKetama, p.GetHash(), p.GetAutoEject(), path), true
	case nameOf(&lbv1.Modula{}):
		var p lbv1.Modula
		r.unpack(packed, &p, path)
		return r.twemproxy(LBModula, p.GetHash(), p.GetAutoEject(), path), true
	case nameOf(&lbv1.Random{}):
		var p lbv1.Random
		r.unpack(packed, &p, path)
		return LoadBalancing{Policy: LBTwemRandom, AutoEject: r.autoEject(p.GetAutoEject(), join(path, "auto_eject"))}, true
	case nameOf(&ringhashv3.RingHash{}):
		var p ringhashv3.RingHash
		r.unpack(packed, &p, path)
		r.only(&p, path, "hash_function", "minimum_ring_size", "maximum_ring_size")
		function := RingXXHash
		if p.GetHashFunction() == ringhashv3.RingHash_MURMUR_HASH_2 {
			function = RingMurmur2
		}
		return r.ringHash(function, p.GetMinimumRingSize(), p.GetMaximumRingSize(), path), true
	case nameOf(&maglevv3.Maglev{}):
		var p maglevv3.Maglev
		r.unpack(packed, &p, path)
		r.only(&p, path, "table_size")
		return r.maglev(p.GetTableSize(), path), true
	case "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin":
		return LoadBalancing{Policy: LBRoundRobin}, true
	case "envoy.extensions.load_balancing_policies.random.v3.Random":
		return LoadBalancing{Policy: LBRandom}, true
	case "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest":
		return LoadBalancing{Policy: LBLeastRequest, ChoiceCount: defaultChoiceCount}, true
	}
	return LoadBalancing{}, false
}

func (r *reader) ringHash(function string, low, high *wrapperspb.UInt64Value, path string) LoadBalancing {
	lb := LoadBalancing{
		Policy: LBRingHash, Hash: HashMurmur2, RingFunction: function,
		MinRing: defaultMinRing, MaxRing: maxRing,
	}
	if low != nil {
		lb.MinRing = low.GetValue()
	}
	if high != nil {
		lb.MaxRing = high.GetValue()
	}
	if lb.MinRing == 0 || lb.MinRing > lb.MaxRing || lb.MaxRing > maxRing {
		r.fail(path, "must have 1 <= minimum_ring_size <= maximum_ring_size <= %d", maxRing)
	}
	return lb
}

func (r *reader) maglev(size *wrapperspb.UInt64Value, path string) LoadBalancing {
	lb := LoadBalancing{Policy: LBMaglev, Hash: HashMurmur2, TableSize: defaultTableSize}
	if size != nil {
		lb.TableSize = size.GetValue()
	}
	if lb.TableSize > maxTableSize || !isPrime(lb.TableSize) {
		r.fail(join(path, "table_size"), "must be a prime, at most %d", maxTableSize)
	}
	return lb
}

func (r *reader) twemproxy(policy LBPolicy, hash lbv1.Hash, eject *lbv1.AutoEject, path string) LoadBalancing {
	return LoadBalancing{
		Policy:    policy,
		Hash:      r.hashName(hash, join(path, "hash")),
		AutoEject: r.autoEject(eject, join(path, "auto_eject")),
	}
}

func (r *reader) autoEject(p *lbv1.AutoEject, path string) *AutoEject {
	if p == nil {
		return nil
	}
	e := &AutoEject{
		Failures:   p.GetFailures(),
		RetryAfter: r.positive(p.GetRetryAfter(), join(path, "retry_after"), defaultEjectRetry),
	}
	if e.Failures == 0 {
		e.Failures = defaultEjectAfter
	}
	return e
}

// hashName gives twemproxy's name of a hash function.
func (r *reader) hashName(h lbv1.Hash, path string) string {
	names := [...]string{
		"fnv1a_64", "one_at_a_time", "md5", "crc16", "crc32", "crc32a", "fnv1_64", "fnv1a_64",
		"fnv1_32", "fnv1a_32", "hsieh", "murmur", "jenkins",
	}
	if h < 0 || int(h) >= len(names) {
		r.fail(path, "has the unknown value %d", h)
		return names[0]
	}
	return names[h]
}

func nameOf(m proto.Message) protoreflect.FullName {
	return m.ProtoReflect().Descriptor().FullName()
}

func isPrime(n uint64) bool {
	for i := uint64(2); i*i <= n; i++ {
		if n%i == 0 {
			return false
		}
	}
	return n >= 2
}
