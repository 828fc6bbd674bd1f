package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

func TestUpstreamClosesMidReply(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	server := newFake(t, func(_ int, c *fakeConn) {
		c.answer(func(args []string) (string, bool) {
			if args[1] == "half" {
				return fmt.Sprintf("$%d\r\n%s", size, strings.Repeat("x", size/2)), false
			}
			return bulk(args[1]), true
		})
	})
	f := start(t, defaults(), fakeCluster(server.addr))
	victim, other, later := f.dial(), f.dial(), f.dial()
	for _, c := range []*redistest.Client{victim, other, later} {
		wantPrefix(t, "GET", c.Do("GET", "a"), bulk("a"))
	}
	victim.Send(redistest.Command("GET", "before") + redistest.Command("GET", "half") + redistest.Command("GET", "after"))
	wantPrefix(t, "the reply before", victim.ReadFrame(), bulk("before"))
	wantClosed(t, victim, 30*time.Second)
	wantPrefix(t, "another client", other.Do("GET", "b"), bulk("b"))
	wantPrefix(t, "a third client", later.Do("GET", "c"), bulk("c"))
	f.quiet()
}

// A reply of which nothing has been passed on is replaced by an error.
func TestUpstreamClosesMidReplyNotBegun(t *testing.T) {
	t.Parallel()
	first := make(chan struct{})
	slow := newFake(t, func(_ int, c *fakeConn) {
		c.answer(func(args []string) (string, bool) {
			<-first
			return bulk(args[1]), true
		})
	})
	broken := newFake(t, func(_ int, c *fakeConn) {
		c.answer(func([]string) (string, bool) {
			return "$1000000\r\n" + strings.Repeat("x", 500_000), false
		})
	})
	cl := fakeCluster(slow.addr, broken.addr)
	f := start(t, defaults(), cl)
	c := f.dial()
	c.Send(redistest.Command("GET", cl.keyOn(0, 1)) + redistest.Command("GET", cl.keyOn(1, 1)) +
		redistest.Command("MGET", cl.keyOn(0, 2), cl.keyOn(1, 2)) + redistest.Command("PING"))
	eventually(t, "the broken shard to close", func() (err error) {
		err = errors.New("no disconnect")
		f.onLoop(func(w *worker) {
			for _, p := range w.pools {
				if p.key.endpoint.Address == broken.addr && p.stats.disconnects > 0 {
					err = nil
				}
			}
		})
		return err
	})
	close(first)
	wantPrefix(t, "first", c.ReadFrame(), "$")
	for _, what := range []string{"second", "merged"} {
		if got := c.ReadFrame(); !strings.HasPrefix(got, "-ERR dragoman: shard \"s2\"") || strings.Contains(got, "xx") {
			t.Errorf("%s: %.200q", what, got)
		}
	}
	wantPrefix(t, "PING", c.ReadFrame(), "+PONG")
	f.quiet()
}

func TestUpstreamClosesWithPipelineOutstanding(t *testing.T) {
	t.Parallel()
	server := newFake(t, func(n int, c *fakeConn) {
		seen := 0
		c.answer(func(args []string) (string, bool) {
			if seen++; n == 0 && seen > 3 {
				return "", seen < 8
			}
			return bulk(args[1]), true
		})
	})
	f := start(t, defaults(), fakeCluster(server.addr))
	c := f.dial()
	for i := range 8 {
		c.Send(redistest.Command("GET", fmt.Sprint(i)))
	}
	for i := range 8 {
		want := bulk(fmt.Sprint(i))
		if i >= 3 {
			want = "-ERR dragoman: shard \"s1\" (" + server.addr + "): closed the connection\r\n"
		}
		if got := c.ReadFrame(); got != want {
			t.Errorf("reply %d: got %q, want %q", i, got, want)
		}
	}
	wantPrefix(t, "afterwards", c.Do("GET", "z"), bulk("z"))
	f.quiet()
}

func TestUpstreamTalksNonsense(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reply  string // to GET bad
		client string // what the client gets; empty: it is closed
		next   bool   // the reply is right, what comes after it is not
	}{
		"garbage":           {reply: "HTTP/1.1 400 Bad Request\r\n\r\n", client: "-ERR dragoman: shard \"s1\""},
		"negative length":   {reply: "$-7\r\n", client: "-ERR dragoman: shard \"s1\""},
		"huge length":       {reply: "$999999999999\r\n", client: "-ERR dragoman: shard \"s1\""},
		"no CRLF":           {reply: "$3\r\nabcdef\r\n", client: "-ERR dragoman: shard \"s1\""},
		"array of garbage":  {reply: "*2\r\n$1\r\na\r\nxyz\r\n", client: "-ERR dragoman: shard \"s1\""},
		"garbage in pieces": {reply: "*2\r\n$100000\r\n" + strings.Repeat("x", 100_000) + "\r\nxyz\r\n"},
		"two replies":       {reply: "+OK\r\n+OK\r\n", client: "+OK\r\n", next: true},
		"a push":            {reply: ">1\r\n+hello\r\n+OK\r\n", client: "+OK\r\n", next: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newFake(t, func(_ int, c *fakeConn) {
				c.answer(func(args []string) (string, bool) {
					if args[1] == "bad" {
						return tt.reply, true
					}
					return bulk(args[1]), true
				})
			})
			f := start(t, defaults(), fakeCluster(server.addr))
			c, other := f.dial(), f.dial()
			wantPrefix(t, "another client", other.Do("GET", "a"), bulk("a"))
			c.Send(redistest.Command("GET", "bad"))
			if tt.client == "" {
				wantClosed(t, c, 30*time.Second)
			} else {
				wantPrefix(t, "the client", c.ReadFrame(), tt.client)
			}
			f.quiet()
			wantPrefix(t, "another client", other.Do("GET", "b"), bulk("b"))
		})
	}
}

// refused are servers that cannot be used from the start.
func TestUpstreamRefuses(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	tests := map[string]struct {
		cluster func(t *testing.T) *cluster
		want    string
	}{
		"loading": {func(t *testing.T) *cluster {
			return fakeCluster(newFake(t, func(_ int, c *fakeConn) {
				for _, ok := c.request(); ok; _, ok = c.request() {
					c.send("-LOADING Redis is loading the dataset in memory\r\n")
				}
			}).addr)
		}, "LOADING Redis is loading"},
		"wrong password": {func(t *testing.T) *cluster {
			cl := newCluster("main", redistest.Server(t, redistest.WithPassword("right")))
			cl.Table().Options.Redis.Credentials = func() (string, string, error) { return "", "wrong", nil }
			return cl
		}, "WRONGPASS"},
		"no password": {func(t *testing.T) *cluster {
			return newCluster("main", redistest.Server(t, redistest.WithPassword("right")))
		}, "NOAUTH"},
		"too many clients": {func(t *testing.T) *cluster {
			return fakeCluster(newFake(t, func(_ int, c *fakeConn) { c.send("-ERR max number of clients reached\r\n") }).addr)
		}, "max number of clients"},
		"plain text for TLS": {func(t *testing.T) *cluster {
			cl := newCluster("main", redistest.Server(t))
			config := pki.ClientConfig()
			config.ServerName = "localhost"
			cl.Table().Shards[0].Primary.TLS = config
			return cl
		}, "shard \"s1\""},
		"unknown authority": {func(t *testing.T) *cluster {
			cl := newCluster("main", redistest.Server(t, redistest.WithTLS(pki)))
			cl.Table().Shards[0].Primary.TLS = &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}
			return cl
		}, "certificate"},
		"refused": {func(t *testing.T) *cluster {
			s := redistest.Server(t)
			s.Kill()
			return newCluster("main", s)
		}, "connection refused"},
		"closes at once": {func(t *testing.T) *cluster {
			return fakeCluster(newFake(t, func(int, *fakeConn) {}).addr)
		}, "shard \"s1\""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := tt.cluster(t)
			cl.Table().Options.ConnectTimeout = 3 * time.Second // less than atOnce
			f := start(t, unhurried(), cl)
			c := f.dial()
			want := "-ERR dragoman: shard \"s1\""
			if name == "loading" {
				want = "-LOADING dragoman: shard \"s1\""
			}
			for range 20 { // also while nothing is dialled
				begin := time.Now()
				got := c.Do("GET", "a")
				wantPrefix(t, "GET", got, want)
				if !strings.Contains(got, tt.want) || strings.Contains(got, "wrong") && name == "wrong password" && strings.Contains(got, "'wrong'") {
					t.Errorf("got %q, want it to say %q", got, tt.want)
				}
				if took := time.Since(begin); took > atOnce {
					t.Errorf("the error took %v", took)
				}
			}
			wantPrefix(t, "BLPOP", c.Do("BLPOP", "a", "0"), want)
			wantPrefix(t, "PING", c.Do("PING"), "+PONG")
			wantPrefix(t, "SET", c.Do("SET", "big", strings.Repeat("x", 3<<20)), want)
			wantPrefix(t, "PING", c.Do("PING"), "+PONG")
			f.quiet()
		})
	}
}

// blackhole is an address that neither accepts nor refuses: the backlog of its
// listener is full.
func blackhole(tb testing.TB) string {
	tb.Helper()
	addr := tinyBacklog(tb)
	for failed, n := 0, 0; n < 16; n++ {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		conn, err := d.DialContext(tb.Context(), "tcp", addr)
		if err == nil {
			failed = 0
			tb.Cleanup(func() { conn.Close() })
			continue
		}
		if failed++; failed == 2 { // one alone may be the machine, which stood still
			return addr
		}
	}
	tb.Fatal("the backlog does not fill up")
	return ""
}

func TestUpstreamBlackhole(t *testing.T) {
	t.Parallel()
	good := redistest.Server(t)
	cl := fakeCluster(good.Addr(), blackhole(t))
	cl.Table().Options.ConnectTimeout = 500 * time.Millisecond
	f := start(t, unhurried(), cl)
	c, other := f.dial(), f.dial()
	bad, fine := cl.keyOn(1, 0), cl.keyOn(0, 0)
	eventually(t, "a connection to the other shard, for which the limit holds as well", func() error {
		if got := other.Do("SET", fine, "v"); got != "+OK\r\n" {
			return errors.New(got)
		}
		return nil
	})

	begin := time.Now()
	c.Send(redistest.Command("GET", bad))
	for range 50 {
		wantPrefix(t, "the other shard", other.Do("SET", fine, "v"), "+OK")
	}
	wantPrefix(t, "GET", c.ReadFrame(), "-ERR dragoman: shard \"s2\"")
	if took := time.Since(begin); took > atOnce {
		t.Errorf("the first error took %v", took)
	}
	// From now on a request hardly ever waits: one at a time finds out, now and then.
	slow, known := 0, time.Now()
	for range 100 {
		begin := time.Now()
		wantPrefix(t, "GET", other.Do("GET", bad), "-ERR dragoman: shard \"s2\"")
		if time.Since(begin) > 400*time.Millisecond { // nearly the connect timeout
			slow++
		}
	}
	if most := 5 + int(time.Since(known)/time.Second); slow > most {
		t.Errorf("%d of 100 requests waited, want at most %d", slow, most)
	}
	f.consistent()
}

// A server that accepts and never says a word.
func TestUpstreamNeverAnswers(t *testing.T) {
	t.Parallel()
	mute := newFake(t, func(_ int, c *fakeConn) { c.swallow() })
	cl := fakeCluster(mute.addr)
	cl.Table().Options.ConnectTimeout = 300 * time.Millisecond
	f := start(t, unhurried(), cl)
	c := f.dial()
	begin := time.Now()
	wantPrefix(t, "GET", c.Do("GET", "a"), "-ERR dragoman: shard \"s1\"")
	wantPrefix(t, "GET", c.Do("GET", "a"), "-ERR dragoman: shard \"s1\"")
	if took := time.Since(begin); took > atOnce {
		t.Errorf("the errors took %v", took)
	}
	f.quiet()
}

// Half of a reply, and then nothing.
func TestUpstreamStopsMidReply(t *testing.T) {
	t.Parallel()
	server := newFake(t, func(_ int, c *fakeConn) {
		c.answer(func(args []string) (string, bool) {
			if args[1] == "half" {
				return "$1000000\r\n" + strings.Repeat("x", 500_000), true
			}
			return bulk(args[1]), true
		})
	})
	cfg := defaults()
	cfg.OpTimeout = 3 * time.Second
	f := start(t, cfg, fakeCluster(server.addr))
	victim, other := f.dial(), f.dial()
	wantPrefix(t, "GET", victim.Do("GET", "a"), bulk("a"))
	victim.Send(redistest.Command("GET", "half"))
	wantClosed(t, victim, 30*time.Second)
	wantPrefix(t, "another client", other.Do("GET", "b"), bulk("b"))
	f.quiet()
}

var _ filters.Cluster = (*cluster)(nil)
