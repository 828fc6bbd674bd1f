package translate

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	databasev1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/database/v1"
	databasehealthv1 "github.com/dragoman-mesh/dragoman/api/dragoman/health_checkers/database/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Defaults of the health check of a database: a server that died or was frozen
// is known as such in some seconds.
const (
	defaultDatabaseInterval  = 2 * time.Second
	defaultDatabaseTimeout   = 2 * time.Second
	defaultDatabaseUnhealthy = 2
)

// byRole puts a primary and its standbys into the cluster, as one shard.
func (t *translator) byRole(env *mesh.Environment, c *clusterv3.Cluster) {
	g := t.newGroup(&env.Upstream)
	g.perPod = true
	primary := resource.RoleUnknown
	if len(env.Standbys) > 0 {
		primary = resource.RolePrimary
	}
	if env.Leader != nil {
		g.addAs(g.leader(env.Leader), t.a.Metadata.Name, nil, primary)
	}
	if env.Address != "" || env.Service != nil {
		g.addRoles(env, &mesh.Server{Address: env.Address, Service: env.Service}, primary)
	}
	for i := range env.Endpoints {
		g.addRoles(env, &env.Endpoints[i], resource.RoleUnknown)
	}
	for i := range env.Standbys {
		g.addRoles(env, &env.Standbys[i], resource.RoleReplica)
	}
	g.place(c)
}

// addRoles adds what a server of a document stands for. The label of a pod says
// more of its role than its place in the document.
func (g *group) addRoles(env *mesh.Environment, s *mesh.Server, role resource.Role) {
	labelled := env.RoleLabel != "" && s.Service != nil
	list := g.servers(s, false)
	var taken []member
	for _, m := range list {
		m.name, m.role = g.t.a.Metadata.Name, role
		ok := true
		if labelled && m.pod != "" {
			m.role, ok = labelledRole(m.labels[env.RoleLabel])
		}
		if ok {
			taken = append(taken, m)
		}
	}
	if left := len(list) - len(taken); left > 0 {
		g.t.note("Service %s: %d endpoints are left out, whose label %s says no role", s.Service.Name, left, env.RoleLabel)
	}
	g.add(taken...)
}

// databaseHealth checks the servers, where their roles are to be known or the
// document wants it.
func (t *translator) databaseHealth(env *mesh.Environment, main string, c *clusterv3.Cluster) {
	spec, _, _ := t.a.Spec.Database()
	ask := env.ByRole() && env.RoleLabel == ""
	if !ask && spec.HealthCheck == nil {
		return
	}
	h := orEmpty(spec.HealthCheck)
	check := healthCheck(&mesh.HealthCheck{HealthyThreshold: h.HealthyThreshold})
	check.Interval = duration(h.Interval, defaultDatabaseInterval)
	check.Timeout = duration(h.Timeout, defaultDatabaseTimeout)
	check.UnhealthyThreshold = number(h.UnhealthyThreshold, defaultDatabaseUnhealthy)
	common := t.databaseProxy(env, main)
	p := &databasehealthv1.DatabaseCheck{Login: common.GetLogin(), TlsOptional: common.GetTlsOptional(), ProbeRole: ask, RequireAuth: requireAuth(env.RequireAuth)}
	if t.a.Spec.Protocol == mesh.ProtocolMySQL {
		p.Protocol = databasehealthv1.DatabaseCheck_MYSQL
	}
	check.HealthChecker = &corev3.HealthCheck_CustomHealthCheck_{CustomHealthCheck: &corev3.HealthCheck_CustomHealthCheck{
		Name:       "dragoman.health_checkers.database",
		ConfigType: &corev3.HealthCheck_CustomHealthCheck_TypedConfig{TypedConfig: pack(p)},
	}}
	c.HealthChecks = []*corev3.HealthCheck{check}
}

// sessionTarget gives the proto's word.
func sessionTarget(t mesh.TargetSessionAttrs) databasev1.TargetSessionAttrs {
	switch t {
	case mesh.TargetReadWrite:
		return databasev1.TargetSessionAttrs_READ_WRITE
	case mesh.TargetReadOnly:
		return databasev1.TargetSessionAttrs_READ_ONLY
	case mesh.TargetPrimary:
		return databasev1.TargetSessionAttrs_PRIMARY
	case mesh.TargetStandby:
		return databasev1.TargetSessionAttrs_STANDBY
	case mesh.TargetPreferStandby:
		return databasev1.TargetSessionAttrs_PREFER_STANDBY
	case mesh.TargetAny:
	}
	return databasev1.TargetSessionAttrs_ANY
}

// readOnlyListener makes a database's second listener after its first.
func (t *translator) readOnlyListener(env *mesh.Environment, main string, first *listenerv3.Listener) {
	s := &t.a.Spec
	listen := s.Listeners()[1]
	l := proto.CloneOf(first)
	l.Name += "/read-only"
	l.StatPrefix += ".read-only"
	l.Address, l.TcpBacklogSize = listenAddress(&listen), optional(listen.Backlog)
	p := proto.CloneOf(t.databaseProxy(env, main))
	p.StatPrefix, p.ReadOnly = l.GetStatPrefix(), true
	p.TargetSessionAttrs = databasev1.TargetSessionAttrs_PREFER_STANDBY
	if s.ReadOnly.TargetSessionAttrs != "" {
		p.TargetSessionAttrs = sessionTarget(s.ReadOnly.TargetSessionAttrs)
	}
	chain := l.GetFilterChains()[0]
	chain.Filters = []*listenerv3.Filter{t.databaseFilter(env, p)}
	if s.ReadOnly.TLS != nil {
		chain.TransportSocket = t.downstreamTLS(l.GetName(), s.ReadOnly.TLS)
	}
	t.set.Listeners = append(t.set.Listeners, l)
}
