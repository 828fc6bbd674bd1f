package redis

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// payload is a long value that nobody has to keep: each block of it differs.
type payload struct {
	left int
	n    uint64
	buf  []byte
	sum  hash.Hash32
}

func newPayload(size int) *payload {
	p := &payload{left: size, buf: make([]byte, 64<<10), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(p.buf)
	return p
}

// writeTo writes the next n bytes.
func (p *payload) writeTo(w io.Writer, n int) error {
	for n = min(n, p.left); n > 0; {
		p.n++
		binary.LittleEndian.PutUint64(p.buf, p.n)
		b := p.buf[:min(n, len(p.buf))]
		_, _ = p.sum.Write(b)
		if _, err := w.Write(b); err != nil {
			return err
		}
		n -= len(b)
		p.left -= len(b)
	}
	return nil
}

// readBulk reads one bulk reply and returns the sum of its payload.
func readBulk(r *bufio.Reader) (size int, sum uint32, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(line, "$%d\r\n", &size); err != nil {
		return 0, 0, fmt.Errorf("%.200q", line)
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.CopyN(h, r, int64(size)); err != nil {
		return 0, 0, err
	}
	if end, err := r.ReadString('\n'); end != "\r\n" {
		return 0, 0, fmt.Errorf("%q after the payload, %w", end, err)
	}
	return size, h.Sum32(), nil
}

func setHeader(key string, size int) string {
	return fmt.Sprintf("*3\r\n$3\r\nSET\r\n%s$%d\r\n", bulk(key), size)
}

// during calls fn and returns how much more the filter held meanwhile than before.
func (f *fixture) during(fn func()) (heap, chunks int) {
	heap0, chunks0 := f.memory()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	heap, chunks = f.peak(done)
	return heap - heap0, chunks - chunks0
}

func TestHugeValue(t *testing.T) {
	sizes := []int{300 << 10, 1 << 20, 5 << 20, 512 << 20}
	if testing.Short() {
		sizes[3] = 64 << 20
	}
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, cl)
	c := f.dial()
	huge, other, same := cl.keyOn(0, 0), cl.keyOn(1, 0), cl.keyOn(0, 1)
	conn := c.Conn()
	r := bufio.NewReaderSize(conn, 64<<10)
	for _, size := range sizes {
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		p := newPayload(size)
		heap, chunks := f.during(func() {
			before := redistest.Command("SET", same, "1") + redistest.Command("SET", other, "2")
			_, _ = io.WriteString(conn, before+setHeader(huge, size))
			if err := p.writeTo(conn, size); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "\r\n"+redistest.Command("INCR", same)+redistest.Command("GET", other)+
				redistest.Command("GET", huge)+redistest.Command("INCR", same)+redistest.Command("STRLEN", huge))
			for _, want := range []string{"+OK\r\n", "+OK\r\n", "+OK\r\n", ":2\r\n"} {
				if got, err := r.ReadString('\n'); got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
					return
				}
			}
			if n, _, err := readBulk(r); n != 1 || err != nil {
				t.Errorf("got %d bytes, %v", n, err)
			}
			if n, sum, err := readBulk(r); n != size || sum != p.sum.Sum32() || err != nil {
				t.Errorf("got %d bytes with the sum %x, %v, want %d with %x", n, sum, err, size, p.sum.Sum32())
			}
			for _, want := range []string{":3\r\n", fmt.Sprintf(":%d\r\n", size)} {
				if got, err := r.ReadString('\n'); got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			}
		})
		if t.Failed() {
			return
		}
		t.Logf("%d bytes: heap +%d KB, chunks +%d KB", size, heap>>10, chunks>>10)
		if heap > 32<<20 || chunks > 32<<20 {
			t.Errorf("%d bytes: the heap grew by %d MB, the loop's chunks by %d MB", size, heap>>20, chunks>>20)
		}
	}
	f.quiet()
}

// A client that stops in the middle of a huge request keeps nobody waiting.
func TestUploadStalls(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	cfg := defaults()
	cfg.OpTimeout = 4 * time.Second
	f := start(t, cfg, newCluster("main", node))
	for _, size := range []int{200 << 10, 20 << 20} {
		c, other := f.dial(), f.dial()
		p := newPayload(size)
		c.Send(setHeader("k", size))
		if err := p.writeTo(c.Conn(), size/2); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for n := 0; time.Since(begin) < cfg.OpTimeout+time.Second; n++ {
			other.Do("SET", "o", fmt.Sprint(n))
			if got := other.Do("GET", "o"); got != bulk(fmt.Sprint(n)) { // an error, had it waited for the stalled one
				t.Fatalf("another client got %q", got)
			}
		}
		if err := p.writeTo(c.Conn(), size); err != nil {
			t.Fatal(err)
		}
		c.Send("\r\n")
		wantPrefix(t, "SET", c.ReadFrame(), "+OK")
		wantPrefix(t, "STRLEN", c.Do("STRLEN", "k"), fmt.Sprintf(":%d\r\n", size))
	}
	f.quiet()
}

// A client that goes away in the middle leaves nothing behind.
func TestUploadClientDies(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	f := start(t, defaults(), newCluster("main", node))
	other := f.dial()
	other.Do("SET", "k", "old")
	before := node.Info("connected_clients")
	for _, size := range []int{100 << 10, 900 << 10, 20 << 20} {
		for _, part := range []int{0, 40 << 10, size / 2, size} {
			c := f.dial()
			c.Send(setHeader("k", size))
			if err := newPayload(size).writeTo(c.Conn(), part); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	eventually(t, "the clients to be gone", func() (err error) {
		if got := node.Info("connected_clients"); got != before {
			return fmt.Errorf("%s connections, %s before", got, before)
		}
		return nil
	})
	wantPrefix(t, "GET", other.Do("GET", "k"), bulk("old"))
	f.quiet()
}

func TestUploadServerDies(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cl.Table().Options.ConnectTimeout = time.Second
	cfg := defaults()
	cfg.OpTimeout = 3 * time.Second
	f := start(t, cfg, cl)
	bad, good := cl.keyOn(0, 0), cl.keyOn(1, 0)
	tests := map[string]struct {
		harm, heal func()
	}{
		"killed": {nodes[0].Kill, nodes[0].Restart},
		"frozen": {nodes[0].Freeze, nodes[0].Thaw},
	}
	const size = 30 << 20
	for name, tt := range tests {
		c := f.dial()
		wantPrefix(t, name, c.Do("SET", bad, "x"), "+OK")
		p := newPayload(size)
		c.Send(setHeader(bad, size))
		if err := p.writeTo(c.Conn(), size/3); err != nil {
			t.Fatal(err)
		}
		tt.harm()
		_ = c.Conn().SetWriteDeadline(time.Now().Add(20 * time.Second))
		if err := p.writeTo(c.Conn(), size); err != nil {
			t.Fatal(name, err)
		}
		c.Send("\r\n" + redistest.Command("SET", good, name))
		wantPrefix(t, name, c.ReadFrame(), "-ERR dragoman: shard \"s1\"")
		wantPrefix(t, name, c.ReadFrame(), "+OK")
		wantPrefix(t, name, c.Do("GET", good), bulk(name))
		tt.heal()
		eventually(t, "the shard to be back", func() error {
			if got := c.Do("SET", bad, "y"); got != "+OK\r\n" {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	f.quiet()
}

// A server that refuses a request before it has all of it.
func TestUploadRefusedByServer(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithConfig("proto-max-bulk-len 2mb"))
	f := start(t, defaults(), newCluster("main", node))
	c := f.dial()
	const size = 30 << 20
	c.Send(setHeader("k", size))
	if err := newPayload(size).writeTo(c.Conn(), size); err != nil {
		t.Fatal(err)
	}
	c.Send("\r\n")
	got := c.ReadFrame()
	wantPrefix(t, "SET", got, "-ERR dragoman: shard \"s1\"")
	wantPrefix(t, "PING", c.Do("PING"), "+PONG")
	wantPrefix(t, "GET", c.Do("GET", "k"), "$-1")
	f.quiet()
}

// Large requests that are more than one large bulk.
func TestUploadManyArguments(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	f := start(t, defaults(), cl)
	list, other := cl.keyOn(0, 0), cl.keyOn(1, 0)
	big := strings.Repeat("b", 100<<10)
	c := f.dial()
	for _, n := range []int{1, 5, 12, 300} {
		args := []string{"RPUSH", list}
		for i := range n {
			args = append(args, big, fmt.Sprint(i))
		}
		c.Do("DEL", list)
		// The earlier requests are still unanswered when it turns out to be large.
		c.Send(redistest.Command("SET", list+"x", "1") + redistest.Command("SET", other, "2") + redistest.Command(args...) +
			redistest.Command("LLEN", list) + redistest.Command("GET", other))
		for _, want := range []string{"+OK\r\n", "+OK\r\n", fmt.Sprintf(":%d\r\n", 2*n), fmt.Sprintf(":%d\r\n", 2*n), bulk("2")} {
			if got := c.ReadFrame(); got != want {
				t.Errorf("%d arguments: got %.100q, want %q", n, got, want)
			}
		}
		if got := c.Do("LINDEX", list, "-1"); got != bulk(fmt.Sprint(n-1)) {
			t.Errorf("LINDEX: %.100q", got)
		}
	}
	f.quiet()
}

// What begins like a large request and is none must not reach a connection
// that others use.
func TestUploadSmuggles(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	f := start(t, defaults(), newCluster("main", node))
	other := f.dial()
	tails := map[string]string{
		"an integer":        ":1\r\n",
		"an array":          "*1\r\n$4\r\nPING\r\n",
		"a null":            "$-1\r\n",
		"a line":            "+OK\r\n",
		"a length too long": "$600000000\r\n",
	}
	for name, tail := range tails {
		for _, size := range []int{60 << 10, 2 << 20} {
			c := f.dial()
			value := strings.Repeat("v", size)
			c.Send("*4\r\n" + bulk("SET") + bulk("k") + bulk(value)[:size])
			wantPrefix(t, name, other.Do("SET", "o", "1"), "+OK")
			c.Send(bulk(value)[size:] + tail)
			got, _ := c.TryReadFrame()
			wantPrefix(t, name, got, "-ERR Protocol error: ")
			wantClosed(t, c, 30*time.Second)
			wantPrefix(t, name, other.Do("GET", "o"), bulk("1"))
		}
	}
	wantPrefix(t, "GET", other.Do("GET", "k"), "$-1")
	if n := strings.Count(node.Do("CLIENT", "LIST"), "\n"); n > 6 {
		t.Errorf("%d connections", n)
	}
	f.quiet()
}

// Uploads, plain requests and large replies of many clients at once.
func TestHugeAmongOthers(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, cl)
	l := startLoad(f, cl, 2)
	var wg sync.WaitGroup
	for i := range 4 {
		c := f.dial()
		c.Timeout = 30 * time.Second
		key := cl.keyOn(i%2, 1000+i)
		wg.Go(func() {
			for _, size := range []int{50 << 10, 3 << 20, 200 << 10, 12 << 20, 1 << 20} {
				value := strings.Repeat(fmt.Sprint(i), size)
				if got, err := c.TryDo("SET", key, value); got != "+OK\r\n" {
					t.Errorf("SET: %.100q, %v", got, err)
					return
				}
				if got, err := c.TryDo("GET", key); got != bulk(value) {
					t.Errorf("GET: %.100q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	l.stop(t)
	for i := range nodes {
		if n := l.failed[i].Load(); n > 0 {
			t.Errorf("%d requests failed", n)
		}
	}
	f.quiet()
}
