package logs

import (
	"context"
	"log/slog"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/logs"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// filter is the pipeline of one listener. It implements filters.Starter.
type filter struct {
	// read-only after construction
	builder  *Builder
	listener string
	pipeline *logs.Pipeline
	sink     sink.Sink
	log      *slog.Logger

	mu    sync.Mutex
	state state // guarded by mu
}

type state uint8

const (
	built state = iota
	running
	over
)

// Accept implements filters.Network. Nobody can connect to an internal listener.
func (f *filter) Accept(c *netloop.Conn) netloop.Driver {
	c.Close()
	return nil
}

// Start implements filters.Starter.
func (f *filter) Start() { f.start(nil) }

func (f *filter) start(before *logs.Pipeline) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != built {
		if before != nil {
			before.Close()
		}
		return // it was retired meanwhile
	}
	f.state = running
	f.pipeline.Start(before)
	f.builder.running.Add(f)
}

// Retire implements filters.Network. A successor takes over the files.
func (f *filter) Retire(r filters.Retirement) {
	go func() {
		defer r.Done()
		was := f.end()
		next, _ := r.Next.(*filter)
		switch {
		case was != running && next != nil:
			next.start(nil)
		case was == built:
			if err := f.sink.Close(); err != nil {
				f.log.Warn("closing a sink", "error", err)
			}
		case was != running:
		case next != nil:
			f.pipeline.Stop()
			next.start(f.pipeline)
		default:
			f.pipeline.Stop()
			f.pipeline.Close()
		}
	}()
}

// end makes it one that is over, and says what it was.
func (f *filter) end() state {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.state
	f.state = over
	f.builder.running.Remove(f)
	return was
}

// drain delivers what there is, and ends.
func (f *filter) drain(ctx context.Context) error {
	if f.end() != running {
		return nil
	}
	err := f.pipeline.Drain(ctx)
	f.pipeline.Close()
	return err
}
