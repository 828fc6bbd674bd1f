// Package linked is a list whose items have their links in them: to be in it costs
// an item no memory besides, and to join and leave it takes the same short time
// however long it is. Loops keep their connections in one.
package linked

import "iter"

// Links are an item's place in a [List]. What is to be in one embeds those of
// pointers to itself. An item is in one list at most.
type Links[T any] struct{ prev, next T }

func (l *Links[T]) links() *Links[T] { return l }

// Item is a pointer to a struct that embeds [Links].
type Item[T any] interface {
	comparable
	links() *Links[T]
}

// List is of items in no order that means anything: the latest comes first. The
// zero value is empty. It is for one goroutine at a time.
type List[T Item[T]] struct {
	first T // nil where there is none
	n     int
}

// Add makes an item, which is in no list, one of l.
func (l *List[T]) Add(item T) {
	var none T
	links := item.links()
	links.prev, links.next = none, l.first
	if l.first != none {
		l.first.links().prev = item
	}
	l.first = item
	l.n++
}

// Remove takes an item out, which must be in l.
func (l *List[T]) Remove(item T) {
	var none T
	links := item.links()
	if links.prev != none {
		links.prev.links().next = links.next
	} else {
		l.first = links.next
	}
	if links.next != none {
		links.next.links().prev = links.prev
	}
	*links = Links[T]{}
	l.n--
}

// Len is the number of items.
func (l *List[T]) Len() int { return l.n }

// First is the item that came last; nil where there is none.
func (l *List[T]) First() T { return l.first }

// All has every item. The one that was given may be removed meanwhile, but not the
// one behind it.
func (l *List[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		var none T
		for item := l.first; item != none; {
			next := item.links().next
			if !yield(item) {
				return
			}
			item = next
		}
	}
}
