package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// mixer sends pipelines of many sorts of commands over keys of one slot, and knows every reply.
type mixer struct {
	tag  string
	null string // in its protocol
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex // guards below
	rounds int
	wrong  []string
}

func (m *mixer) state() (rounds int, wrong []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rounds, slices.Clone(m.wrong)
}

// end stops the client and waits for it.
func (m *mixer) end() {
	m.mu.Lock()
	select {
	case <-m.stop:
	default:
		close(m.stop)
	}
	m.mu.Unlock()
	m.done.Wait()
}

// round is what is sent at once, and the replies.
func (m *mixer) round(i int) (send string, want []string) {
	key := func(name string) string { return "{" + m.tag + "}" + name }
	add := func(reply string, args ...string) {
		send += redistest.Command(args...)
		want = append(want, reply)
	}
	str := func(v any) string { s := fmt.Sprint(v); return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	num := func(n int) string { return fmt.Sprintf(":%d\r\n", n) }
	add(num(3*i+1), "INCR", key("n"))
	add("+OK\r\n", "MSET", key("a"), fmt.Sprint(i), key("b"), "x", key("c"), fmt.Sprint(i))
	add("+OK\r\n", "MULTI")
	add("+QUEUED\r\n", "INCR", key("n"))
	add("+QUEUED\r\n", "GET", key("c"))
	add("+QUEUED\r\n", "INCR", key("n"))
	add("*3\r\n"+num(3*i+2)+str(i)+num(3*i+3), "EXEC")
	add("*3\r\n"+str(i)+str("x")+str(3*i+3), "MGET", key("a"), key("b"), key("n"))
	add(num(2), "DEL", key("a"), key("b"))
	add("+OK\r\n", "SET", key("a"), "y")
	add("*2\r\n"+str("y")+m.null, "MGET", key("a"), key("b"))
	add(num(i+1), "RPUSH", key("l"), "v")
	add(m.null, "GET", key("none"))
	add(str(i), "EVAL", "return redis.call('get', KEYS[1])", "2", key("c"), key("n"))
	add("+OK\r\n", "SET", key("g"), fmt.Sprint(i))
	add(str(i), "GETSET", key("g"), "z")
	return send, want
}

func (m *mixer) run(c *redistest.Client) {
	for i := 0; ; i++ {
		select {
		case <-m.stop:
			return
		default:
		}
		send, want := m.round(i)
		c.Send(send)
		var wrong []string
		for n, reply := range want {
			if got := c.ReadFrame(); got != reply {
				wrong = append(wrong, fmt.Sprintf("round %d, reply %d: got %q, want %q", i, n, got, reply))
			}
		}
		m.mu.Lock()
		m.rounds++
		m.wrong = append(m.wrong, wrong...)
		m.mu.Unlock()
		if len(wrong) > 0 {
			return // what follows would be wrong, too
		}
	}
}

// TestClusterReshardUnderPipelines moves the slots of clients that send many sorts of commands at once. Every reply is as if nothing moved.
func TestClusterReshardUnderPipelines(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "")
	all := startMixers(t, addr, 4)
	awaitRounds(t, all)
	for range 2 {
		for _, m := range all[:3] {
			slot := redistest.KeySlot(m.tag)
			from := cluster.Owner(slot)
			primaries := cluster.Primaries()
			to := primaries[(slices.Index(primaries, from)+1)%len(primaries)]
			cluster.MoveSlot(slot, from, to, func(redistest.MoveStep) { awaitRounds(t, all) })
		}
	}
	awaitRounds(t, all)
	wantNoWrongReply(t, all)
}

func TestClusterFailoverUnderPipelines(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "")
	all := startMixers(t, addr, 4)
	awaitRounds(t, all)
	for _, primary := range cluster.Primaries() {
		cluster.Failover(cluster.Replicas(primary)[0])
		awaitRounds(t, all)
		cluster.WaitStable()
	}
	wantNoWrongReply(t, all)
}

// startMixers starts n clients of both protocols, whose keys are on several shards, and stops them when the test ends.
func startMixers(t *testing.T, addr string, n int) []*mixer {
	t.Helper()
	var all []*mixer
	for i := range n {
		m := &mixer{tag: fmt.Sprint("tag", i), null: "$-1\r\n", stop: make(chan struct{})}
		c := redistest.Dial(t, addr)
		c.Timeout = 30 * time.Second
		if i%2 == 1 {
			c.Do("HELLO", "3")
			m.null = "_\r\n"
		}
		m.done.Go(func() { m.run(c) })
		t.Cleanup(m.end)
		all = append(all, m)
	}
	return all
}

// awaitRounds waits until each has been answered five times more, or has had a wrong reply.
func awaitRounds(t *testing.T, all []*mixer) {
	t.Helper()
	for _, m := range all {
		before, _ := m.state()
		redistest.Eventually(t, 30*time.Second, "pipelines", func() error {
			if now, wrong := m.state(); now < before+5 && len(wrong) == 0 {
				return fmt.Errorf("%s: %d of 5", m.tag, now-before)
			}
			return nil
		})
	}
}

func wantNoWrongReply(t *testing.T, all []*mixer) {
	t.Helper()
	for _, m := range all {
		m.end()
		if rounds, wrong := m.state(); len(wrong) > 0 {
			t.Errorf("%s: wrong replies in %d rounds:\n%s", m.tag, rounds, strings.Join(wrong, "\n"))
		}
	}
}
