package mesh

import (
	"fmt"
	"slices"
)

// readOnlyPort checks the second listener of a database.
func (c *checker) readOnlyPort(s *AmbassadorSpec) {
	const at = "spec.readOnly"
	if s.ReadOnly == nil || s.Protocol == "" {
		return
	}
	if !s.Protocol.IsDatabase() {
		c.fail(at, fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it")
		return
	}
	c.listen(&s.ReadOnly.Listen, at)
	listeners := s.Listeners()
	c.require(!listeners[0].Overlaps(&listeners[1]), at, "binds to the same place as spec.listen", "choose another port")
	t := s.ReadOnly.TargetSessionAttrs
	c.require(t != TargetReadWrite && t != TargetPrimary, at+".targetSessionAttrs",
		fmt.Sprintf("%s is where spec.listen leads", t), oneOf([]string{"prefer-standby", "standby", "read-only", "any"}))
	if _, auth, _ := s.Database(); auth != nil && len(auth.PeerUIDs) > 0 {
		c.require(s.ReadOnly.Path != "", at, "needs a path too: peerUIDs are known of unix sockets only", "set readOnly.path")
	}
}

func (c *checker) databaseHealth(h *DatabaseHealthCheck, at string) {
	if h == nil {
		return
	}
	c.positive(h.Interval, at+".interval")
	c.positive(h.Timeout, at+".timeout")
	c.atLeastOne(h.UnhealthyThreshold, at+".unhealthyThreshold")
	c.atLeastOne(h.HealthyThreshold, at+".healthyThreshold")
}

// standbys checks what says who is the primary of an environment, and who else is
// there.
func (c *checker) standbys(env *Environment, at string) {
	c.require(env.Standbys == nil || len(env.Standbys) > 0, at+".standbys", "must not be empty", "")
	c.require(len(env.Standbys) == 0 || env.Endpoints == nil, at+".standbys", "do not go with endpoints",
		"say who is the primary by address or service, or list all as endpoints with targetSessionAttrs")
	seen := make(map[string]bool)
	if env.Address != "" {
		seen[env.Address] = true
	}
	for i := range env.Standbys {
		here := fmt.Sprintf("%s.standbys[%d]", at, i)
		c.server(&env.Standbys[i], here)
		c.require(env.Standbys[i].Weight == nil, here+".weight", "has no meaning: the standby with the fewest sessions is taken", "remove it")
		c.onlyServer(seen, &env.Standbys[i], here)
	}
	for i := range env.Endpoints {
		c.require(!env.ByRole() || env.Endpoints[i].Weight == nil, fmt.Sprintf("%s.endpoints[%d].weight", at, i),
			"has no meaning: the server with the fewest sessions is taken", "remove it")
	}
	if env.RoleLabel != "" {
		c.require(isLabelKey(env.RoleLabel), at+".roleLabel", fmt.Sprintf("%q is not the key of a label", clip(env.RoleLabel)),
			`as in "role" or "example.com/role"`)
		services := len(env.Services()) + len(env.StandbyServices())
		c.require(services > 0, at+".roleLabel", "needs a Service, whose pods have the label", "remove it: servers are asked for their roles")
	}
	all := env.Upstream
	all.Endpoints = slices.Concat(env.Endpoints, env.Standbys)
	if len(env.Standbys) > 0 {
		c.oneKind(&all, at+".standbys")
	}
}
