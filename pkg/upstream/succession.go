package upstream

import (
	"maps"
	"reflect"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// inherit takes over members, and what they were arranged in if the same
// discovery would find it again. This cluster is not known to others yet.
func (c *cluster) inherit(before *cluster) {
	before.mu.Lock()
	for key, m := range before.members {
		m.retain(c, c.settingsFor(key, m.ep.TLS))
		c.spare[key] = spare{m, time.Now()}
	}
	maps.Copy(c.primaries, before.primaries)
	c.version = before.version
	found := before.layout
	before.mu.Unlock()
	if len(found.shards) > 0 && sameDiscovery(before, c) {
		c.publish(found)
		c.settle()
	}
}

// reclaim has the members behave as this cluster says, after another one that
// had inherited them came to nothing.
func (c *cluster) reclaim() {
	c.mu.Lock()
	for key, m := range c.members {
		m.retain(c, c.settingsFor(key, m.ep.TLS))
	}
	for key, s := range c.spare {
		s.m.retain(c, c.settingsFor(key, s.m.ep.TLS))
	}
	found := c.layout
	c.mu.Unlock()
	c.publish(found)
}

// endpoints are those that the configuration names, as of now.
func (c *cluster) endpoints() []resource.Endpoint {
	if s, ok := c.discovery.(*static); ok {
		return s.current()
	}
	return c.spec.Endpoints
}

// move puts other endpoints in the place of those that EDS gave before.
func (c *cluster) move(to []resource.Endpoint) {
	if s, ok := c.discovery.(*static); ok {
		s.move(to)
	}
}

// sameDiscovery says whether both would find the same endpoints.
func sameDiscovery(a, b *cluster) bool {
	x, y := a.spec, b.spec
	return reflect.DeepEqual(x.Discovery, y.Discovery) && reflect.DeepEqual(a.endpoints(), b.endpoints()) &&
		reflect.DeepEqual(x.TLS, y.TLS) && x.LB.Policy == y.LB.Policy && a.probesRoles() == b.probesRoles() &&
		reflect.DeepEqual(x.Redis.Shards, y.Redis.Shards)
}
