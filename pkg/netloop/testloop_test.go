package netloop

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a driver made of functions; the absent ones do nothing.
type script struct {
	data    func(c *Conn, b []byte) int
	bulk    func(c *Conn, p *Chunk, left int64)
	drained func(c *Conn)
	eof     func(c *Conn)
	closed  func(c *Conn, err error)
}

func (s *script) Data(c *Conn, b []byte) int {
	if s.data == nil {
		return len(b)
	}
	return s.data(c, b)
}

func (s *script) Bulk(c *Conn, p *Chunk, left int64) {
	if s.bulk == nil {
		c.Loop().Free(p)
		return
	}
	s.bulk(c, p, left)
}

func (s *script) Drained(c *Conn) {
	if s.drained != nil {
		s.drained(c)
	}
}

func (s *script) EOF(c *Conn) {
	if s.eof != nil {
		s.eof(c)
		return
	}
	c.CloseAfterFlush()
}

func (s *script) Closed(c *Conn, err error) {
	if s.closed != nil {
		s.closed(c, err)
	}
}

func echo() *script {
	return &script{data: func(c *Conn, b []byte) int { c.Write(b); return len(b) }}
}

// byLine answers complete lines and leaves the rest.
func byLine(c *Conn, b []byte) int {
	i := bytes.LastIndexByte(b, '\n') + 1
	c.Write(b[:i])
	return i
}

func TestLeftoversAreShownAgain(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	c := l.Pipe(&script{data: byLine}, Downstream)
	for _, s := range []string{"ab", "c\nd", "ef", "\n"} {
		c.Feed([]byte(s))
	}
	if got := string(c.TakeOutput()); got != "abc\ndef\n" {
		t.Errorf("got %q", got)
	}
	l.Turn()
	if s := l.Stats(); s.HeldBytes != largeChunk { // the read buffer
		t.Errorf("an idle connection holds buffers: %+v", s)
	}
}

func TestLongLeftoversGrow(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var got []byte
	c := l.Pipe(&script{data: func(c *Conn, b []byte) int {
		if b[len(b)-1] != '\n' {
			return 0
		}
		got = slices.Clone(b)
		return len(b)
	}}, Downstream)
	want := bytes.Repeat([]byte("x"), 700<<10)
	want = append(want, '\n')
	for b := range slices.Chunk(want, 10007) {
		c.Feed(b)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

func TestPauseAndAgain(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var got []string
	ended := false
	c := l.Pipe(&script{
		data: func(c *Conn, b []byte) int {
			got = append(got, string(b[:1]))
			if b[0] == 'p' {
				c.Pause()
			} else if len(b) > 1 {
				l.Again(c)
			}
			return 1
		},
		eof: func(*Conn) { ended = true },
	}, Downstream)
	c.Feed([]byte("abpcd"))
	c.FeedEOF()
	if len(got) != 3 || ended {
		t.Fatalf("paused after %q, ended %v", got, ended)
	}
	c.Resume()
	l.Turn()
	if len(got) != 5 || !ended {
		t.Errorf("after Resume: %q, ended %v", got, ended)
	}
}

func TestAgainWithoutInput(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	n := 0
	c := l.Pipe(&script{data: func(_ *Conn, b []byte) int { n++; return len(b) }}, Downstream)
	l.Again(c)
	l.Turn()
	if n != 1 {
		t.Errorf("%d calls", n)
	}
	c.Pause()
	l.Again(c)
	l.Turn()
	if n != 1 {
		t.Error("called while paused")
	}
	c.Resume()
	l.Turn()
	if n != 2 {
		t.Errorf("%d calls after Resume", n)
	}
}

func TestOwnGivesTheBufferAway(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1500) // 24,000
	var a, b *Chunk
	c := l.Pipe(&script{data: func(c *Conn, in []byte) int {
		if len(in) < 2*len(big)+3 {
			return 0
		}
		a = c.Own(in[:len(big)])
		if at := l.shown.offset(a.Bytes()); at != 0 {
			t.Errorf("first Own copied: offset %d", at)
		}
		if len(a.Room()) != 0 {
			t.Error("an owned chunk has room over bytes not yet parsed")
		}
		b = c.Own(in[len(big) : 2*len(big)])
		l.Free(a)
		c.Write(bytes.Repeat([]byte("z"), 64<<10)) // must not land in a's memory
		if !bytes.Equal(in[:len(big)], big) {
			t.Error("memory reused within the call")
		}
		return 2 * len(big)
	}}, Downstream)
	c.Feed(append(slices.Concat(big, big), "end"...))
	if !bytes.Equal(b.Bytes(), big) {
		t.Error("second Own differs")
	}
	if got := string(c.in.Bytes()); got != "end" {
		t.Errorf("kept %q", got)
	}
}

// TestOwnBetweenLeftovers: input was kept before the buffer is given away, and some
// is kept again. What comes next must not be read into what was given away.
func TestOwnBetweenLeftovers(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1500)
	var own *Chunk
	c := l.Pipe(&script{data: func(c *Conn, in []byte) int {
		if own != nil || len(in) < len(big) {
			return 0
		}
		own = c.Own(in[:len(big)])
		return len(big)
	}}, Downstream)
	c.Feed(big[:5])
	c.Feed(append(bytes.Clone(big[5:]), "end"...))
	c.Feed(bytes.Repeat([]byte("x"), len(big)))
	if !bytes.Equal(own.Bytes(), big) {
		t.Error("what was given away has changed")
	}
	if got, want := string(c.in.Bytes()), "end"+strings.Repeat("x", len(big)); got != want {
		t.Errorf("kept %.20q and so on, %d bytes; want %d", got, len(got), len(want))
	}
}

func TestReadBulk(t *testing.T) {
	t.Parallel()
	for _, step := range []int{1, 7, 1000, 20000, 64 << 10, 1 << 20} {
		l := NewTestLoop()
		var got, heads []byte
		sizes := []int64{5, 40000, 300000}
		s := &script{}
		s.data = func(c *Conn, b []byte) int {
			heads = append(heads, b[0])
			c.ReadBulk(sizes[b[0]-'0'])
			return 1
		}
		s.bulk = func(c *Conn, p *Chunk, left int64) { got = append(got, p.Bytes()...); l.Free(p) }
		c := l.Pipe(s, Downstream)
		var in, want []byte
		for i, n := range []int{0, 1, 2, 1, 0} {
			body := bytes.Repeat([]byte{byte('a' + i)}, int(sizes[n]))
			in = append(append(in, byte('0'+n)), body...)
			want = append(want, body...)
		}
		for b := range slices.Chunk(in, step) {
			c.Feed(b)
		}
		if string(heads) != "01210" || !bytes.Equal(got, want) {
			t.Errorf("step %d: heads %q, %d of %d bytes", step, heads, len(got), len(want))
		}
	}
}

func TestClosedComesOnceAndLast(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var calls []string
	c := l.Pipe(&script{
		data:   func(c *Conn, b []byte) int { calls = append(calls, "data"); c.Close(); c.Close(); return 0 },
		eof:    func(*Conn) { calls = append(calls, "eof") },
		closed: func(_ *Conn, err error) { calls = append(calls, "closed") },
	}, Downstream)
	c.Feed([]byte("x"))
	c.FeedEOF()
	l.Turn()
	c.Write([]byte("late"))
	l.Turn()
	if !slices.Equal(calls, []string{"data", "closed"}) {
		t.Errorf("calls: %q", calls)
	}
}

func TestLastWordsOfABrokenPeer(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var got string
	var why error
	c := l.Pipe(&script{
		data:   func(_ *Conn, b []byte) int { got += string(b); return len(b) },
		eof:    func(*Conn) { t.Error("EOF on a connection that cannot be written") },
		closed: func(_ *Conn, err error) { why = err },
	}, Upstream)
	l.shown = new(Chunk) // as if a driver were running: nothing is served at once
	c.Feed([]byte("-ERR max clients"))
	l.shown = nil
	c.BreakOutput()
	c.FeedError(io.EOF)
	l.Turn()
	if got != "-ERR max clients" || why == nil {
		t.Errorf("got %q, %v", got, why)
	}
}

func TestDrained(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	n := 0
	c := l.Pipe(&script{drained: func(*Conn) { n++ }}, Downstream)
	c.StallOutput(true)
	c.Write(make([]byte, 2<<20))
	l.Turn()
	if n != 0 || c.Buffered() != 2<<20 {
		t.Fatalf("drained %d, buffered %d", n, c.Buffered())
	}
	c.StallOutput(false)
	l.Turn()
	if n != 1 || c.Buffered() != 0 {
		t.Errorf("drained %d, buffered %d", n, c.Buffered())
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var got []int64
	note := func() { got = append(got, l.Now()/1e6) }
	l.After(30*time.Millisecond, note)
	late := l.After(10*time.Millisecond, note)
	late.Reset(50 * time.Millisecond)
	early := l.After(time.Hour, note)
	early.Reset(20 * time.Millisecond)
	l.After(25*time.Millisecond, note).Stop()
	var every *Timer
	every = l.After(40*time.Millisecond, func() { note(); every.Reset(40 * time.Millisecond) })
	l.Advance(100 * time.Millisecond)
	if want := []int64{20, 30, 40, 50, 80}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTestLoopDial(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var up *Conn
	l.OnDial = func(c *Conn, network, addr string) {
		up = c
		if addr == "bad" {
			c.FailDial(errors.New("refused"))
		}
	}
	l.Dial("tcp", "good", DialOptions{}, echo()).Write([]byte("hi"))
	if got := string(up.TakeOutput()); got != "hi" || !up.Connected() {
		t.Errorf("got %q", got)
	}
	var why error
	l.Dial("tcp", "bad", DialOptions{}, &script{closed: func(_ *Conn, err error) { why = err }})
	if why != nil {
		t.Error("failed during Dial")
	}
	if l.Turn(); why == nil {
		t.Error("Closed was not called")
	}
}
