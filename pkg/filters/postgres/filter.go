package postgres

import (
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Filter serves one listener in one configuration.
type Filter struct {
	// read-only after construction
	*database.Filter
	b      *Builder
	conf   *resource.PostgresFilter
	budget *budget // of the pool; nil: there is none

	mu       sync.Mutex // guards below
	verifier verifier
}

// local is what a filter has on one loop besides sessions. Only the loop's
// goroutine uses it.
type local struct {
	*database.Part
	filter *Filter
	pool   *pool // nil until a session needs it
}

// localOf returns what a part has of this protocol.
func localOf(p *database.Part) *local { return p.Own.(*local) }

// Accept implements filters.Network.
func (f *Filter) Accept(c *netloop.Conn) netloop.Driver {
	s := &session{b: f.b}
	f.Join(&s.Session, s, c)
	s.greet()
	return (*greeter)(s)
}

// Refusal is what a client above the listener's own limit is told.
func (*Filter) Refusal() []byte {
	return fatal(stateTooMany, "dragoman: too many connections at this listener", "")
}

// Retire implements database.LoopPart.
func (l *local) Retire(next *database.Part) { l.releasePool(next) }

// Review implements database.LoopPart.
func (l *local) Review(deadline time.Duration) {
	if l.pool != nil {
		l.pool.review(deadline)
	}
}

// Reconsider implements database.LoopPart.
func (l *local) Reconsider() {
	if l.pool != nil {
		l.pool.reconsider()
	}
}

// sameTarget reports whether a session of l could as well be one of other.
func (l *local) sameTarget(other *local) bool {
	a, b := l.filter.conf.Pool, other.filter.conf.Pool
	return l.SameTarget(other.Filter) && (a == nil) == (b == nil) && (a == nil || a.Session == b.Session)
}
