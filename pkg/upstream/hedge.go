package upstream

import (
	"context"
	"errors"
	"time"
)

// hedged asks peers one after the other until one gives a good answer, without
// waiting long for any: when a peer is silent for the pause, the next one is
// asked beside it.
func hedged[T any](ctx context.Context, c *cluster, peers []peer, pause time.Duration,
	ask func(context.Context, peer) (T, error),
) (T, error) {
	type result struct {
		answer T
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, len(peers)) // nobody waits to hand in an answer
	next, pending := 0, 0
	launch := func() {
		if next == len(peers) {
			return
		}
		p := peers[next]
		next++
		pending++
		c.env.spawn(func() {
			answer, err := ask(ctx, p)
			results <- result{answer, err}
		})
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var errs []error
	launch()
	for pending > 0 {
		select {
		case r := <-results:
			if r.err == nil {
				return r.answer, nil
			}
			pending--
			errs = append(errs, r.err)
			launch()
		case <-tick.C:
			launch()
		}
	}
	var none T
	return none, errors.Join(errs...)
}
