package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/tail"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Options of a Pipeline.
type Options struct {
	Config *resource.LogsFilter
	Sink   sink.Sink
	// Host is what is said of all records of this process: pod, namespace, node.
	Host    map[string]string
	Metrics *Counters
	Log     *slog.Logger
}

// Pipeline is one adapter that runs. It is started once and stopped once.
type Pipeline struct {
	// read-only after construction
	o         Options
	sources   map[string]*source
	full      chan *batch
	free      chan *batch
	drain     chan struct{} // closed when what is there is to be read to its end
	positions *tail.Positions
	tailer    *tail.Tailer

	unsavable atomic.Bool // the last try to save positions failed

	stop context.CancelFunc
	done sync.WaitGroup
	end  sync.Once

	reader reader // of the reading goroutine
	sender sender // of the sending one
}

// batches is how many there are: one that is filled, one that waits and one that
// is being sent.
const batches = 3

const (
	// pollTime is between looks at files without a notification.
	pollTime     = time.Second
	saveInterval = time.Second
	// saveBytes bounds what comes again after a crash, beside the batches.
	saveBytes = 16 << 20
)

// batch is records with how far the files have been read for them.
type batch struct {
	sink.Batch
	marks []tail.Mark
	began time.Time
}

// New makes a pipeline that does not run yet. The error says what is wrong with
// the configuration.
func New(o Options) (*Pipeline, error) {
	p := &Pipeline{
		o: o, sources: map[string]*source{}, full: make(chan *batch, 1), free: make(chan *batch, batches), drain: make(chan struct{}),
	}
	for i := range o.Config.Sources {
		s, err := newSource(o.Config, &o.Config.Sources[i], o.Metrics)
		if err != nil {
			return nil, fmt.Errorf("sources[%d] (%s): %w", i, o.Config.Sources[i].Name, err)
		}
		p.sources[s.config.Name] = s
	}
	for range batches {
		p.free <- &batch{}
	}
	return p, nil
}

// Start runs it. before is the pipeline in whose place it comes, which has been
// stopped, or nil: its files stay open, and are read on from what was delivered.
func (p *Pipeline) Start(before *Pipeline) {
	p.loadPositions(before)
	config := p.o.Config
	o := tail.Options{
		MaxLine: config.MaxLine, MaxFiles: config.MaxFiles, Rest: config.Rest, Poll: pollTime, Positions: p.positions, Log: p.o.Log,
	}
	for i := range config.Sources {
		s := &config.Sources[i]
		o.Sources = append(o.Sources, tail.Source{Name: s.Name, Paths: s.Paths, Exclude: s.Exclude, FromEnd: s.FromEnd})
	}
	p.reader = reader{p: p, batch: <-p.free}
	p.tailer = tail.New(o, &p.reader)
	if before != nil {
		p.tailer.Adopt(before.tailer)
	}
	p.positions.Forget(func(name string) bool { return p.sources[name] != nil })
	p.sender = sender{p: p, saved: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.done.Go(func() { p.reader.run(ctx) })
	p.done.Go(func() { p.sender.run(ctx) })
}

// loadPositions takes those of the pipeline before, if it had the same file. What
// is wrong with the file is no reason not to ship: it is said, and the sources
// begin as for the first time.
func (p *Pipeline) loadPositions(before *Pipeline) {
	if before != nil && before.o.Config.Positions == p.o.Config.Positions {
		p.positions = before.positions
		return
	}
	var err error
	if p.positions, err = tail.LoadPositions(p.o.Config.Positions, p.o.Log); err != nil {
		p.o.Metrics.PositionErrors.Inc()
		p.o.Log.Error("files are read as if for the first time", "error", err)
	}
}

// savePositions writes them. If it cannot, shipping goes on: what is on disk is older
// than what is true, and so some records would come again. That is said once, and
// tried again at each tick.
func (p *Pipeline) savePositions() {
	if err := p.positions.Save(); err != nil {
		p.o.Metrics.PositionErrors.Inc()
		if !p.unsavable.Swap(true) {
			p.o.Log.Warn("positions could not be saved; after a crash some records would come again", "error", err)
		}
	} else if p.unsavable.Swap(false) {
		p.o.Log.Info("positions are saved again")
	}
}

// Stop ends it at once, and waits for that. What is not delivered will be read
// again. The files stay open for a successor; Close closes them.
func (p *Pipeline) Stop() {
	p.end.Do(func() {
		p.stop()
		p.done.Wait()
		p.sender.save()
		if err := p.o.Sink.Close(); err != nil {
			p.o.Log.Warn("closing the sink", "error", err)
		}
	})
}

// Close closes the files, after Stop, where there is no successor.
func (p *Pipeline) Close() { p.tailer.Close() }

// ErrUndelivered says that some records were not taken before the time was over.
// They will be read again.
var ErrUndelivered = errors.New("not all log records were delivered")

// Drain reads all files to their end, has it delivered, and stops.
func (p *Pipeline) Drain(ctx context.Context) error {
	over := make(chan struct{})
	go func() {
		defer close(over)
		p.done.Wait()
	}()
	close(p.drain)
	var err error
	select {
	case <-over:
	case <-ctx.Done():
		err = ErrUndelivered
	}
	p.Stop()
	<-over
	return err
}

// Lag is how many bytes of each source have not been delivered yet.
func (p *Pipeline) Lag() map[string]int64 { return p.positions.Lag() }
