package statsd

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/mappingfile"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// DefaultMaxConnections is how many connections a source has at once.
const DefaultMaxConnections = 1000

// Config is what a source is made of.
type Config struct {
	UDP, TCP, Unixgram string // "IP:port", or a path; "" for none
	UnixgramMode       fs.FileMode
	ReadBuffer         int           // bytes, of UDP and unixgram; 0: as the system has it
	MaxConnections     int           // 0: DefaultMaxConnections
	IdleTimeout        time.Duration // of a connection; 0: none
	Relay              Relay
	MappingFile        string            // is read again when it changes; "": Options.Mapping
	Mapping            *mappingfile.Live // MappingFile, if it has been opened: what it had is Options.Mapping
	Options            Options
}

// Source takes lines of StatsD, and has what they come to.
type Source struct {
	// read-only after construction
	config  Config // but for Options.Mapping, which mu guards
	log     *slog.Logger
	buffers *sync.Pool // of *[readSize]byte
	leases  []*sockets.Lease
	relay   *relay // nil: none

	// store is this source's, or the one of the source that it replaced.
	store atomic.Pointer[store]

	mu      sync.Mutex
	packets map[*packetSocket]struct{} // that are read, guarded by mu
	file    *mappingfile.Live          // nil: none; what it points to is guarded by mu
}

// New makes the source of a resource, and binds its sockets.
func New(cfg *resource.StatsDSource, env metrics.Env) (*Source, error) {
	c := Config{
		UDP: cfg.UDP, TCP: cfg.TCP, Unixgram: cfg.Unixgram, UnixgramMode: cfg.UnixgramMode, ReadBuffer: cfg.ReadBuffer, MappingFile: cfg.Mapping.File,
		Relay:          Relay{Target: cfg.Relay, Packet: cfg.RelayPacket},
		MaxConnections: cfg.MaxConnections, IdleTimeout: cfg.IdleTimeout,
		Options: Options{MaxSeries: env.MaxSeries, TTL: cfg.TTL, Styles: cfg.Styles},
	}
	if text := cfg.Mapping.Text; text != "" {
		file, errs := mapping.Parse("mapping", []byte(text))
		if err := errs.Err(); err != nil {
			return nil, err
		}
		c.Options.Mapping = file
	}
	return Open(c, env)
}

// Open makes a source, and binds its sockets. Of env it uses the sockets and the
// log.
func Open(c Config, env metrics.Env) (*Source, error) {
	if c.MaxConnections <= 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	s := &Source{
		config: c, log: env.Log, packets: map[*packetSocket]struct{}{},
		buffers: &sync.Pool{New: func() any { return new([readSize]byte) }},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.file = c.Mapping
	if s.file == nil && c.MappingFile != "" {
		var err error
		if s.file, s.config.Options.Mapping, err = mappingfile.Open(c.MappingFile); err != nil {
			return nil, err
		}
	}
	if c.Relay.Target != "" {
		s.relay = newRelay(c.Relay, s.log)
		s.config.Options.Tee = s.relay.line
	}
	s.store.Store(newStore(s.config.Options))
	if err := s.listen(env.Sockets); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Source) listen(pool *sockets.Pool) error {
	add := func(l *sockets.Lease, err error) error {
		if err == nil {
			s.leases = append(s.leases, l)
		}
		return err
	}
	if s.config.UDP != "" {
		if err := add(pool.Packets("udp", s.config.UDP, s.servePackets)); err != nil {
			return err
		}
	}
	if s.config.TCP != "" {
		if err := add(pool.Stream("tcp", s.config.TCP, s.serveStream)); err != nil {
			return err
		}
	}
	if path := s.config.Unixgram; path != "" {
		if err := add(pool.Packets("unixgram", path, s.servePackets)); err != nil {
			return err
		}
		return sockets.SetMode(path, s.config.UnixgramMode)
	}
	return nil
}

// Leases are the source's sockets, in the order udp, tcp, unixgram as far as it
// has them.
func (s *Source) Leases() []*sockets.Lease { return s.leases }

// Gather implements metrics.Source. Families, their metrics and labels stay the
// same objects from one call to the next, as long as the series live; only
// values change. So whoever encodes them may keep what it made of a *dto.Metric's
// labels as long as it gets that pointer again. Families are sorted by name, and
// metrics as client_golang sorts them. With 10,000 counters it takes a fraction
// of a millisecond.
func (s *Source) Gather(context.Context) ([]*dto.MetricFamily, error) {
	err := s.Refresh()
	s.countDrops()
	return s.store.Load().gather(clock(time.Now())), err
}

// Stats returns what has happened so far.
func (s *Source) Stats() Stats {
	s.countDrops()
	store := s.store.Load()
	store.mu.Lock()
	defer store.mu.Unlock()
	stats := store.stats
	stats.Mappings = len(store.options.Mapping.Rules)
	return stats
}

// Conflicts counts samples whose name has another type. Names beyond the first
// thousand are only in Stats.
func (s *Source) Conflicts() map[Conflict]uint64 {
	store := s.store.Load()
	store.mu.Lock()
	defer store.mu.Unlock()
	return maps.Clone(store.conflict)
}

// Losses implements metrics.Accountant.
func (s *Source) Losses() map[string]uint64 {
	stats := s.Stats()
	losses := stats.losses()
	if relayed, ok := s.RelayStats(); ok {
		losses["not_relayed"] = relayed.Dropped + relayed.Long
	}
	return losses
}

// Close implements metrics.Source. What the source has goes to the one that
// waits for its sockets.
func (s *Source) Close() error {
	var errs []error
	for _, l := range s.leases {
		errs = append(errs, l.Close())
	}
	s.relay.close() // no line comes any more
	return errors.Join(errs...)
}

func (s *Source) count(f func(*Stats)) {
	store := s.store.Load()
	store.mu.Lock()
	defer store.mu.Unlock()
	f(&store.stats)
}
