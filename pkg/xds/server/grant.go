package server

import (
	"cmp"
	"slices"
	"strings"
)

// Grant says what a node may have: per type, names and which resource each name
// stands for. It is immutable; nodes of a kind share one.
type Grant struct {
	types []grantedType
	kept  []Kept
}

// Kept are resources of which nothing can be said now, since what they are made of
// is broken or not there. A node that says when it connects that it has some is not told
// to drop them. State-of-the-world has no words for that.
type Kept struct {
	// Object begins their names: it is the whole name, or a slash follows.
	Object string
	// Variant does so with all but listeners; of those a node keeps the Object's if it
	// keeps a cluster of the Variant. The Object itself: whichever it is.
	Variant string
}

type grantedType struct {
	typeURL string
	// items are sorted by name.
	items []granted
}

type granted struct {
	name  string
	entry *entry
}

// NewGrant makes a grant of type URL -> name -> ID (see [Key]). A name must be
// that of the resources published under the ID; they need not exist yet. The
// grant is good for nodes of this server only.
func (s *Server) NewGrant(names map[string]map[string]string, kept ...Kept) *Grant {
	g := &Grant{types: make([]grantedType, 0, len(names)), kept: kept}
	for typeURL, ids := range names {
		t := grantedType{typeURL: typeURL, items: make([]granted, 0, len(ids))}
		for name, id := range ids {
			t.items = append(t.items, granted{name: name, entry: s.table.intern(Key{TypeURL: typeURL, ID: id})})
		}
		slices.SortFunc(t.items, func(a, b granted) int { return strings.Compare(a.name, b.name) })
		g.types = append(g.types, t)
	}
	slices.SortFunc(g.types, func(a, b grantedType) int { return cmp.Compare(a.typeURL, b.typeURL) })
	return g
}

// items are the names of a type, sorted. A nil grant has none.
func (g *Grant) items(typeURL string) []granted {
	if g == nil {
		return nil
	}
	for i := range g.types {
		if g.types[i].typeURL == typeURL {
			return g.types[i].items
		}
	}
	return nil
}

// find gives a name's place among items, nil if it is not there.
func find(items []granted, name string) *granted {
	i, ok := slices.BinarySearchFunc(items, name, func(g granted, name string) int { return strings.Compare(g.name, name) })
	if !ok {
		return nil
	}
	return &items[i]
}

// Has says whether the grant has a name of a type.
func (g *Grant) Has(typeURL, name string) bool { return find(g.items(typeURL), name) != nil }

// Len is the number of names in the grant, all types together.
func (g *Grant) Len() int {
	if g == nil {
		return 0
	}
	var n int
	for i := range g.types {
		n += len(g.types[i].items)
	}
	return n
}

// keepsLocked says whether a node goes on with a resource that it has from before and
// is not granted.
func (n *Node) keepsLocked(typeURL, name string) bool {
	if n.grant == nil {
		return false
	}
	return slices.ContainsFunc(n.grant.kept, func(k Kept) bool {
		switch {
		case typeURL == SecretType: // its name is not the object's
			namespace, _, _ := strings.Cut(k.Object, "/")
			return within(name, namespace)
		case typeURL == ListenerType && k.Variant != k.Object:
			return within(name, k.Object) && n.hasClusterLocked(k.Variant)
		}
		return within(name, k.Variant)
	})
}

func (n *Node) hasClusterLocked(root string) bool {
	for _, l := range n.lanes {
		if l.typeURL != ClusterType {
			continue
		}
		for name, s := range l.subs {
			if s.has(held) && within(name, root) {
				return true
			}
		}
	}
	return false
}

// within says whether a name is another one, or below it.
func within(name, root string) bool {
	rest, ok := strings.CutPrefix(name, root)
	return ok && (rest == "" || rest[0] == '/')
}
