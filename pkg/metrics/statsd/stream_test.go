package statsd

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
)

// lateOnce is a connection whose time is over once, when something has just arrived.
type lateOnce struct {
	*net.TCPConn
	arrived   <-chan struct{}
	deadlines int
	again     chan<- struct{}
}

func (c *lateOnce) SetReadDeadline(time.Time) error {
	c.deadlines++
	if c.deadlines == 1 {
		<-c.arrived
		return c.TCPConn.SetReadDeadline(time.Unix(1, 0))
	}
	if c.deadlines == 2 {
		close(c.again)
	}
	return c.TCPConn.SetReadDeadline(time.Time{})
}

// TestIdleInstant: half a line that arrives in the instant in which a connection would
// have been idle for too long is no line: its rest is waited for.
func TestIdleInstant(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{IdleTimeout: time.Hour}, metrics.Env{Sockets: sockets.NewPool()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	app, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	arrived, again, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.read(t.Context(), &lateOnce{TCPConn: conn, arrived: arrived, again: again}) }()
	if _, err := io.WriteString(app, "a:1"); err != nil {
		t.Fatal(err)
	}
	waitReadable(t, conn)
	close(arrived)
	select {
	case <-again:
	case err := <-ended:
		t.Fatalf("the connection has ended: %v", err)
	}
	if _, err := io.WriteString(app, "2|c\n"); err != nil {
		t.Fatal(err)
	}
	app.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the connection ended with %v", err)
	}
	families, err := s.Gather(t.Context())
	if err != nil || len(families) != 1 || families[0].GetMetric()[0].GetCounter().GetValue() != 12 {
		t.Errorf("got %v, %v; want a counter of 12", families, err)
	}
}

// waitReadable waits until something has arrived.
func waitReadable(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, time.Minute, "something to read", func() error {
		waiting := 0
		var asking error
		if err := raw.Control(func(fd uintptr) { waiting, asking = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil || asking != nil {
			return errors.Join(err, asking)
		}
		if waiting == 0 {
			return errors.New("nothing has arrived")
		}
		return nil
	})
}
