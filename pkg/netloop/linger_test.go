package netloop

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"
)

// bidsFarewell answers the first input with its last words.
func bidsFarewell(closed chan<- error) *script {
	return &script{
		data: func(c *Conn, b []byte) int {
			c.WriteString("bye")
			c.CloseLingering()
			return len(b)
		},
		closed: func(_ *Conn, err error) { closed <- err },
	}
}

// lastWords reads what the server says at last.
func lastWords(t *testing.T, c net.Conn) {
	t.Helper()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "bye" {
		t.Errorf("the last words are %q, %v", got, err)
	}
}

// TestLastWordsReachAClientThatSendsAhead: to the driver the connection is closed, and counts no more; its client can still write as much as
// it likes, and then reads what it was told.
func TestLastWordsReachAClientThatSendsAhead(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGroup(t, GroupOptions{Loops: 1})
			closed := make(chan error, 1)
			o := ListenOptions{}
			if secure {
				o.TLS = server
			}
			n := serve(t, g, o, func(*Conn) Driver { return bidsFarewell(closed) })
			var c net.Conn = dial(t, n.Addr())
			if secure {
				c = tls.Client(c, client)
			}
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if err := <-closed; err != nil {
				t.Errorf("closed with %v", err)
			}
			await(t, "the connection to count no more", func() bool { return n.Connections() == 0 && readStats(t, g.Loops()[0]).Downstream == 0 })
			piece := bytes.Repeat([]byte("x"), 64<<10)
			for i := range 50 {
				if _, err := c.Write(piece); err != nil {
					t.Fatalf("write %d: %v", i, err)
				}
			}
			lastWords(t, c)
			c.Close()
			await(t, "the socket to be closed", func() bool { return lingering(t, g.Loops()[0]) == 0 })
		})
	}
}

// lingering is how many connections a loop still reads from in vain.
func lingering(t *testing.T, l *Loop) (n int) {
	t.Helper()
	if err := l.Call(t.Context(), func() { n = l.lingering }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLastWordsComeWithTheEnd: who has read them finds the connection closed, not a moment later.
func TestLastWordsComeWithTheEnd(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	const times = 200
	closed := make(chan error, times)
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return bidsFarewell(closed) })
	for range times {
		c := dial(t, n.Addr())
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		if got, err := c.Read(buf); err != nil || string(buf[:got]) != "bye" {
			t.Fatalf("the last words are %q, %v", buf[:got], err)
		}
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Read(func(fd uintptr) bool { // without waiting
			if got, err := syscall.Read(int(fd), buf); got != 0 || err != nil {
				t.Errorf("after the last words: %d bytes, %v; want the end", got, err)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLingeringIsBounded: who sends without end, or never closes, is left.
func TestLingeringIsBounded(t *testing.T) {
	t.Parallel()
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		g := startGroup(t, GroupOptions{Loops: 1})
		n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return bidsFarewell(make(chan error, 1)) })
		c := dial(t, n.Addr())
		piece, sent := make([]byte, 1<<20), 0
		for {
			k, err := c.Write(piece)
			if sent += k; err != nil {
				break
			}
			if sent > remainsBytes+64<<20 {
				t.Fatalf("%d bytes are read", sent)
			}
		}
		await(t, "the socket to be closed", func() bool { return lingering(t, g.Loops()[0]) == 0 })
	})
	t.Run("time", func(t *testing.T) {
		t.Parallel()
		g := startGroup(t, GroupOptions{Loops: 1})
		closed := make(chan error, 1)
		n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return bidsFarewell(closed) })
		c := dial(t, n.Addr())
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		lastWords(t, c)
		<-closed
		await(t, "the socket to be closed", func() bool { return lingering(t, g.Loops()[0]) == 0 })
	})
}
