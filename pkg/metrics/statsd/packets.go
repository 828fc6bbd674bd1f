package statsd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
)

// batch is how many datagrams are read at once.
const batch = 64

// packetSocket is one on which datagrams arrive.
type packetSocket struct {
	// read-only after construction
	source *Source
	socket *mmsg.Socket
	unix   bool

	drops   uint32 // of the kernel, as counted so far; guarded by Source.mu
	unknown bool   // the kernel does not tell; guarded by Source.mu
}

// servePackets reads datagrams until ctx is done.
func (s *Source) servePackets(ctx context.Context, socket *mmsg.Socket) {
	address := socket.LocalAddr()
	if size := s.config.ReadBuffer; size > 0 {
		if err := socket.SetReadBuffer(size); err != nil {
			s.log.Warn("StatsD: the read buffer stays as it is", "address", address.String(), "bytes", size, "error", err)
		}
	}
	p := &packetSocket{source: s, socket: socket, unix: address.Network() == "unixgram"}
	p.drops = s.inherit(ctx)
	s.follow(p)
	defer s.leave(ctx, p)
	if err := socket.Serve(ctx, batch, p.deliver); err != nil {
		s.log.Error("StatsD: reading datagrams has ended", "address", address.String(), "error", err)
	}
}

// deliver hands a batch to the store.
func (p *packetSocket) deliver(r *mmsg.Reader, n int, at time.Time) {
	now := clock(at)
	store := p.source.store.Load()
	store.mu.Lock()
	defer store.mu.Unlock()
	if p.unix {
		store.stats.UnixDatagrams += uint64(n)
	} else {
		store.stats.Datagrams += uint64(n)
	}
	for i := range n {
		b, truncated := r.Datagram(i)
		if truncated {
			store.stats.Truncated++
			b = b[:bytes.LastIndexByte(b, '\n')+1] // the last line could mean something else
		}
		store.packet(b, now)
	}
}

// countDropsLocked adds what the kernel dropped since the last time. The caller holds
// the source's lock.
func (p *packetSocket) countDropsLocked(log *slog.Logger) {
	if p.unknown {
		return
	}
	drops, err := p.socket.Drops()
	switch {
	case errors.Is(err, os.ErrClosed):
		return
	case err != nil:
		p.unknown = true
		log.Warn("StatsD: datagrams that the kernel drops can't be counted", "error", err)
		return
	}
	store := p.source.store.Load()
	store.mu.Lock()
	store.stats.KernelDrops += uint64(drops - p.drops) // it wraps around
	store.mu.Unlock()
	p.drops = drops
}
