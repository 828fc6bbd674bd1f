package engine

import "context"

// Waiting is the number of pods that nodes wait for.
func (e *Engine) Waiting(ctx context.Context) int {
	n := 0
	e.do(ctx, func() { n = len(e.awaited) })
	return n
}
