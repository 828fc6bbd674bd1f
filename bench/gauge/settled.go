package gauge

import (
	"context"
	"time"
)

// Settled waits until a process's memory, as size tells it, has not changed for
// half a second, at most five seconds, and returns it.
func Settled(ctx context.Context, pid int, size func(pid int) (int64, error)) (int64, error) {
	const step = 100 * time.Millisecond
	last, err := size(pid)
	if err != nil {
		return 0, err
	}
	for same, tries := 0, 0; same < 5 && tries < 50; tries++ {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(step):
		}
		now, err := size(pid)
		if err != nil {
			return 0, err
		}
		same++
		if now != last {
			same, last = 0, now
		}
	}
	return last, nil
}
