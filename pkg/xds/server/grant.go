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
func (s *Server) NewGrant(names map[string]map[string]string) *Grant {
	g := &Grant{types: make([]grantedType, 0, len(names))}
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
