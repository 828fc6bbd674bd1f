package client

// Retry has the Consumer try again what it refused, because something beside the
// resources may have changed: a port that was taken may be free. It may be called
// at any time, from any goroutine.
func (c *Client) Retry() {
	c.mu.Lock()
	c.machine.retry()
	c.mu.Unlock()
	select {
	case c.events <- event{}: // nothing but a reason to look
	default: // there are enough
	}
}
