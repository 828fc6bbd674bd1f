package h2

import (
	"errors"
	"time"
)

// Floods are limits of what a client may send that costs it less than it costs
// the server. They are those of Envoy's Http2ProtocolOptions; 0 means Envoy's
// default, and what is negative none at all.
type Floods struct {
	Outbound      int // frames that wait for a client that does not read
	Control       int // of these, those that are no part of a response
	Empty         int // frames without content that end nothing, one after the other
	Priority      int // PRIORITY frames for each stream
	WindowUpdates int // WINDOW_UPDATE frames for each DATA frame that was sent
}

func (f Floods) orDefaults() Floods {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
		*v = max(*v, 0)
	}
	set(&f.Outbound, 10_000)
	set(&f.Control, 1_000)
	set(&f.Empty, 1)
	set(&f.Priority, 100)
	set(&f.WindowUpdates, 10)
	return f
}

// ErrFlood is a client that makes the server work for nothing.
var ErrFlood = errors.New("the client floods the connection")

// Streams that end without a response, because the client resets them or makes an
// error, are bounded: so many at once, and so many a second. A response gives one
// back.
const (
	resetsAtOnce    = 1000
	resetsPerSecond = 33
)

// guard counts what may be a flood. It belongs to the reader, but for what is
// said.
type guard struct {
	empty, priorities, updates int

	resets float64   // left; guarded by the connection's mu
	at     time.Time // when resets was worked out; guarded by the connection's mu
}

// blank counts a frame that may be without content and ends nothing. It tells
// whether that is too many.
func (g *guard) blank(size int, ends bool, limit int) bool {
	if size > 0 || ends {
		g.empty = 0
		return false
	}
	g.empty++
	return g.empty > limit
}

// wasted counts a stream that has ended without a response. It tells whether that
// is too many.
func (g *guard) wasted(now time.Time) bool {
	g.resets = min(resetsAtOnce, g.resets+now.Sub(g.at).Seconds()*resetsPerSecond)
	g.at = now
	g.resets--
	return g.resets < 0
}

// worth counts a stream that has ended with its response.
func (g *guard) worth() { g.resets = min(resetsAtOnce, g.resets+1) }
