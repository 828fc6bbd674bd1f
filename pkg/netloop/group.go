package netloop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const judgeEvery = time.Second

// GroupOptions say how many loops, and what each is like.
type GroupOptions struct {
	// Loops is fixed, or 0: one loop takes connections, and another joins only
	// when those active have been saturated for three seconds and another CPU is
	// there. Where one loop suffices a second costs 10 to 45 % more CPU, because
	// batches shrink; so it takes no more connections once it is not needed.
	Loops int
	Loop  Options // of each; Name and ID get the index added
}

// Group is a set of loops that share listeners.
type Group struct {
	loops  []*Loop // read-only after construction
	active atomic.Int32
	fixed  bool

	done  chan struct{} // closed by Stop
	once  sync.Once
	wg    sync.WaitGroup
	mu    sync.Mutex
	fails []error
}

// NewGroup makes the loops; [Group.Start] runs them.
func NewGroup(o GroupOptions) (*Group, error) {
	n := o.Loops
	if n <= 0 {
		n = usableCPUs()
	}
	g := &Group{done: make(chan struct{}), fixed: o.Loops > 0}
	for i := range n {
		lo := o.Loop
		lo.Name = fmt.Sprintf("%s%d", lo.Name, i)
		lo.ID += uint16(i)
		l, err := New(lo)
		if err != nil {
			for _, l := range g.loops {
				l.Stop()
			}
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	g.active.Store(1)
	if g.fixed {
		g.active.Store(int32(n))
	}
	return g, nil
}

// Loops returns all loops, active or not.
func (g *Group) Loops() []*Loop { return g.loops }

// Active returns how many loops take new connections.
func (g *Group) Active() int { return int(g.active.Load()) }

// Start runs the loops. A loop that waits holds its processor, so that there
// must be one more for everything else: GOMAXPROCS is raised if need be.
func (g *Group) Start() {
	raiseProcs(g.Active() + 1)
	for _, l := range g.loops {
		g.wg.Go(func() {
			if err := l.Run(); err != nil && !errors.Is(err, ErrStopped) {
				g.mu.Lock()
				g.fails = append(g.fails, fmt.Errorf("event loop %q: %w", l.Name(), err))
				g.mu.Unlock()
			}
		})
	}
	if !g.fixed && len(g.loops) > 1 {
		g.wg.Go(g.watch)
	}
}

// Stop stops all loops, which closes their connections, and waits for them. It
// returns what made loops fail, if anything did.
func (g *Group) Stop(ctx context.Context) error {
	g.once.Do(func() {
		close(g.done)
		for _, l := range g.loops {
			l.Stop()
		}
	})
	ended := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.fails...)
}

// pick returns the active loop with the fewest clients.
func (g *Group) pick() *Loop {
	best := g.loops[0]
	for _, l := range g.loops[1:g.active.Load()] {
		if l.open[Downstream].Load() < best.open[Downstream].Load() {
			best = l
		}
	}
	return best
}

// watch lets loops join and leave as the judge says.
func (g *Group) watch() {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	j := judge{most: len(g.loops)}
	last := make([]int64, len(g.loops))
	at, used := time.Now(), processCPU()
	for {
		select {
		case <-g.done:
			return
		case <-tick.C:
		}
		wall, cpu := time.Since(at), processCPU()-used
		at, used = at.Add(wall), used+cpu
		active := g.Active()
		busy := make([]time.Duration, active)
		for i, l := range g.loops {
			now := l.busy.Load()
			if i < active {
				busy[i] = time.Duration(now - last[i])
			}
			last[i] = now
		}
		if n := j.next(busy, cpu, wall); n != active {
			raiseProcs(n + 1)
			g.active.Store(int32(n))
		}
	}
}

func raiseProcs(n int) {
	if runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
}
