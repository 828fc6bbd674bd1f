package redis

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// A request that must be seen whole before it can be routed is gathered up to
// a limit. Above it there is an error, and the connection lives on.
func TestGathered(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	f := start(t, defaults(), cl)
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	c := f.dial()
	c.Timeout = 30 * time.Second

	small, large := strings.Repeat("s", 5<<20), strings.Repeat("l", 40<<20)
	wantPrefix(t, "MSET", c.Do("MSET", k0, small, k1, small), "+OK")
	wantPrefix(t, "STRLEN", c.Do("STRLEN", k1), ":5242880\r\n")
	if got := c.Do("MGET", k0, k1, "none"); got != "*3\r\n"+bulk(small)+bulk(small)+"$-1\r\n" {
		t.Errorf("MGET: %d bytes, %.100q", len(got), got)
	}
	if got := c.Do("EVAL", "return #ARGV[1]", "1", k0, small); got != ":5242880\r\n" {
		t.Errorf("EVAL: %.100q", got)
	}
	heap, chunks := f.during(func() {
		c.Send(redistest.Command("SET", k0, "old") + redistest.Command("MSET", k0, large, k1, large) + redistest.Command("GET", k0))
		wantPrefix(t, "SET", c.ReadFrame(), "+OK")
		wantPrefix(t, "MSET", c.ReadFrame(), "-ERR dragoman: the request is too large")
		wantPrefix(t, "GET", c.ReadFrame(), bulk("old"))
	})
	t.Logf("heap +%d MB, chunks +%d MB", heap>>20, chunks>>20)
	if chunks > 160<<20 {
		t.Errorf("the loop's chunks grew by %d MB", chunks>>20)
	}
	f.quiet()
}

// Within a transaction a request that was dropped makes EXEC fail.
func TestGatheredInTransaction(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	f := start(t, defaults(), cl)
	key := cl.keyOn(0, 0)
	c := f.dial()
	c.Timeout = 30 * time.Second
	wantPrefix(t, "MULTI", c.Do("MULTI"), "+OK")
	wantPrefix(t, "SET", c.Do("SET", key, "a"), "+QUEUED")
	wantPrefix(t, "EVAL", c.Do("EVAL", "return 1", "1", key, strings.Repeat("b", 70<<20)), "-ERR dragoman: the request is too large")
	wantPrefix(t, "EXEC", c.Do("EXEC"), "-EXECABORT")
	wantPrefix(t, "GET", c.Do("GET", key), "$-1")
	f.quiet()
}

func TestMaxRequestBytes(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.Limits.MaxRequestBytes = 1 << 20
	f := start(t, cfg, cl)
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	value := strings.Repeat("v", 700<<10)

	c := f.dial()
	wantPrefix(t, "SET", c.Do("SET", k0, strings.Repeat("v", 1<<20)), "+OK")
	for _, args := range [][]string{
		{"RPUSH", k0 + "list", value, value},
		{"MSET", k0, value, k1, value},
		{"EVAL", "return 1", "2", k0, k1, value, value},
		append([]string{"RPUSH", k0 + "list"}, strings.Split(strings.Repeat("0123456789,", 200_000), ",")...),
	} {
		got := c.Do(args...)
		if args[0] == "EVAL" && strings.HasPrefix(got, "-CROSSSLOT") {
			continue
		}
		wantPrefix(t, args[0], got, "-ERR dragoman: the request is too large")
		wantPrefix(t, "EXISTS", c.Do("EXISTS", k0+"list"), ":0")
	}
	wantPrefix(t, "PING", c.Do("PING"), "+PONG")

	// Redis closes after a bulk whose length it refuses.
	_ = c.TrySend(setHeader(k0, 1<<20+1))
	wantPrefix(t, "SET", c.ReadFrame(), "-ERR Protocol error: invalid bulk length")
	wantClosed(t, c, 30*time.Second)
	f.quiet()
}

// Who has not logged in may not send much.
func TestLimitsBeforeLogin(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.Users = []resource.User{{Name: "default", Passwords: []resource.SecretKey{{Name: "p"}}}}
	f := start(t, cfg, newCluster("main", servers(t, 1)...))
	for name, request := range map[string]string{
		"a large bulk":   "*2\r\n$4\r\nAUTH\r\n$1000000\r\n",
		"many arguments": "*100000\r\n$4\r\nAUTH\r\n",
	} {
		c := f.dial()
		c.Send(request)
		wantPrefix(t, name, c.ReadFrame(), "-ERR Protocol error: ")
		wantClosed(t, c, 30*time.Second)
	}
	c := f.dial()
	wantPrefix(t, "GET", c.Do("GET", "a"), "-NOAUTH")
	wantPrefix(t, "AUTH", c.Do("AUTH", "password of p"), "+OK")
	wantPrefix(t, "SET", c.Do("SET", "a", strings.Repeat("a", 3<<20)), "+OK")
	f.quiet()
}

// Replies that have to be rewritten are bounded, too.
func TestRewrittenReplyTooLarge(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, cl)
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	for i, k := range []string{k0, k1} {
		nodes[i].Do("SETRANGE", k, fmt.Sprint(50<<20), "x")
	}
	c := f.dial()
	c.Timeout = 30 * time.Second
	heap, chunks := f.during(func() {
		wantPrefix(t, "MGET", c.Do("MGET", k0, k1), "-ERR dragoman: ")
	})
	t.Logf("heap +%d MB, chunks +%d MB", heap>>20, chunks>>20)
	if heap > 256<<20 {
		t.Errorf("the heap grew by %d MB", heap>>20)
	}
	wantPrefix(t, "PING", c.Do("PING"), "+PONG")
	f.quiet()
}

// 64 KiB of a line is the most there is, as in Redis.
func TestInlineTooLong(t *testing.T) {
	t.Parallel()
	f := start(t, defaults(), newCluster("main", servers(t, 1)...))
	c := f.dial()
	c.Send("SET k " + strings.Repeat("v", 60<<10) + "\r\n")
	wantPrefix(t, "SET", c.ReadFrame(), "+OK")
	_, _ = io.WriteString(c.Conn(), strings.Repeat("x", 200<<10))
	wantPrefix(t, "the line", c.ReadFrame(), "-ERR Protocol error: too big inline request")
	wantClosed(t, c, 30*time.Second)
	f.quiet()
}
