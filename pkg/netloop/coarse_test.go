package netloop

import (
	"context"
	"crypto/sha256"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// streamDriver sends back what it gets, and takes all of it for one stream.
type streamDriver struct {
	conn   *Conn
	stream Stream
	coarse *atomic.Int64 // how often a read came while the input was gathered
}

func (d *streamDriver) Data(c *Conn, b []byte) int {
	d.stream.Saw(c, len(b))
	if c.is(isCoarse) {
		d.coarse.Add(1)
	}
	c.Write(b)
	if c.Full() {
		c.Pause()
	}
	return len(b)
}
func (*streamDriver) Drained(c *Conn)     { c.Resume() }
func (*streamDriver) EOF(c *Conn)         { c.CloseWrite() }
func (*streamDriver) Closed(*Conn, error) {}

// TestLongStreamIsGathered: all of a long stream arrives, its end too although it is less than what is waited for, and what comes after it is
// seen as soon as it comes.
func TestLongStreamIsGathered(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	d := &streamDriver{coarse: new(atomic.Int64)}
	n := serve(t, g, ListenOptions{}, func(c *Conn) Driver {
		d.conn = c
		return d
	})
	c := dial(t, n.Addr())
	piece := randomBytes(8<<10 + 1)
	const pieces = 4000 // 32 MiB and an odd rest
	go func() {
		for range pieces {
			if _, err := c.Write(piece); err != nil {
				t.Errorf("sending: %v", err)
				return
			}
		}
	}()
	got, want := sha256.New(), sha256.New()
	for range pieces {
		want.Write(piece)
	}
	if _, err := io.CopyN(got, c, int64(pieces*len(piece))); err != nil {
		t.Fatal(err)
	}
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Error("other bytes come back than were sent")
	}
	if d.coarse.Load() == 0 {
		t.Error("the input was never gathered")
	}
	roundTrip(t, c, "a few bytes")
	await(t, "the socket is as before", func() bool {
		mark := 0
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := g.Loops()[0].Call(ctx, func() {
			mark, _ = syscall.GetsockoptInt(d.conn.FD(), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT)
		}); err != nil {
			t.Fatal(err)
		}
		return mark == 1
	})
	roundTrip(t, c, "and a few more")
}

// TestStreamThatBreaksOff: a client that goes away in the middle, and one that sends less than is waited for and then FIN.
func TestStreamThatBreaksOff(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	coarse := new(atomic.Int64)
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return &streamDriver{coarse: coarse} })
	gone := dial(t, n.Addr())
	go func() { _, _ = io.Copy(io.Discard, gone) }()
	if _, err := gone.Write(make([]byte, 2*streamFrom)); err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	polite := dial(t, n.Addr())
	go func() {
		if _, err := polite.Write(make([]byte, 2*streamFrom)); err != nil {
			t.Errorf("sending: %v", err)
		}
		_ = polite.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, polite); err != nil || n != 2*streamFrom {
		t.Errorf("%d bytes come back, %v", n, err)
	}
	await(t, "no connection is left", func() bool { return n.Connections() == 0 })
}

// TestShortStreamsAreNotGathered: the bytes of many streams do not make a long one.
func TestShortStreamsAreNotGathered(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	c := l.Pipe(&streamDriver{coarse: new(atomic.Int64)}, Downstream)
	var s Stream
	for range 10 {
		s.Saw(c, streamFrom-1)
		s.Ended()
	}
	if s.n != 0 || c.is(isCoarse) {
		t.Errorf("%d bytes of a stream that has ended", s.n)
	}
}
