package mmsg

import "time"

// Gather is what decides about pauses, for batches of a size.
func Gather(most time.Duration, batch int) func(n int, now int64) (pause time.Duration, more bool) {
	g := gatherer{most: most, pause: shortestPause}
	return func(n int, now int64) (time.Duration, bool) { return g.next(n, batch, now) }
}
