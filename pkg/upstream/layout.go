package upstream

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// layout is what a discovery knows of a cluster. It is read-only once it was
// published.
type layout struct {
	shards []shardSpec
	slots  *[topology.Slots]int32 // of a Redis Cluster, into shards
	spare  []target               // nodes of it without slots
}

// shardSpec is one shard; it may have no target as yet.
type shardSpec struct {
	name    string
	hashKey string // what the distribution hashes
	weight  uint32
	targets []target
}

// target is an address with what is said of it from outside.
type target struct {
	memberKey
	role     filters.Role
	health   resource.Health
	priority uint32
}

// memberKey is the identity of an endpoint: two targets with the same one share
// their Endpoint, health and connections. Whatever is read-only in an Endpoint
// is part of it.
type memberKey struct {
	network  string // tcp or unix
	address  string // IP:port, or a path
	hostname string // as configured or announced, with the port
	tlsHost  string // for SNI and verification; "" where only an address is known
	shard    string
	zone     string
	weight   uint32
	tls      string // fingerprint of the TLS settings; "" for none
}

func roleOf(r resource.Role) filters.Role {
	switch r {
	case resource.RolePrimary:
		return filters.RolePrimary
	case resource.RoleReplica:
		return filters.RoleReplica
	default:
		return filters.RoleUnknown
	}
}
