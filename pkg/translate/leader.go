package translate

import (
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// leader gives the pod that an election has chosen, none while there is no leader:
// a server that leads no more is worse than none.
func (g *group) leader(ref *mesh.LeaderRef) []member {
	g.follows, g.fromService = true, true
	key := inventory.Key{Namespace: g.t.meta.Namespace, Name: ref.Election}
	var lease *inventory.Lease
	if g.t.world != nil {
		lease = g.t.world.Lease(key)
	}
	switch {
	case lease == nil:
		g.t.fail(ReasonLeaseNotFound, "there is no Lease %v: nobody was elected yet, or the election has another name", key)
	case lease.Holder == "":
		g.t.note("Lease %v has no holder: nobody leads", key)
	case lease.Expired:
		g.t.note("Lease %v has expired: %s, its last holder, does not renew it", key, lease.Holder)
	case lease.Pod == "":
		g.t.note("Lease %v is held by %s, which is no pod of namespace %s", key, lease.Holder, key.Namespace)
	case len(lease.IPs) == 0:
		g.t.note("Lease %v is held by pod %s, which has no address", key, lease.Pod)
	default:
		return []member{{host: lease.IPs[0], port: ref.Port, pod: lease.Namespace + "/" + lease.Pod, zone: lease.Zone}}
	}
	return nil
}

// leaderName is what is hashed for a leader that is the one server of Redis.
func leaderName(ref *mesh.LeaderRef) string { return fmt.Sprintf("%s:%d", ref.Election, ref.Port) }
