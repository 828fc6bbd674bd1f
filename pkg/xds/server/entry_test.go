package server

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

func (t *table) len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += len(t.shards[i].slots)
		t.shards[i].mu.Unlock()
	}
	return n
}

// TestTheTableForgets checks that keys are interned as long as somebody has use
// for them, and not longer.
func TestTheTableForgets(t *testing.T) {
	s := New(Options{})
	defer s.queue.close()
	key := func(i int) Key { return Key{TypeURL: ClusterType, ID: fmt.Sprint("c", i)} }
	granted := map[string]string{}
	for i := range 100 {
		granted[key(i).ID] = key(i).ID
	}
	grant := s.NewGrant(map[string]map[string]string{ClusterType: granted})
	r, err := NewResource(ClusterType, "c7", &corev3.Node{Id: "x"})
	if err != nil {
		t.Fatal(err)
	}
	s.Publish([]Change{{Key: key(7), Resource: r}})
	runtime.GC()
	if got := s.table.len(); got != 100 {
		t.Errorf("%d keys while they are granted, want 100", got)
	}
	// Who has the grant sees what is published later.
	if items := grant.items(ClusterType); find(items, "c7").entry.current.Load() != r {
		t.Error("the grant points at another entry than Publish")
	}
	runtime.KeepAlive(grant)
	grant = nil
	waitFor(t, "the published key alone is left", func() bool {
		runtime.GC()
		return s.table.len() == 1
	})
	if s.Resource(key(7)) != r {
		t.Error("the published version is lost")
	}
	s.Publish([]Change{{Key: key(7)}, {Key: key(8)}})
	waitFor(t, "nothing is left", func() bool {
		runtime.GC()
		return s.table.len() == 0
	})
	if got := s.resources.Load(); got != 0 {
		t.Errorf("%d resources are counted, want 0", got)
	}
	_ = grant
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
