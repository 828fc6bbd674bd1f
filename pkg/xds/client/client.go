package client

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
)

// Client keeps one node's resources. Make it with New.
type Client struct {
	// read-only after construction
	opts Options
	file *diskset.File // nil: none

	// channels between the goroutines of Run
	events  chan event
	tries   chan *candidate // to the consumer
	outcome chan error      // from it
	writes  chan saved      // room for one: the newest set to write

	mu sync.Mutex // guards below

	machine  *machine
	link     *link     // open stream; nil: none
	away     time.Time // since when there is none
	failure  string
	failedAt time.Time
	diskErr  string
	connects uint64
	breaks   uint64 // streams that ended
}

// maxEvents bounds what is taken together, and so the memory of responses that
// have not been looked at yet.
const maxEvents = 8

// New checks the options. It starts nothing.
func New(o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts: o, machine: newMachine(o),
		events: make(chan event, maxEvents), tries: make(chan *candidate), outcome: make(chan error, 1), writes: make(chan saved, 1),
	}
	if o.CachePath != "" {
		c.file = &diskset.File{Path: o.CachePath, Max: o.MaxCacheBytes}
	}
	return c, nil
}

// Run speaks to control planes until ctx is done, and returns when all that it
// started has ended. Call it once. No failure of a control plane ends it.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	c.begin(time.Now())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { c.consume(ctx) })
	all.Go(func() { c.write(ctx) })
	all.Go(func() {
		conn := &connector{opts: &c.opts, events: c.events, pause: sleep}
		conn.run(ctx)
	})
	c.loop(ctx)
	return nil
}

func (c *Client) begin(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = now
}

// consume hands sets to the consumer, one at a time.
func (c *Client) consume(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case try := <-c.tries:
			c.outcome <- c.opts.Consumer.Apply(ctx, try.update)
		}
	}
}

// loop is where everything comes together.
func (c *Client) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wait := c.startDisk()
	defer wait.Stop()
	var try *candidate
	for {
		var tries chan<- *candidate
		if try != nil {
			tries = c.tries
		}
		select {
		case <-ctx.Done():
			return
		case e := <-c.events:
			c.handle(e)
		case err := <-c.outcome:
			if ctx.Err() != nil {
				return
			}
			c.applied(err)
		case tries <- try:
			try = nil
			continue
		case <-wait.C:
			c.useDisk()
		case <-timer.C:
		}
		if next := c.settle(timer); next != nil {
			try = next
		}
	}
}

// handle takes an event, and those that wait behind it, so that what came
// together is applied together.
func (c *Client) handle(first event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.event(first)
	for range cap(c.events) {
		select {
		case e := <-c.events:
			c.event(e)
		default:
			return
		}
	}
}

func (c *Client) event(e event) {
	switch now := time.Now(); {
	case e.opened != nil:
		c.link = e.opened
		c.connects++
		c.machine.opened(now, e.opened.server, e.opened.mode)
	case e.msg != nil:
		c.receive(e, now)
	case e.closed != nil:
		c.closed(e, now)
	}
}

func (c *Client) receive(e event, now time.Time) {
	if e.from != c.link {
		return
	}
	if !c.link.heard {
		c.link.heard = true
		c.opts.Log.Info("control plane answers", "server", c.link.server, "protocol", c.link.mode.String())
	}
	c.machine.receive(now, *e.msg)
}

func (c *Client) closed(e event, now time.Time) {
	if c.link != nil {
		c.breaks++
		c.away = now
	}
	c.link = nil
	c.failure, c.failedAt = e.closed.Error(), now
	c.machine.closed()
	c.opts.Log.Warn("no stream to the control plane", "server", e.server, "reason", c.failure)
}

// applied tells the machine how the set fared.
func (c *Client) applied(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.opts.Log.Error("resources refused, the old ones stay", "reason", err)
	}
	c.machine.done(time.Now(), err)
}

// settle works out what is to be done and does it, but for the set to try, which
// it returns.
func (c *Client) settle(timer *time.Timer) *candidate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.machine.tick(now)
	c.machine.settle(now)
	todo := c.machine.take()
	for _, n := range todo.refused {
		c.opts.Log.Error("response refused", "type", shortType(n.TypeURL), "version", n.Version, "reason", n.Reason)
	}
	for _, r := range todo.ignored {
		c.opts.Log.Warn("fields that this version does not know are ignored: the control plane is newer; each is named once", "resource", r.key.String(), "fields", r.fields)
	}
	for _, p := range todo.requests {
		c.link.send(p)
	}
	if todo.reopen && c.link != nil {
		c.link.cancel(errTellAnew)
	}
	if todo.persist && c.file != nil {
		c.save(now)
	}
	if at := c.machine.deadline(); at.IsZero() {
		timer.Stop()
	} else {
		timer.Reset(max(at.Sub(now), time.Millisecond))
	}
	return todo.start
}

// startDisk gives the time after which the file is used; it never comes when
// there is no file.
func (c *Client) startDisk() *time.Timer {
	if c.file == nil {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	if err := c.file.Tidy(); err != nil {
		c.opts.Log.Warn("tidying beside the set on disk", "path", c.file.Path, "error", err)
	}
	return time.NewTimer(c.opts.CacheWait)
}

// useDisk starts from the file, unless a control plane was faster.
func (c *Client) useDisk() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.machine.applied.ever || c.machine.attempt != nil {
		return
	}
	set, err := c.file.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.opts.Log.Info("no control plane has answered yet, and there is no set on disk", "path", c.file.Path)
		return
	case err == nil && set.Node != c.opts.Node.GetId():
		err = &nodeError{set.Node}
	}
	if err != nil {
		c.diskErr = err.Error()
		c.opts.Log.Error("the set on disk is ignored", "path", c.file.Path, "error", err)
		return
	}
	for _, err := range c.machine.load(time.Now(), set) {
		c.diskErr = err.Error()
		c.opts.Log.Error("a resource on disk is ignored", "path", c.file.Path, "error", err)
	}
	c.opts.Log.Warn("no control plane has answered yet, starting from the set on disk",
		"path", c.file.Path, "saved", set.Saved, "resources", len(set.Resources), "waited", c.opts.CacheWait.String())
}

// nodeError is about a file of another node.
type nodeError struct{ node string }

func (e *nodeError) Error() string { return "the file was written for node " + e.node }
