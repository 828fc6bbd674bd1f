package netloop

import "sync"

// handshake is the meeting place of the loop and the handshake's goroutine.
type handshake struct {
	mu    sync.Mutex
	more  sync.Cond // mu: in has grown or ended is set
	in    []byte
	out   []byte
	ended error
}

// read waits for input, on the handshake's goroutine.
func (h *handshake) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.in) == 0 {
		if h.ended != nil {
			return 0, h.ended
		}
		h.more.Wait()
	}
	n := copy(b, h.in)
	h.in = h.in[n:]
	return n, nil
}

// write hands output to the loop, on the handshake's goroutine.
func (h *handshake) write(b []byte, m *memConn) (int, error) {
	h.mu.Lock()
	first := len(h.out) == 0
	h.out = append(h.out, b...)
	h.mu.Unlock()
	if first && !m.l.Post(func() { m.c.rare.tls.pump(m.c) }) {
		return 0, ErrStopped
	}
	return len(b), nil
}

// feed adds input.
func (h *handshake) feed(b []byte) {
	h.mu.Lock()
	h.in = append(h.in, b...)
	h.more.Signal()
	h.mu.Unlock()
}

// end says that no input follows.
func (h *handshake) end(err error) {
	h.mu.Lock()
	if h.ended == nil {
		h.ended = err
	}
	h.more.Signal()
	h.mu.Unlock()
}

// room says whether more input may be taken for now.
func (h *handshake) room() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.in) < handshakeAhead
}

// take moves the output to q.
func (h *handshake) take(l *Loop, q *Chain) {
	h.mu.Lock()
	q.Append(l, h.out)
	h.out = h.out[:0]
	h.mu.Unlock()
}
