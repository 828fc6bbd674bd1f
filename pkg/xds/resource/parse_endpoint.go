package resource

import (
	"cmp"
	"math"
	"net"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

// ParseAssignment validates the endpoints of a cluster. The error is an Errors.
func ParseAssignment(p *endpointv3.ClusterLoadAssignment) (*Assignment, error) {
	r := &reader{typeURL: EndpointType, name: p.GetClusterName()}
	if p.GetClusterName() == "" {
		r.fail("cluster_name", "is missing")
	}
	a := &Assignment{ClusterName: p.GetClusterName(), Raw: p, Endpoints: r.assignment(p, "")}
	return a, r.err()
}

func (r *reader) assignment(p *endpointv3.ClusterLoadAssignment, path string) []Endpoint {
	// The policy tells how to shed load and when to forget endpoints, which
	// nothing here does.
	r.only(p, path, "cluster_name", "endpoints")
	var out []Endpoint
	seen := make(map[string]bool)
	for i, l := range p.GetEndpoints() {
		at := index(join(path, "endpoints"), i)
		r.only(l, at, "locality", "lb_endpoints", "load_balancing_weight", "priority", "proximity", "metadata")
		for j, e := range l.GetLbEndpoints() {
			here := index(join(at, "lb_endpoints"), j)
			endpoint := r.endpoint(e, here)
			endpoint.Region, endpoint.Zone = l.GetLocality().GetRegion(), l.GetLocality().GetZone()
			endpoint.Priority = l.GetPriority()
			id := endpoint.Address()
			if endpoint.Role == RolePrimary { // a server may be several shards
				id += " " + endpoint.Shard
			}
			if seen[id] {
				r.fail(here, "%s is there twice", endpoint.Address())
			}
			seen[id] = true
			out = append(out, endpoint)
		}
	}
	return out
}

func (r *reader) endpoint(p *endpointv3.LbEndpoint, path string) Endpoint {
	r.only(p, path, "endpoint", "health_status", "metadata", "load_balancing_weight")
	at := join(path, "endpoint")
	r.only(p.GetEndpoint(), at, "address", "hostname", "observability_name", "health_check_config")
	if h := p.GetEndpoint().GetHealthCheckConfig(); h != nil {
		r.only(h, join(at, "health_check_config"))
	}
	e := Endpoint{
		Hostname: p.GetEndpoint().GetHostname(),
		Weight:   r.atLeast(p.GetLoadBalancingWeight(), join(path, "load_balancing_weight"), 1, 1),
	}
	r.endpointAddress(p.GetEndpoint().GetAddress(), join(at, "address"), &e)
	switch p.GetHealthStatus() {
	case corev3.HealthStatus_HEALTHY, corev3.HealthStatus_DEGRADED:
		e.Health = HealthHealthy
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_TIMEOUT:
		e.Health = HealthUnhealthy
	case corev3.HealthStatus_DRAINING:
		e.Health = HealthDraining
	}
	r.endpointMetadata(p.GetMetadata(), join(path, "metadata"), &e)
	return e
}

func (r *reader) endpointAddress(a *corev3.Address, path string, e *Endpoint) {
	if p := a.GetPipe(); p != nil {
		e.Path = p.GetPath()
		if len(e.Path) < 2 || len(e.Path) > 107 || e.Path[0] != '/' && e.Path[0] != '@' {
			r.fail(join(path, "pipe.path"), "must be absolute (or begin with @) and at most 107 bytes")
		}
		return
	}
	s := a.GetSocketAddress()
	if s == nil {
		r.fail(path, "must be a socket_address or a pipe")
		return
	}
	path = join(path, "socket_address")
	r.only(s, path, "protocol", "address", "port_value", "ipv4_compat")
	e.Host, e.Port = s.GetAddress(), s.GetPortValue()
	if s.GetProtocol() != corev3.SocketAddress_TCP {
		r.fail(join(path, "protocol"), "must be TCP")
	}
	if e.Host == "" {
		r.fail(join(path, "address"), "is missing")
	}
	if e.Port == 0 || e.Port > math.MaxUint16 {
		r.fail(join(path, "port_value"), "must be from 1 to 65535")
	}
}

// endpointMetadata reads name, shard and role. An endpoint without them is a
// shard of its own that is hashed by its address.
func (r *reader) endpointMetadata(m *corev3.Metadata, path string, e *Endpoint) {
	e.Name = m.GetFilterMetadata()[HashKeyMetadata].GetFields()[HashKeyKey].GetStringValue()
	own := m.GetFilterMetadata()[EndpointMetadata].GetFields()
	e.Shard = own[EndpointShardKey].GetStringValue()
	switch role := own[EndpointRoleKey].GetStringValue(); role {
	case "", RoleUnknown.String():
	case RolePrimary.String():
		e.Role = RolePrimary
	case RoleReplica.String():
		e.Role = RoleReplica
	default:
		at := join(path, "filter_metadata["+strconv.Quote(EndpointMetadata)+"]."+EndpointRoleKey)
		r.fail(at, "must be %v or %v, is %q", RolePrimary, RoleReplica, role)
	}
	e.Name = cmp.Or(e.Name, e.Shard, e.Address())
	e.Shard = cmp.Or(e.Shard, e.Name)
}

// Address is what to dial: "host:port", "[v6]:port" or a path.
func (e *Endpoint) Address() string {
	if e.Path != "" {
		return e.Path
	}
	return net.JoinHostPort(e.Host, strconv.FormatUint(uint64(e.Port), 10))
}
