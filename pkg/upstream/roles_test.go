package upstream

import (
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

func TestElect(t *testing.T) {
	t.Parallel()
	primary := func(replicas int, offset int64) claim {
		return claim{word: word{Role: topology.Role{Primary: true, Replicas: replicas, Offset: offset}}, known: true, fresh: true}
	}
	at := func(promoted int64, c claim) claim { c.promoted = time.Unix(promoted, 0); return c }
	gone := func(c claim) claim { c.fresh = false; return c }
	replica := claim{known: true, fresh: true}
	on := func(timeline uint32, c claim) claim { c.timeline = timeline; return c }
	readOnly := func(c claim) claim { c.readOnly = true; return c }
	tests := []struct {
		name string
		in   []candidate
		want int
	}{
		{"nobody", nil, -1},
		{"never heard, unknown", []candidate{{}, {}}, 0},
		{"never heard, configured", []candidate{{}, {configured: filters.RolePrimary}}, 1},
		{"never heard, all replicas", []candidate{{configured: filters.RoleReplica}}, -1},
		{"one says so", []candidate{{claim: replica}, {claim: primary(1, 0)}}, 1},
		{"against the configuration", []candidate{
			{configured: filters.RolePrimary, claim: replica}, {configured: filters.RoleReplica, claim: primary(0, 0)},
		}, 1},
		{"promoted, the old one not yet told", []candidate{{claim: primary(1, 9), current: true}, {claim: primary(0, 9)}}, 0},
		{"replicas moved on", []candidate{{claim: primary(0, 9), current: true}, {claim: primary(1, 9)}}, 1},
		{"old one comes back", []candidate{{claim: primary(0, 99)}, {claim: primary(0, 1), current: true}}, 1},
		{"old one is dead", []candidate{{claim: gone(primary(2, 9)), current: true}, {claim: primary(0, 9)}}, 1},
		{"a probe of the current one is missed", []candidate{{claim: gone(primary(0, 9)), current: true, well: true}, {claim: primary(0, 9)}}, 0},
		{"the same, and the other was promoted", []candidate{
			{claim: gone(primary(0, 9)), current: true, well: true}, {claim: at(9, primary(0, 9))},
		}, 1},
		{"the same of a database", []candidate{
			{claim: gone(primary(0, 9)), current: true, well: true, sql: true}, {claim: at(9, primary(0, 9))},
		}, 0},
		{"a probe is missed, and one that was promoted before comes back", []candidate{
			{claim: at(8, primary(0, 99))}, {claim: gone(at(9, primary(0, 9))), current: true, well: true},
		}, 1},
		{"the same, and the current one is out of use", []candidate{
			{claim: at(8, primary(0, 99))}, {claim: gone(at(9, primary(0, 9))), current: true},
		}, 0},
		{"the same, and it is read only", []candidate{{claim: gone(readOnly(primary(0, 9))), current: true, well: true}, {claim: primary(0, 9)}}, 1},
		{"the same, and it is not the current one", []candidate{{claim: gone(primary(0, 9)), well: true}, {claim: primary(0, 9)}}, 1},
		{"primary is dead, replicas wait", []candidate{{claim: gone(primary(1, 9)), current: true}, {claim: replica}}, 0},
		{"current never heard", []candidate{{claim: replica}, {current: true, configured: filters.RoleReplica}}, 1},
		{"all say replica", []candidate{{claim: replica, current: true}, {claim: replica}}, -1},
		{"promoted later", []candidate{{claim: on(1, primary(0, 99)), current: true}, {claim: on(2, primary(0, 1))}}, 1},
		{"promoted later, and dead", []candidate{{claim: on(1, primary(0, 99))}, {claim: gone(on(2, primary(0, 1))), current: true}}, 1},
		{"timeline of one is not known", []candidate{{claim: primary(0, 0), current: true}, {claim: on(2, primary(0, 9))}}, 0},
		{"promoted both", []candidate{{claim: on(2, primary(0, 1)), current: true}, {claim: on(2, primary(0, 9))}}, 0},
		{"one is read only", []candidate{{claim: readOnly(primary(0, 9)), current: true}, {claim: primary(0, 1)}}, 1},
		{"the only one is read only", []candidate{{claim: readOnly(primary(0, 9))}, {claim: replica}}, 0},
		{"further ahead", []candidate{{claim: primary(0, 1)}, {claim: primary(0, 2)}}, 1},
		{"equal", []candidate{{claim: primary(0, 1)}, {claim: primary(0, 1)}}, 0},
	}
	for _, tc := range tests {
		if got := elect(tc.in); got != tc.want {
			t.Errorf("%s: elect = %d, want %d", tc.name, got, tc.want)
		}
	}
}
