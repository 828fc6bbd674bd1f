package statsd

import (
	"context"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
)

// legacy is what a source leaves to the one that gets its socket next.
type legacy struct {
	store *store
	drops uint32 // of the kernel, counted so far
}

// Moved implements [sockets.Moving]: another socket begins to count its drops.
func (l legacy) Moved() any { return legacy{store: l.store} }

// inherit takes over what the one before left with a socket, and returns how
// many drops of it were counted. With the socket comes the store: what it
// counted goes on. Several sockets leave the same one.
func (s *Source) inherit(ctx context.Context) uint32 {
	left, ok := sockets.Found(ctx).(legacy)
	if !ok {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.Load() != left.store {
		left.store.handOver(s.config.Options)
		s.store.Store(left.store)
	}
	return left.drops
}

// handOver makes the store that of a source with other options.
func (s *store) handOver(o Options) {
	s.gathering.Lock() // by the one before, which may be asked still
	defer s.gathering.Unlock()
	s.gathered = gathered{}
	o = o.withDefaults()
	s.mu.Lock()
	s.options = o
	s.renew()
	s.mu.Unlock()
	s.remap(o.Mapping)
}

// follow has the drops of a socket counted.
func (s *Source) follow(p *packetSocket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets[p] = struct{}{}
}

// leave counts them for the last time, and leaves the store to whoever comes.
func (s *Source) leave(ctx context.Context, p *packetSocket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.countDropsLocked(s.log)
	delete(s.packets, p)
	sockets.Leave(ctx, legacy{store: s.store.Load(), drops: p.drops})
}

func (s *Source) countDrops() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.packets {
		p.countDropsLocked(s.log)
	}
}
