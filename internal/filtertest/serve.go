package filtertest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
)

// Tapped keeps what is read of a connection.
type Tapped struct {
	net.Conn
	Seen *Log
}

// Read implements net.Conn.
func (c Tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	_, _ = c.Seen.Write(b[:n])
	return n, err
}

// Distrusted looks at what becomes of a server that does what serve does: it gets no password, and the app that f leads to it is told want.
func Distrusted(t *testing.T, want string, serve func(net.Conn), start func(addr string) *Fixture) {
	t.Helper()
	heard := &Log{}
	var busy sync.WaitGroup
	f := start(nettest.Serve(t, func(c net.Conn) {
		busy.Add(1) // before the app can be told
		defer busy.Done()
		c = Tapped{c, heard}
		serve(c)
		_, _ = io.Copy(io.Discard, c)
	}))
	if _, err := f.Client("select 1"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the app is told: %v, want %q", err, want)
	}
	Eventually(t, "the connection to end", func() bool { return f.Metric("downstream_connections") == 0 })
	busy.Wait()
	if strings.Contains(heard.String(), dbtest.Password) {
		t.Error("the server has got the password")
	}
}
