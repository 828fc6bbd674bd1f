package server

import (
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/dragoman-mesh/dragoman/pkg/linked"
)

// entry is one resource over time: what grants point at and subs hang on.
type entry struct {
	key Key
	// current is nil while the resource does not exist.
	current atomic.Pointer[Resource]

	mu sync.Mutex
	// mu guards below, and the links of the subs
	subs linked.List[*sub]
}

// hash is that of the current version, 0 if there is none. A nil entry has none.
func (e *entry) hash() uint64 {
	if e == nil {
		return 0
	}
	if r := e.current.Load(); r != nil {
		return r.hash
	}
	return 0
}

func (e *entry) subscribe(s *sub) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs.Add(s)
}

func (e *entry) unsubscribe(s *sub) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs.Remove(s)
}

// followers appends the entry's subs.
func (e *entry) followers(subs []*sub) []*sub {
	return slices.AppendSeq(slices.Grow(subs, e.subs.Len()), e.subs.All())
}

// swap puts a version in place, and appends to subs who has to hear of it. It
// reports false when nothing has changed.
func (e *entry) swap(r *Resource, subs []*sub) ([]*sub, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.current.Load()
	if old == nil && r == nil || old != nil && r != nil && old.hash == r.hash && old.name == r.name {
		return subs, false
	}
	e.current.Store(r)
	return e.followers(subs), true
}

const tableShards = 32

// table interns keys: there is one entry per key for as long as somebody has
// use for it. The table itself holds on only to entries that have a version;
// the others live while a grant or a sub points at them.
type table struct {
	seed   maphash.Seed
	shards [tableShards]shard
}

type shard struct {
	mu sync.Mutex
	// mu guards below
	slots map[Key]slot
}

type slot struct {
	weak   weak.Pointer[entry]
	strong *entry
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].slots = map[Key]slot{}
	}
	return t
}

func (t *table) shard(key Key) *shard {
	return &t.shards[maphash.String(t.seed, key.ID)%tableShards]
}

// intern gives the key's entry, making it if need be.
func (t *table) intern(key Key) *entry {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.internLocked(key)
}

func (s *shard) internLocked(key Key) *entry {
	if e := s.slots[key].weak.Value(); e != nil {
		return e
	}
	e := &entry{key: key}
	s.slots[key] = slot{weak: weak.Make(e)}
	runtime.AddCleanup(e, s.forget, key)
	return e
}

// hold interns a key, and keeps its entry or lets go of it.
func (t *table) hold(key Key, keep bool) *entry {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.internLocked(key)
	if keep {
		s.slots[key] = slot{weak: weak.Make(e), strong: e}
	} else {
		s.slots[key] = slot{weak: weak.Make(e)}
	}
	return e
}

// lookup gives the key's entry, nil if there is none.
func (t *table) lookup(key Key) *entry {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots[key].weak.Value()
}

// forget takes a dead entry's slot away, unless the key lives again.
func (s *shard) forget(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl, ok := s.slots[key]; ok && sl.weak.Value() == nil {
		delete(s.slots, key)
	}
}
