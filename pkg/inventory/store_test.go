package inventory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

func ref(kind inventory.Kind, namespace, name string) inventory.Ref {
	return inventory.Ref{Kind: kind, Key: inventory.Key{Namespace: namespace, Name: name}}
}

// TestStoreTakesChangesOnce: a thing that changed twice is taken once, with the
// time of its first change, and a taken change is not taken again.
func TestStoreTakesChangesOnce(t *testing.T) {
	t.Parallel()
	s := inventory.NewStore()
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	redis, web := ref(inventory.KindService, "shop", "redis"), ref(inventory.KindPod, "shop", "web-0")
	inventory.Put(s, redis, &inventory.Service{Headless: true}, at(1))
	inventory.Put(s, redis, &inventory.Service{}, at(2))
	inventory.Put(s, web, &inventory.Pod{UID: "u"}, at(3))

	select {
	case <-s.Changed():
	default:
		t.Fatal("nobody is told of the changes")
	}
	want := map[inventory.Ref]time.Time{redis: at(1), web: at(3)}
	if diff := cmp.Diff(want, s.Take()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if again := s.Take(); len(again) != 0 {
		t.Errorf("taken again: %v", again)
	}
	if s.Service(redis.Key).Headless {
		t.Error("the first value is still there")
	}
	s.Delete(web, at(4))
	if s.Pod(web.Key) != nil || len(s.Take()) != 1 {
		t.Error("a deletion is no change")
	}
	if got := s.Refs(inventory.KindService); len(got) != 1 || got[0] != redis {
		t.Errorf("services: %v", got)
	}
}

// TestStoreKindsAreApart: things of the same name and different kinds are
// different things.
func TestStoreKindsAreApart(t *testing.T) {
	t.Parallel()
	s := inventory.NewStore()
	k := inventory.Key{Namespace: "shop", Name: "redis"}
	inventory.Put(s, inventory.Ref{Kind: inventory.KindSecret, Key: k}, &inventory.Secret{Type: "Opaque"}, time.Time{})
	if s.ConfigMap(k) != nil || s.Service(k) != nil || s.Secret(k) == nil {
		t.Error("kinds are mixed up")
	}
}
