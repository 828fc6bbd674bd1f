package redis

import "time"

// Clients keep times in tenths of a second since the loop has begun, to stay
// small.
const tenth = int64(100 * time.Millisecond)

func (w *worker) tenths() uint32 { return uint32(w.loop.Now() / tenth) }

// watchIdle closes idle clients from now on, as long as the filter is there.
func (f *localFilter) watchIdle() {
	limit := f.cfg.Limits.IdleTimeout
	if limit <= 0 {
		return
	}
	f.w.loop.After(max(limit/4, 10*time.Millisecond), func() {
		if f.w.filters[f.Filter] != f {
			return
		}
		now, longest := f.w.tenths(), uint32(int64(limit)/tenth)
		for c := range f.clients.All() {
			if now-c.lastIn > longest && c.idle() {
				f.stats.idleClients++
				c.drop()
			}
		}
		f.watchIdle()
	})
}

// idle reports whether the client waits for nothing: not for a reply, nor for
// what a server may say unasked.
func (c *client) idle() bool {
	if c.ring.len() > 0 || c.conn.Buffered() > 0 {
		return false
	}
	if c.x == nil {
		return true
	}
	_, piped := c.x.mode.(*pipe)
	return c.x.subs == nil && c.x.session == nil && c.x.upload == nil && !piped
}
