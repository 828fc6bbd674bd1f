package mesh

import "cmp"

// +kubebuilder:validation:Enum=read-write;read-only;primary;standby;prefer-standby;any

// TargetSessionAttrs says which servers a session may go to, in the words of
// libpq's parameter of this name.
type TargetSessionAttrs string

// The targets.
const (
	TargetReadWrite     TargetSessionAttrs = "read-write"     // a primary whose transactions may write
	TargetReadOnly      TargetSessionAttrs = "read-only"      // a standby, or a primary that is read only
	TargetPrimary       TargetSessionAttrs = "primary"        // whether or not it may write
	TargetStandby       TargetSessionAttrs = "standby"        // never the primary
	TargetPreferStandby TargetSessionAttrs = "prefer-standby" // the primary only while no standby is healthy
	TargetAny           TargetSessionAttrs = "any"
)

// Values lists the targets.
func (TargetSessionAttrs) Values() []string {
	return []string{"read-write", "read-only", "primary", "standby", "prefer-standby", "any"}
}

// ReadOnlyPort is a second listener of a database, for sessions that only read:
// their transactions are read only unless the app says otherwise, and they are
// spread over the standbys. In an environment without standbys it leads where the
// other listener leads.
type ReadOnlyPort struct {
	// Where the app connects; address and tls default to those of spec.listen.
	Listen `json:",inline"`
	// TargetSessionAttrs; default prefer-standby. Neither read-write nor primary.
	TargetSessionAttrs TargetSessionAttrs `json:"targetSessionAttrs,omitempty"`
}

// DatabaseHealthCheck asks every server of a database periodically: it logs in
// as sessions do, keeps the connection, and asks whether the server is a primary.
// It is there where an environment has standbys or targetSessionAttrs, and no
// roleLabel; elsewhere only if it is written.
type DatabaseHealthCheck struct {
	// Interval between two questions; default 2s.
	Interval *Duration `json:"interval,omitempty"`
	// Timeout of one; default 2s.
	Timeout *Duration `json:"timeout,omitempty"`
	// UnhealthyThreshold; default 2.
	// +kubebuilder:validation:Minimum=1
	UnhealthyThreshold *uint32 `json:"unhealthyThreshold,omitempty"`
	// HealthyThreshold; default 1.
	// +kubebuilder:validation:Minimum=1
	HealthyThreshold *uint32 `json:"healthyThreshold,omitempty"`
}

// ByRole reports whether the servers of an environment are a primary and its
// standbys, and not all alike.
func (e *Environment) ByRole() bool {
	return len(e.Standbys) > 0 || e.TargetSessionAttrs != "" || e.RoleLabel != ""
}

// Target is where sessions of spec.listen go. Who may not write has no need of a
// server that takes writes.
func (e *Environment) Target() TargetSessionAttrs {
	switch {
	case !e.ByRole():
		return TargetAny
	case e.Access == AccessReadOnly:
		return cmp.Or(e.TargetSessionAttrs, TargetPrimary)
	}
	return cmp.Or(e.TargetSessionAttrs, TargetReadWrite)
}

// StandbyServices lists the references to Services among the standbys, in order.
func (e *Environment) StandbyServices() []*ServiceRef {
	var out []*ServiceRef
	for i := range e.Standbys {
		if s := e.Standbys[i].Service; s != nil {
			out = append(out, s)
		}
	}
	return out
}

// Listeners lists where an object listens: spec.listen, and what goes beside it.
func (s *AmbassadorSpec) Listeners() []Listen {
	if s.ReadOnly == nil {
		return []Listen{s.Listen}
	}
	second := s.ReadOnly.Listen
	if second.Path == "" {
		second.Address = cmp.Or(second.Address, s.Listen.Address)
	}
	if second.TLS == nil {
		second.TLS = s.Listen.TLS
	}
	return []Listen{s.Listen, second}
}
