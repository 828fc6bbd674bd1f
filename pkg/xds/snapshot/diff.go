package snapshot

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Diff is what is different between two snapshots, by type.
type Diff struct {
	Listeners Names
	Clusters  Names // their own settings; endpoints of EDS are in Endpoints
	// Endpoints holds the names of clusters that are in both snapshots, unchanged
	// in themselves, whose EDS endpoints differ. Only Changed is used.
	Endpoints Names
	Routes    Names // those by RDS
	// Secrets includes those that other resources hold inline.
	Secrets Names
}

// Names are the resources of one type that differ, sorted.
type Names struct {
	Added, Changed, Removed []string
}

// Empty reports whether there are none.
func (n *Names) Empty() bool { return len(n.Added)+len(n.Changed)+len(n.Removed) == 0 }

// Empty reports whether the snapshots are equal.
func (d *Diff) Empty() bool {
	return d.Listeners.Empty() && d.Clusters.Empty() && d.Endpoints.Empty() && d.Routes.Empty() && d.Secrets.Empty()
}

// Compare says how to come from one snapshot to another; from nil everything is
// new.
func Compare(from, to *Snapshot) Diff {
	if from == nil {
		from = &Snapshot{}
	}
	var d Diff
	d.Listeners = compare(from.Listeners, to.Listeners, func(name string) bool {
		return from.same(to, resource.ListenerType, name) ||
			sameListener(from.Listeners[name], to.Listeners[name])
	})
	d.Clusters = compare(from.Clusters, to.Clusters, func(name string) bool {
		return from.same(to, resource.ClusterType, name)
	})
	d.Routes = compare(from.Routes, to.Routes, func(name string) bool {
		return from.same(to, resource.RouteType, name)
	})
	d.Secrets = compare(from.Secrets, to.Secrets, func(name string) bool {
		return from.sameSecret(to, name)
	})
	for _, name := range slices.Sorted(maps.Keys(to.Clusters)) {
		now := to.Clusters[name]
		before, ok := from.Clusters[name]
		if !ok || now.Discovery.Type != resource.DiscoverEDS || slices.Contains(d.Clusters.Changed, name) {
			continue
		}
		if !slices.Equal(before.Endpoints, now.Endpoints) {
			d.Endpoints.Changed = append(d.Endpoints.Changed, name)
		}
	}
	return d
}

func (s *Snapshot) same(other *Snapshot, typeURL, name string) bool {
	k := key{typeURL, name}
	return s.hashes[k] == other.hashes[k]
}

// sameListener finds listeners equal of which only the source of the environment
// differs: that another rule gives the same answer is no reason to drain.
func sameListener(a, b *resource.Listener) bool {
	if a.Environment != b.Environment || a.Drain != b.Drain {
		return false
	}
	without := func(l *resource.Listener) proto.Message {
		p := proto.CloneOf(l.Raw)
		delete(p.GetMetadata().GetTypedFilterMetadata(), resource.ListenerMetadata)
		return p
	}
	return proto.Equal(without(a), without(b))
}

// sameSecret compares inline secrets too, which have no proto of their own.
func (s *Snapshot) sameSecret(other *Snapshot, name string) bool {
	if s.Secrets[name].Raw != nil || other.Secrets[name].Raw != nil {
		return s.same(other, resource.SecretType, name)
	}
	return s.Secrets[name].Equal(other.Secrets[name])
}

func compare[T any](from, to map[string]*T, same func(name string) bool) Names {
	var n Names
	for name := range to {
		switch _, there := from[name]; {
		case !there:
			n.Added = append(n.Added, name)
		case !same(name):
			n.Changed = append(n.Changed, name)
		}
	}
	for name := range from {
		if _, there := to[name]; !there {
			n.Removed = append(n.Removed, name)
		}
	}
	slices.Sort(n.Added)
	slices.Sort(n.Changed)
	slices.Sort(n.Removed)
	return n
}
