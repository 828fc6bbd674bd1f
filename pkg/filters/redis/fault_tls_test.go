package redis

import (
	"bufio"
	"io"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Huge values over TLS, where every byte passes through more hands.
func TestHugeValueOverTLS(t *testing.T) {
	pki := redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki))
	cl := newCluster("main", node)
	config := pki.ClientConfig()
	config.ServerName = "localhost"
	cl.Table().Shards[0].Primary.TLS = config
	cfg := defaults()
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, cl)
	c := f.dial()
	conn := c.Conn()
	r := bufio.NewReaderSize(conn, 64<<10)
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	for _, size := range []int{20 << 10, 300 << 10, 50 << 20} {
		p := newPayload(size)
		heap, chunks := f.during(func() {
			_, _ = io.WriteString(conn, setHeader("k", size))
			if err := p.writeTo(conn, size); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "\r\n"+redistest.Command("GET", "k"))
			if got, err := r.ReadString('\n'); got != "+OK\r\n" {
				t.Errorf("SET: %q, %v", got, err)
				return
			}
			if n, sum, err := readBulk(r); n != size || sum != p.sum.Sum32() || err != nil {
				t.Errorf("got %d bytes with the sum %x, %v, want %d with %x", n, sum, err, size, p.sum.Sum32())
			}
		})
		if heap > 32<<20 || chunks > 32<<20 {
			t.Errorf("%d bytes: the heap grew by %d MB, the loop's chunks by %d MB", size, heap>>20, chunks>>20)
		}
	}
	f.quiet()
}
