package redis

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// unlimited has the server keep whatever its subscribers have not read.
func unlimited(n *redistest.Node) {
	n.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
}

// A message of 64 MB passes through as it comes. Who never reads is closed, and
// neither costs memory nor keeps others waiting.
func TestBigMessage(t *testing.T) {
	const size = 64 << 20
	node := redistest.Server(t)
	unlimited(node)
	cfg := defaults()
	cfg.Limits.SlowClientTimeout = 3 * time.Second
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, newCluster("main", node))
	var readers []*bufio.Reader
	for i := range 3 {
		c := f.dial()
		if i == 0 {
			smallWindow(t, c)
		}
		check(t, c, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
		_ = c.Conn().SetDeadline(time.Now().Add(time.Minute))
		if i > 0 {
			readers = append(readers, bufio.NewReaderSize(c.Conn(), 64<<10))
		}
	}
	p := newPayload(size)
	pub := f.dial()
	type received struct {
		size int
		sum  uint32
		err  error
	}
	all := make(chan received, len(readers))
	for _, r := range readers {
		go func() {
			const want = "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n"
			head := make([]byte, len(want))
			_, _ = io.ReadFull(r, head)
			n, sum, err := readBulk(r)
			if string(head) != want {
				err = fmt.Errorf("got %q", head)
			}
			all <- received{n, sum, err}
		}()
	}
	heap, chunks := f.during(func() {
		_, _ = io.WriteString(pub.Conn(), fmt.Sprintf("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$%d\r\n", size))
		if err := p.writeTo(pub.Conn(), size); err != nil {
			t.Error(err)
		}
		pub.Send("\r\n")
		wantPrefix(t, "PUBLISH", pub.ReadFrame(), ":3\r\n")
		for range readers {
			if got := <-all; got.err != nil || got.size != size || got.sum != p.sum.Sum32() {
				t.Errorf("got %d bytes with the sum %x of %x, %v", got.size, got.sum, p.sum.Sum32(), got.err)
			}
		}
		eventually(t, "who does not read to be closed", func() (err error) {
			f.onLoop(func(w *worker) {
				if n := w.listeners["test/redis"].slowClients; n != 1 {
					err = fmt.Errorf("%d were closed", n)
				}
			})
			return err
		})
	})
	t.Logf("heap +%d MB, chunks +%d MB", heap>>20, chunks>>20)
	if heap > 32<<20 || chunks > 32<<20 {
		t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", heap>>20, chunks>>20)
	}
	check(t, pub, "PUBLISH ch x", ":2")
	for _, r := range readers {
		want := message("message", "ch", "x")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// A server that has enough of a slow subscriber ends it, as it does without a proxy.
func TestSubscriberBeyondTheServersLimit(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	node.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 60")
	f := start(t, defaults(), newCluster("main", node))
	c, pub := f.dial(), f.dial()
	check(t, c, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	value := strings.Repeat("v", 900<<10)
	eventually(t, "the subscriber to be gone", func() error {
		if got := pub.Do("PUBLISH", "ch", value); got != ":0\r\n" {
			return fmt.Errorf("PUBLISH: %q", got)
		}
		return nil
	})
	wantClosed(t, c, 30*time.Second)
	f.quiet()
}

// Large and small messages, replies and acknowledgements of a client keep apart,
// and each kind comes in its own order.
func TestBigMessagesAmongReplies(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	for _, n := range f.nodes {
		unlimited(n)
	}
	sub, pub := f.dial(), f.dial()
	sub.Timeout, pub.Timeout = time.Minute, time.Minute
	ch := f.onEach("ch")
	sub.Do("HELLO", "3")
	for i, name := range ch {
		check(t, sub, "SUBSCRIBE "+name, fmt.Sprintf(">3 $9 subscribe $%d %s :%d", len(name), name, i+1))
	}
	large := strings.Repeat("g", 300<<10)
	wantPrefix(t, "SET", sub.Do("SET", "large", large), "+OK")
	const rounds = 40
	size := func(i int) int { return []int{10, 20 << 10, 100 << 10, 2 << 20}[i%4] }
	go func() {
		for i := range rounds {
			for j, name := range ch {
				_ = pub.TrySend(redistest.Command("PUBLISH", name, fmt.Sprint(i, " ")+strings.Repeat("m", size(i+j))))
			}
		}
	}()
	go func() {
		for i := range rounds {
			_ = sub.TrySend(redistest.Command("ECHO", fmt.Sprint(i)) + redistest.Command("GET", "large") +
				redistest.Command("MULTI") + redistest.Command("PING") + redistest.Command("EXEC"))
		}
	}()
	var replies []string
	got := map[string]int{} // messages by channel
	for len(replies) < 5*rounds || got[ch[0]]+got[ch[1]]+got[ch[2]]+got[ch[3]] < 4*rounds {
		frame, err := sub.TryReadFrame()
		if err != nil {
			t.Fatalf("after %d replies and %v messages: %v", len(replies), got, err)
		}
		if frame[0] != '>' {
			replies = append(replies, frame)
			continue
		}
		for j, name := range ch {
			head := ">3\r\n$7\r\nmessage\r\n" + bulk(name)
			if !strings.HasPrefix(frame, head) {
				continue
			}
			i := got[name]
			got[name]++
			if want := head + bulk(fmt.Sprint(i, " ")+strings.Repeat("m", size(i+j))); frame != want {
				t.Fatalf("message %d of %s: %.100q", i, name, frame)
			}
		}
	}
	for i := range rounds {
		want := []string{bulk(fmt.Sprint(i)), bulk(large), "+OK\r\n", "+QUEUED\r\n", "*1\r\n+PONG\r\n"}
		for j, w := range want {
			if r := replies[5*i+j]; r != w {
				t.Fatalf("reply %d of round %d: %.100q, want %.100q", j, i, r, w)
			}
		}
	}
	f.quiet()
}

// A blocked client gets its large messages, and is unblocked by the right reply.
func TestBigMessageForABlockedClient(t *testing.T) {
	t.Parallel()
	f := start(t, defaults(), newCluster("main", servers(t, 1)...))
	sub, pub := f.dial(), f.dial()
	sub.Do("HELLO", "3")
	check(t, sub, "SUBSCRIBE ch", ">3 $9 subscribe $2 ch :1")
	id := strings.Trim(sub.Do("CLIENT", "ID"), ":\r\n")
	large := strings.Repeat("m", 3<<20)
	sub.Send(redistest.Command("BLPOP", "none", "0"))
	for range 3 {
		wantPrefix(t, "PUBLISH", pub.Do("PUBLISH", "ch", large), ":1\r\n")
		if got, want := sub.ReadFrame(), ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n"+bulk(large); got != want {
			t.Fatalf("got %.100q", got)
		}
	}
	eventually(t, "the client to be blocked", func() error {
		if got := pub.Do("CLIENT", "UNBLOCK", id); got != ":1\r\n" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	if got := sub.ReadFrame(); got != "_\r\n" {
		t.Errorf("BLPOP: %.100q", got)
	}
	check(t, sub, "PING", "+PONG")
	f.quiet()
}
