package redis

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Ten thousand idle clients, each of which has sent something, in at most
// 1 KiB each; fewer where a process may not have so many files. They live in another process: so many files are enough for one.
func TestIdleClients(t *testing.T) {
	n := min(10_000, fileRoom(t)-100)
	if n < 1000 {
		t.Fatalf("only %d clients may be open: that is too few to see what each takes", n)
	}
	cl := newCluster("main", servers(t, 2)...)
	f := start(t, defaults(), cl)
	requests := redistest.Command("PING") + redistest.Command("GET", cl.keyOn(0, 0)) + redistest.Command("MGET", cl.keyOn(0, 0), cl.keyOn(1, 0))
	stop := idleClients(t, f.addr, requests, 200)
	f.quiet()
	heap0, chunks0 := liveHeap(), f.held()
	idleClients(t, f.addr, requests, n)
	f.quiet()
	heap1, chunks1 := liveHeap(), f.held()
	each := float64(heap1-heap0) / float64(n)
	t.Logf("%d clients: %.0f bytes each; chunks: %d bytes more in all", n, each, chunks1-chunks0)
	if each > 1024 || chunks1 > chunks0 {
		t.Errorf("a client takes %.0f bytes, all chunks %d", each, chunks1-chunks0)
	}
	stop()
}

// idleClients starts a process that holds n clients, each of which has sent
// requests and read the replies, until stop is called.
func idleClients(t *testing.T, addr, requests string, n int) (stop func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestIdleClientsProcess$")
	cmd.Env = append(os.Environ(), "IDLE_ADDR="+addr, "IDLE_REQUESTS="+requests, fmt.Sprintf("IDLE_CLIENTS=%d", n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the clients' process: %q, %v", line, err)
	}
	return stop
}

// TestIdleClientsProcess is the process of idleClients.
func TestIdleClientsProcess(t *testing.T) {
	addr, requests := os.Getenv("IDLE_ADDR"), os.Getenv("IDLE_REQUESTS")
	if addr == "" {
		t.Skip("part of TestIdleClients")
	}
	n, err := strconv.Atoi(os.Getenv("IDLE_CLIENTS"))
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conns[i], requests); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReaderSize(conns[i], 64)
		for range 5 { // lines: PONG, nil, an array of two nils
			if _, err := r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		c.Close()
	}
}

func liveHeap() int {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func (f *fixture) held() int {
	_, chunks := f.memory()
	return chunks
}

// Clients that come and go, politely or not, leave nothing behind.
func TestConnectStorm(t *testing.T) {
	cl := newCluster("main", servers(t, 2)...)
	f := start(t, defaults(), cl)
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	f.dial().Do("MGET", k0, k1)
	f.quiet()
	before := f.state()
	last := [...]string{
		"", redistest.Command("PING"), redistest.Command("GET", k0), redistest.Command("MGET", k0, k1),
		redistest.Command("QUIT"), redistest.Command("GET", k0)[:7], strings.Repeat(redistest.Command("GET", k1), 50),
		"junk\r\n", "*-5\r\n", "*1000000000\r\n",
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				c, err := net.Dial("tcp", f.addr)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = c.Write([]byte(last[(g+i)%len(last)]))
				if i%3 == 0 {
					_ = c.(*net.TCPConn).SetLinger(0) // a reset
				}
				if i%5 == 0 {
					_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
					_, _ = c.Read(make([]byte, 10))
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	f.settled(before)
}

// settled waits until everything is as it was.
func (f *fixture) settled(before state) {
	f.tb.Helper()
	f.quiet()
	eventually(f.tb, "everything to be as before", func() error {
		if now := f.state(); now.goroutines > before.goroutines || now.fds > before.fds ||
			now.upstreams > before.upstreams || now.downstreams > before.downstreams {
			return fmt.Errorf("%+v, before %+v", now, before)
		}
		return nil
	})
	f.consistent()
}

// A client that is killed in any state leaves nothing behind, here or at the
// servers.
func TestClientKilledInState(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	one := clusterOf("main", cl.Table().Shards[0])
	for name, c := range map[string]*cluster{"one shard": one, "two shards": cl} {
		t.Run(name, func(t *testing.T) {
			f := start(t, defaults(), c)
			f.dial().Do("MGET", c.keyOn(0, 0), c.keyOn(len(c.Table().Shards)-1, 0))
			testKilledInState(t, f, c, nodes)
		})
	}
}

func testKilledInState(t *testing.T, f *fixture, cl *cluster, nodes []*redistest.Node) {
	key, queue := cl.keyOn(0, 0), cl.keyOn(0, 1)
	states := map[string][]string{
		"MULTI":                   {"MULTI", "SET " + key + " multi"},
		"MULTI without a key":     {"MULTI", "PING"},
		"WATCH":                   {"WATCH " + key},
		"WATCH and MULTI":         {"WATCH " + key, "MULTI", "SET " + key + " watch"},
		"BLPOP":                   {"BLPOP " + queue + " 0"},
		"BLPOP with a pipeline":   {"BLPOP " + queue + " 0", "SET " + key + " behind", "GET " + key},
		"BLPOP behind a pipeline": {"GET " + key, "GET " + key, "BLPOP " + queue + " 0"},
		"XREAD BLOCK":             {"XREAD BLOCK 0 STREAMS " + queue + " $"},
		"WAIT":                    {"SET " + key + " wait", "WAIT 3 0"},
		"SUBSCRIBE":               {"SUBSCRIBE a b c d e"},
		"PSUBSCRIBE":              {"PSUBSCRIBE a* b*"},
		"SSUBSCRIBE":              {"SSUBSCRIBE a"},
		"SUBSCRIBE in RESP3":      {"HELLO 3", "SUBSCRIBE a b", "GET " + key},
		"MONITOR":                 {"MONITOR"},
		"CLIENT TRACKING":         {"HELLO 3", "CLIENT TRACKING ON"},
		"CLIENT REPLY OFF":        {"CLIENT REPLY OFF", "GET " + key},
		"SELECT":                  {"SELECT 20", "SELECT 1", "GET " + key},
	}
	f.quiet()
	count := func() int {
		n := 0
		for _, node := range nodes {
			n += strings.Count(node.Do("CLIENT", "LIST"), "\n")
		}
		return n
	}
	baseline, before := count(), f.state()
	for name, commands := range states {
		for _, end := range []string{"close", "reset", "half-close"} {
			for _, wait := range []bool{false, true} {
				c := f.dial()
				for _, line := range commands {
					c.Send(redistest.Command(strings.Split(line, " ")...))
				}
				if wait {
					_ = c.Conn().SetReadDeadline(time.Now().Add(5 * time.Millisecond))
					_, _ = c.Conn().Read(make([]byte, 4096))
				}
				switch end {
				case "reset":
					_ = c.Conn().(*net.TCPConn).SetLinger(0)
					c.Close()
				case "half-close":
					c.CloseWrite()
					wantClosed(t, c, 30*time.Second)
				}
				c.Close()
			}
		}
		// What may be kept for others is at most one connection for each shard and use.
		eventually(t, name+" to leave nothing behind", func() error {
			if now, at := f.state(), count(); now.downstreams > before.downstreams || now.upstreams > before.upstreams+8 || at > baseline+8 {
				return fmt.Errorf("%+v, before %+v; the servers have %d connections, before %d", now, before, at, baseline)
			}
			return nil
		})
		f.consistent()
	}
	wantPrefix(t, "the queue", nodes[0].Do("RPUSH", queue, "x"), ":1") // nobody waits there any more
	nodes[0].Do("DEL", queue)
	if got := nodes[0].Do("GET", key); strings.Contains(got, "multi") || strings.Contains(got, "watch") {
		t.Errorf("a transaction without EXEC has been run: %q", got)
	}
	f.onLoop(func(w *worker) {
		for _, p := range w.pools {
			p.closeIdle()
		}
	})
	f.quiet()
	eventually(t, "the goroutines and files to be gone", func() error {
		now := f.state()
		extra := now.upstreams - before.upstreams // further databases and protocols
		if now.goroutines > before.goroutines || now.fds > before.fds+extra || extra > 4 {
			return fmt.Errorf("%+v, before %+v", now, before)
		}
		return nil
	})
}

// Every beginning of a valid pipeline, and random bytes, from clients that
// then go away, or wait.
func TestGarbageAndHalfFrames(t *testing.T) {
	cl := newCluster("main", servers(t, 2)...)
	f := start(t, defaults(), cl)
	other := f.dial()
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	other.Do("SET", "o", "o")
	other.Do("MGET", k0, k1)
	f.quiet()
	before := f.state()
	pipeline := redistest.Command("SET", k0, "value") + "GET " + k0 + "\r\n" + redistest.Command("MGET", k0, k1) +
		redistest.Command("MULTI") + redistest.Command("SET", k0, "x") + redistest.Command("EXEC") +
		redistest.Command("BLPOP", k1+"list", "0.01") + redistest.Command("SUBSCRIBE", "a")
	var open []*redistest.Client
	for i := range len(pipeline) + 1 {
		c := f.dial()
		c.Send(pipeline[:i])
		if i%2 == 0 {
			c.Close()
		} else {
			open = append(open, c)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		b := make([]byte, rng.IntN(300))
		for j := range b {
			b[j] = byte(rng.IntN(256))
			if i%2 == 0 {
				b[j] = "*$\r\n0123456789-+:GETSgets k"[rng.IntN(27)]
			}
		}
		c := f.dial()
		_ = c.TrySend(string(b))
		if i%3 == 0 {
			open = append(open, c)
		} else {
			c.Close()
		}
		if i%50 == 0 {
			wantPrefix(t, "another client", other.Do("GET", "o"), bulk("o"))
		}
	}
	f.consistent()
	for _, c := range open {
		c.Close()
	}
	wantPrefix(t, "another client", other.Do("GET", "o"), bulk("o"))
	f.quiet()
	f.onLoop(func(w *worker) {
		for _, p := range w.pools {
			p.closeIdle()
		}
	})
	f.settled(before)
}
