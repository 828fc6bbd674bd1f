package nutcracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Server is a running statistics port.
type Server struct {
	listener net.Listener
	gatherer prometheus.Gatherer
	pools    func() []Pool
	source   string
	log      *slog.Logger
	started  time.Time
	running  sync.WaitGroup
}

// Options of a Server.
type Options struct {
	Gatherer prometheus.Gatherer
	Pools    func() []Pool // of now: the configuration may change
	Source   string        // the host's name
	Log      *slog.Logger
}

// writeTime bounds the wait for a reader that does not read.
const writeTime = 5 * time.Second

// Listen binds address and serves.
func Listen(ctx context.Context, address string, o Options) (*Server, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("binding the statistics address %q: %w", address, err)
	}
	s := &Server{
		listener: ln, gatherer: o.Gatherer, pools: o.Pools, source: o.Source, log: o.Log, started: time.Now(),
	}
	s.running.Go(s.serve)
	return s, nil
}

// Addr is the address bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close stops serving.
func (s *Server) Close() {
	_ = s.listener.Close() // it was open
	s.running.Wait()
}

func (s *Server) serve() {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("statistics port", "error", err)
			time.Sleep(100 * time.Millisecond) // descriptors have run out, mostly
			continue
		}
		s.answer(c)
	}
}

// answer serves one reader at a time, as nutcracker does: the object fits the
// kernel's buffer.
func (s *Server) answer(c net.Conn) {
	defer c.Close()
	families, err := s.gatherer.Gather()
	if err != nil {
		s.log.Warn("gathering statistics", "error", err)
	}
	now := time.Now()
	h := Header{Source: s.source, Uptime: int64(now.Sub(s.started).Seconds()), Timestamp: now.Unix()}
	_ = c.SetWriteDeadline(now.Add(writeTime))          // fails only on a closed connection
	_, _ = c.Write(Append(nil, h, s.pools(), families)) // the reader is gone otherwise
}
