package h2

import (
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
)

// stream is one request with its response.
type stream struct {
	// read-only after construction
	c      *conn
	id     uint32
	cancel context.CancelFunc
	in     chan struct{} // what is read from has changed; holds one
	more   chan struct{} // there may be room to write; holds one
	body   requestBody
	w      response

	// guarded by the connection's mu
	closed bool  // it is none of the connection's streams any more
	gone   error // nothing can be written any more
	over   bool  // nobody reads any more

	content  content
	inEnded  bool  // the client has sent everything
	inErr    error // nothing more will come
	inWindow int
	inCredit int
	declared int64 // Content-Length; -1: none
	received int64
	trailer  http.Header
	readTill time.Time

	outWindow int64
	waiting   bool // it is one of the connection's waiting
	writeTill time.Time
}

// newStream makes a stream with the request that a header block is; nil where its
// target is none.
func newStream(c *conn, b *block) (*stream, *http.Request) {
	ctx, cancel := context.WithCancel(c.request.Context())
	r := b.request(c.request.WithContext(ctx))
	if r == nil {
		cancel()
		return nil, nil
	}
	s := &stream{
		c: c, id: b.id, cancel: cancel, in: make(chan struct{}, 1), more: make(chan struct{}, 1),
		inEnded: b.ended, inWindow: int(c.server.o.StreamWindow), declared: b.length,
	}
	s.body.s = s
	s.w.s, s.w.declared = s, -1
	s.w.method, s.w.header = r.Method, make(http.Header, 8)
	if !b.ended {
		s.body.expect, s.body.trailer = b.expect, h1.AnnouncedTrailers(r.Header)
		r.Body, r.ContentLength, r.Trailer = &s.body, b.length, s.body.trailer
	}
	return s, r
}

// failLocked tells the handler that the stream is gone.
func (s *stream) failLocked(err error) {
	if s.gone == nil {
		s.gone = err
	}
	if s.inErr == nil && !s.inEnded {
		s.inErr = err
	}
	s.cancel()
	s.c.cutLocked(s)
	signal(s.in)
	signal(s.more)
}

// doneLocked tells whether the stream waits for its client no more.
func (s *stream) doneLocked() bool {
	return s.gone != nil || !s.writeTill.IsZero() && time.Until(s.writeTill) <= 0
}

// closeLocked forgets a stream. ours: it ended with a reset of the server's own,
// which the client may not have seen when it sends on.
func (s *stream) closeLocked(ours bool) {
	if s.closed {
		return
	}
	s.closed = true
	if s.gone == nil {
		s.gone = ErrClientReset
	}
	c := s.c
	delete(c.streams, s.id)
	c.recent.add(s.id, ours)
	c.settleLocked()
}

// sleepLocked waits for a channel, for wait at most, 0 means no bound, and until a
// time; zero: no such time. It tells whether it was the channel. mu is released
// meanwhile.
func (s *stream) sleepLocked(on <-chan struct{}, wait time.Duration, till time.Time) bool {
	if !till.IsZero() {
		left := time.Until(till)
		if left <= 0 {
			return false
		}
		if wait <= 0 || left < wait {
			wait = left
		}
	}
	s.c.mu.Unlock()
	defer s.c.mu.Lock()
	if wait <= 0 {
		<-on
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-on:
		return true
	case <-t.C:
		return false
	}
}

// handle calls the handler; false: it has given up.
func (s *stream) handle(r *http.Request) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			ok = false // the handler's owner has reported it
		}
	}()
	s.c.server.handler.ServeHTTP(&s.w, r)
	return true
}

// run has a request answered.
func (s *stream) run(r *http.Request) {
	ok := s.handle(r) && s.w.end()
	s.cancel()
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	s.over = true
	c.creditLocked(s.content.drop())
	signal(s.in)
	if s.closed {
		c.flushLocked(s)
		return
	}
	switch {
	case !ok:
		_ = c.resetLocked(s, http2.ErrCodeInternal) // who floods is found out by the reader
	case !s.inEnded:
		_ = c.resetLocked(s, http2.ErrCodeNo) // the rest of the body is not wanted, RFC 9113 section 8.1
	default:
		s.closeLocked(false)
	}
	if !ok {
		c.kick() // the client may be one that does not read
		return
	}
	c.guard.worth()
	c.flushLocked(nil)
}

// requestBody is a request's body. It may be read by one goroutine at a time, also
// by another than the handler's.
type requestBody struct {
	s       *stream
	mu      sync.Mutex  // held by who reads
	trailer http.Header // of the request; guarded by mu
	expect  bool        // the client waits for "100 Continue"; guarded by mu
}

// Read implements io.Reader. The first read says "100 Continue". Only the handler
// knows how long a client may be silent, to which it may be writing meanwhile.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if b.expect {
		b.expect = false
		s.w.proceedLocked()
	}
	for {
		switch {
		case s.over:
			return 0, ErrBodyOver
		case !s.readTill.IsZero() && time.Until(s.readTill) <= 0:
			return 0, os.ErrDeadlineExceeded
		case s.content.size > 0:
			return b.takeLocked(p)
		case s.inEnded:
			b.endLocked()
			return 0, io.EOF
		case s.inErr != nil:
			return 0, s.inErr
		case len(p) == 0:
			return 0, nil
		}
		if !s.sleepLocked(s.in, 0, s.readTill) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// Pending says that reading on would not block.
func (b *requestBody) Pending() bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	s := b.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return !b.expect && (s.content.size > 0 || s.inEnded)
}

// takeLocked gives what is there, and lets the client send as much again.
func (b *requestBody) takeLocked(p []byte) (int, error) {
	s := b.s
	n := s.content.take(p)
	c := s.c
	said := c.creditLocked(n)
	if !s.inEnded {
		if s.inCredit += n; s.inCredit >= int(c.server.o.StreamWindow/4) {
			c.windowLocked(s.id, uint32(s.inCredit))
			s.inWindow += s.inCredit
			s.inCredit, said = 0, true
		}
	}
	if said {
		c.flushLocked(s)
	}
	if s.inEnded && s.content.size == 0 {
		b.endLocked()
		return n, io.EOF
	}
	return n, nil
}

// endLocked gives the trailers to the request.
func (b *requestBody) endLocked() {
	maps.Copy(b.trailer, b.s.trailer)
	b.s.trailer = nil
}

// Close implements io.Closer. What is left is not wanted.
func (b *requestBody) Close() error {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b.s.over = true
	if c.creditLocked(b.s.content.drop()) {
		c.flushLocked(b.s)
	}
	signal(b.s.in)
	return nil
}

// arrivedLocked takes what the client has sent of a body. It gives the part of the
// connection's window back that nobody will read.
func (s *stream) arrivedLocked(p []byte, padding int, end bool) error {
	c := s.c
	n := len(p) + padding
	if n > s.inWindow {
		c.creditLocked(n)
		return reset(s.id, http2.ErrCodeFlowControl, nil)
	}
	s.inWindow -= n
	s.received += int64(len(p))
	if s.declared >= 0 && (s.received > s.declared || end && s.received != s.declared) {
		c.creditLocked(n)
		return reset(s.id, http2.ErrCodeProtocol, &malformed{"its body has another length than Content-Length says"})
	}
	if s.over {
		c.creditLocked(n)
	} else {
		s.content.add(p)
		c.creditLocked(padding)
		s.inCredit += padding
	}
	if end {
		s.inEnded = true
	}
	signal(s.in)
	return nil
}

// recent remembers the streams that have ended last.
type recent struct {
	list [128]struct {
		id   uint32
		ours bool // the server has reset it
	}
	next int
}

func (r *recent) add(id uint32, ours bool) {
	at := &r.list[r.next%len(r.list)]
	at.id, at.ours = id, ours
	r.next++
}

// find tells whether a stream is remembered, and whether the server has reset it.
func (r *recent) find(id uint32) (known, ours bool) {
	for i := range r.list {
		if r.list[i].id == id {
			return true, r.list[i].ours
		}
	}
	return false, false
}
