package resource

import (
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

// Endpoint is one address of a cluster.
type Endpoint struct {
	Host string // IP address or host name; "" with Path
	Port uint32 // 1 to 65535; 0 with Path
	Path string // of a unix socket
	// Hostname is what the address stands for where it is an IP address (SNI).
	Hostname string
	// Name is what is hashed to place the endpoint's shard: the metadata's
	// hash_key, else the shard, else the address. Never ""; the endpoints of one
	// shard have the same.
	Name   string
	Weight uint32 // never 0; that of the shard is its primary's
	// Shard groups a primary with its replicas; the Name where nothing says
	// which, so that such an endpoint is a shard of its own. Never "".
	Shard    string
	Role     Role
	Region   string
	Zone     string
	Priority uint32 // 0 first
	Health   Health
}

// Role is what a Redis server is in its shard.
type Role uint8

// The roles.
const (
	RoleUnknown Role = iota // taken for a primary until a probe says otherwise
	RolePrimary
	RoleReplica
)

// String gives the value used in endpoint metadata.
func (r Role) String() string {
	names := [...]string{"unknown", "primary", "replica"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// Health is what the configuration says of an endpoint, before any check.
type Health uint8

// The states of health.
const (
	HealthUnknown   Health = iota // as good as healthy until checked
	HealthHealthy                 // also DEGRADED
	HealthUnhealthy               // UNHEALTHY and TIMEOUT
	HealthDraining                // serves what it has, gets nothing new
)

// Assignment is the endpoints of a cluster as EDS gives them.
type Assignment struct {
	ClusterName string
	Endpoints   []Endpoint
	Raw         *endpointv3.ClusterLoadAssignment
}
