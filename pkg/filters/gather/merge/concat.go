package merge

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// find leads to the list that the path names.
func (m *merger) find(root value.ID) (value.ID, error) {
	at := root
	for _, name := range m.how.Path {
		if at = m.doc.Get(at, name); at == value.None {
			return at, errors.New("there is no " + strings.Join(m.how.Path, "."))
		}
	}
	if n := m.doc.At(at); n.Kind != value.List {
		return at, errors.New(cmp.Or(strings.Join(m.how.Path, "."), "the answer") + " is " + n.Kind.String() + ", and lists are merged")
	}
	return at, nil
}

// concat puts all elements into the first answer's list.
func (m *merger) concat() value.ID {
	if len(m.parts) == 0 {
		return m.emptyList()
	}
	var elements []value.ID
	for _, p := range m.parts {
		for at := m.doc.At(p.list).First; at != value.None; at = m.doc.At(at).Next {
			elements = append(elements, at)
		}
	}
	if m.how.SortBy != nil {
		elements = m.sorted(elements)
	}
	if m.how.Limit > 0 && len(elements) > m.how.Limit {
		elements = elements[:m.how.Limit]
	}
	list := m.parts[0].list
	n := m.doc.At(list)
	n.First, n.Last = value.None, value.None
	for _, e := range elements {
		m.move(list, e)
	}
	return m.parts[0].root
}

// emptyList is what is answered where nobody has anything.
func (m *merger) emptyList() value.ID {
	node := m.doc.New(value.List, "")
	for _, name := range slices.Backward(m.how.Path) {
		parent := m.doc.New(value.Object, "")
		m.doc.Set(parent, name, node)
		node = parent
	}
	return node
}

// rank orders the kinds of keys.
type rank uint8

const (
	rankNumber rank = iota
	rankText
	rankAbsent
)

// key is what an element is sorted by.
type key struct {
	element value.ID
	rank    rank
	number  float64
	text    string // also of a number, as it was written
}

// sorted orders elements by their keys; those that are alike stay in their order.
func (m *merger) sorted(elements []value.ID) []value.ID {
	keys := make([]key, len(elements))
	for i, e := range elements {
		keys[i] = m.key(e)
	}
	slices.SortStableFunc(keys, func(a, b key) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		c := compare(&a, &b)
		if m.how.Descending {
			return -c
		}
		return c
	})
	for i := range keys {
		elements[i] = keys[i].element
	}
	return elements
}

func (m *merger) key(element value.ID) key {
	at := element
	for _, name := range m.how.SortBy {
		if at = m.doc.Get(at, name); at == value.None {
			break
		}
	}
	k := key{element: element, rank: rankAbsent}
	if at == value.None {
		return k
	}
	switch n := m.doc.At(at); n.Kind {
	case value.Number:
		k.rank, k.text = rankNumber, n.Text
		k.number, _ = strconv.ParseFloat(n.Text, 64) // beyond its range it is infinite, and sorts so
	case value.String:
		k.rank, k.text = rankText, n.Text
	case value.Null, value.False, value.True, value.Bytes, value.List, value.Object: // no key
	}
	return k
}

// compare orders keys of the same rank.
func compare(a, b *key) int {
	switch a.rank {
	case rankNumber:
		if c := cmp.Compare(a.number, b.number); c != 0 {
			return c
		}
		return compareIntegers(a.text, b.text)
	case rankText:
		return strings.Compare(a.text, b.text)
	case rankAbsent:
	}
	return 0
}

// compareIntegers orders those that are one for a float64.
func compareIntegers(a, b string) int {
	if strings.ContainsAny(a, ".eE") || strings.ContainsAny(b, ".eE") {
		return 0
	}
	sign := 1
	if strings.HasPrefix(a, "-") {
		sign = -1
	}
	return sign * cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
