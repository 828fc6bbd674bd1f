package netloop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// leaver echoes what it gets until it is told to leave.
type leaver struct {
	gone func(socket net.Conn, ahead, unsent []byte, err error)
}

func (d *leaver) Data(c *Conn, b []byte) int {
	text, ahead, told := bytes.Cut(b, []byte("!"))
	c.Write(text)
	if !told {
		return len(b)
	}
	ahead = bytes.Clone(ahead)
	socket, unsent, err := c.Leave()
	d.gone(socket, ahead, unsent, err)
	return len(b)
}
func (*leaver) Drained(*Conn) {}
func (*leaver) EOF(c *Conn)   { c.Close() }
func (d *leaver) Closed(*Conn, error) {
	d.gone(nil, nil, nil, errors.New("the driver heard of a connection that it had given away"))
}

// TestLeave has a connection go on without its loop: nothing that was sent or
// received is lost, and it counts as one of its listener's until it is closed.
func TestLeave(t *testing.T) {
	t.Parallel()
	type left struct {
		socket        net.Conn
		ahead, unsent []byte
		err           error
	}
	result := make(chan left, 2)
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver {
		return &leaver{func(socket net.Conn, ahead, unsent []byte, err error) { result <- left{socket, ahead, unsent, err} }}
	})
	c := dial(t, n.Addr())
	roundTrip(t, c, "echo")
	if _, err := io.WriteString(c, "last words!and more"); err != nil {
		t.Fatal(err)
	}
	got := <-result
	if got.err != nil {
		t.Fatal(got.err)
	}
	if string(got.unsent) != "last words" || string(got.ahead) != "and more" {
		t.Errorf("unsent %q, ahead %q", got.unsent, got.ahead)
	}
	loop := g.Loops()[0]
	await(t, "the loop to be without it", func() bool { return readStats(t, loop).Downstream == 0 })
	if live := n.Connections(); live != 1 {
		t.Errorf("%d connections counted", live)
	}
	if _, err := got.socket.Write(append(got.unsent, " of a goroutine"...)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, len("last words of a goroutine"))
	if _, err := io.ReadFull(c, text); err != nil || string(text) != "last words of a goroutine" {
		t.Errorf("%q, %v", text, err)
	}
	got.socket.Close()
	if live := n.Connections(); live != 0 {
		t.Errorf("%d connections counted", live)
	}
	roundTrip(t, dial(t, n.Addr()), "others are served")
	select {
	case more := <-result:
		t.Error(more.err)
	default:
	}
}
