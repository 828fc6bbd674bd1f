package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// load is what clients ask while something changes. None of it may fail.
type load struct {
	r      *running
	wg     sync.WaitGroup
	over   atomic.Bool
	count  atomic.Int64 // requests that were answered
	failed atomic.Value // what came of the first that was not
}

// load has four clients set one key after the other at a port.
func (r *running) load(port int) *load {
	r.t.Helper()
	l := &load{r: r}
	for i := range 4 {
		client := redistest.Dial(r.t, local(port))
		l.wg.Go(func() {
			for n := 0; !l.over.Load(); n++ {
				if got, err := client.TryDo("SET", fmt.Sprintf("k%d-%d", i, n), "v"); got != "+OK\r\n" {
					l.failed.Store(fmt.Sprintf("%q, %v", got, err))
					return
				}
				l.count.Add(1)
			}
		})
	}
	return l
}

// goesOn waits until more requests have been answered.
func (l *load) goesOn() {
	l.r.t.Helper()
	before := l.count.Load()
	l.r.eventually("requests to go on", func() error {
		if n := l.count.Load() - before; n < 10 && l.failed.Load() == nil {
			return fmt.Errorf("%d since the change", n)
		}
		return nil
	})
}

// end ends it, and says what has failed.
func (l *load) end() {
	l.r.t.Helper()
	l.over.Store(true)
	l.wg.Wait()
	if got := l.failed.Load(); got != nil {
		l.r.t.Errorf("a request failed: %v\n%s", got, l.r.log)
	}
}

// closes waits until nobody listens on a port.
func (r *running) closes(port int) {
	r.t.Helper()
	r.eventually("the port to be closed", func() error {
		c, err := net.Dial("tcp", local(port))
		if err == nil {
			_ = c.Close()
			return errors.New("still open")
		}
		return nil
	})
}
