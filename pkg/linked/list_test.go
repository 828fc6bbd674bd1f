package linked_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/linked"
)

type item struct {
	name int
	linked.Links[*item]
}

func namesOf(l *linked.List[*item]) []int {
	names := make([]int, 0, l.Len())
	for i := range l.All() {
		names = append(names, i.name)
	}
	return names
}

// TestList does at random what a slice does as well.
func TestList(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var list linked.List[*item]
	var want []*item // the latest first
	for step := range 1000 {
		if len(want) == 0 || random.IntN(2) == 0 && len(want) < 10 {
			i := &item{name: step}
			list.Add(i)
			want = slices.Insert(want, 0, i)
		} else {
			at := random.IntN(len(want))
			i := want[at]
			want = slices.Delete(want, at, at+1)
			list.Remove(i)
			if i.Links != (linked.Links[*item]{}) {
				t.Fatal("an item that has left points at others")
			}
		}
		names := make([]int, 0, len(want))
		for _, i := range want {
			names = append(names, i.name)
		}
		if diff := cmp.Diff(names, namesOf(&list)); diff != "" {
			t.Fatal(diff)
		}
		if list.Len() != len(want) {
			t.Fatalf("a list of %d says that it has %d", len(want), list.Len())
		}
		if first := list.First(); (first == nil) != (len(want) == 0) || first != nil && first != want[0] {
			t.Fatalf("the first is %v", first)
		}
	}
}

// TestRemoveWhileLooking: each item may leave when its turn has come, and the look
// may end early.
func TestRemoveWhileLooking(t *testing.T) {
	t.Parallel()
	var list linked.List[*item]
	for n := range 5 {
		list.Add(&item{name: n})
	}
	for i := range list.All() {
		if i.name == 3 {
			break
		}
	}
	var seen []int
	for i := range list.All() {
		seen = append(seen, i.name)
		list.Remove(i)
	}
	if diff := cmp.Diff([]int{4, 3, 2, 1, 0}, seen); diff != "" {
		t.Error(diff)
	}
	if list.Len() != 0 || list.First() != nil {
		t.Errorf("%d are left", list.Len())
	}
}
