package upstream

import (
	"slices"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// ClusterView is one cluster as an operator wants to see it.
type ClusterView struct {
	Name      string         `json:"name"`
	Discovery string         `json:"discovery"`
	Policy    string         `json:"policy"`
	Version   uint64         `json:"version"` // of the table
	Slots     int            `json:"slots,omitempty"`
	LastError string         `json:"last_error,omitempty"` // of the discovery; gone when it succeeds
	Endpoints []EndpointView `json:"endpoints"`
}

// EndpointView is one endpoint.
type EndpointView struct {
	Address       string    `json:"address"`
	Hostname      string    `json:"hostname,omitempty"`
	Shard         string    `json:"shard"`
	Role          string    `json:"role"`
	Zone          string    `json:"zone,omitempty"`
	Weight        uint32    `json:"weight"`
	ReadOnly      bool      `json:"read_only,omitempty"` // a primary of a database that does not write
	Timeline      uint32    `json:"timeline,omitempty"`  // of a primary of PostgreSQL
	Sessions      int64     `json:"sessions,omitempty"`  // of databases, by this process
	Healthy       bool      `json:"healthy"`
	CheckFailing  bool      `json:"check_failing,omitempty"` // by active checks
	EjectedUntil  time.Time `json:"ejected_until,omitzero"`  // at least
	LastError     string    `json:"last_error,omitempty"`
	LastErrorAt   time.Time `json:"last_error_at,omitzero"`
	LastRole      string    `json:"last_role,omitempty"` // what the endpoint said itself
	LastRoleProbe time.Time `json:"last_role_probe,omitzero"`
}

// Snapshot shows all running clusters, sorted by name.
func (s *Set) Snapshot() []ClusterView {
	list := s.sorted()
	views := make([]ClusterView, len(list))
	for i, c := range list {
		views[i] = c.view()
	}
	return views
}

func (c *cluster) view() ClusterView {
	c.mu.Lock()
	lastError := c.lastError
	c.mu.Unlock()
	table := c.table.Load()
	v := ClusterView{
		Name:      c.Name(),
		Discovery: c.spec.Discovery.Type.String(),
		Policy:    string(c.spec.LB.Policy),
		Version:   table.Version,
		LastError: lastError,
		Endpoints: []EndpointView{},
	}
	if table.Slots != nil {
		for _, at := range table.Slots {
			if at >= 0 {
				v.Slots++
			}
		}
	}
	c.eachEndpoint(table, func(m *member, role filters.Role) {
		v.Endpoints = append(v.Endpoints, m.view(role))
	})
	return v
}

// eachEndpoint visits the members of a table, shard by shard, primary first.
func (c *cluster) eachEndpoint(table *filters.Table, visit func(*member, filters.Role)) {
	index := *c.index.Load()
	for i := range table.Shards {
		s := &table.Shards[i]
		if m, ok := index[s.Primary]; ok {
			visit(m, filters.RolePrimary)
		}
		replicas := slices.Clone(s.Replicas)
		slices.SortFunc(replicas, func(a, b *filters.Endpoint) int { return strings.Compare(a.Address, b.Address) })
		for _, r := range replicas {
			if m, ok := index[r]; ok {
				visit(m, filters.RoleReplica)
			}
		}
	}
}

func (m *member) view(role filters.Role) EndpointView {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := EndpointView{
		Address: m.key.address, Hostname: m.key.hostname, Shard: m.key.shard, Role: role.String(),
		Zone: m.key.zone, Weight: m.key.weight, Healthy: m.ep.Healthy(),
		CheckFailing: m.check.failing, EjectedUntil: m.outlier.Until(),
		LastError: m.lastError, LastErrorAt: m.lastFailed,
		ReadOnly: m.ep.ReadOnly(), Timeline: m.claim.timeline, Sessions: m.ep.Sessions(),
	}
	if m.claim.known {
		v.LastRole, v.LastRoleProbe = m.claim.role().String(), m.claim.at
	}
	return v
}
