package network

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// keepalive finds a peer that is cut off within three seconds, and a sweep.
const keepalive = "tcpKeepalive: {idle: 1s, interval: 1s, probes: 2}"

// cache is a proxy in front of some shards, at an address that other hosts reach.
type cache struct {
	*proxy
	addr   string
	shards []*redistest.Node
}

func startCache(t *testing.T, shards int, redis string) *cache {
	t.Helper()
	c := &cache{}
	var all []string
	for i := range shards {
		n := redistest.Server(t)
		c.shards = append(c.shards, n)
		all = append(all, fmt.Sprintf("{name: s%d, primary: {address: %q}}", i, n.Addr()))
	}
	at, port := suite.Addresses(t, 1)[0], redistest.Port(t)
	c.addr = netip.AddrPortFrom(at, uint16(port)).String()
	c.proxy = run(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
spec:
  protocol: redis
  listen: {address: %s, port: %d, %s}
  %s
  redis: {%s}
  environments: {test: {shards: [%s]}}
  defaultEnvironment: test
`, at, port, keepalive, keepalive, redis, strings.Join(all, ", ")))
	return c
}

// name finds one that the proxy keeps at a shard.
func (c *cache) name(shard int, prefix string) string {
	c.t.Helper()
	client := redistest.Dial(c.t, c.addr)
	defer client.Close()
	for n := range 1000 {
		name := fmt.Sprintf("%s%d", prefix, n)
		client.Do("SET", name, "v")
		if c.shards[shard].Do("DEL", name) == ":1\r\n" {
			return name
		}
		client.Do("DEL", name)
	}
	c.t.Fatal("no name is at home there")
	return ""
}

// until waits until a shard's own view, by a command, matches an expression.
func (c *cache) until(shard int, what, pattern string, command ...string) {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	redistest.Eventually(c.t, limit, what, func() error {
		if got := c.shards[shard].Do(command...); !re.MatchString(got) {
			return errors.New(got)
		}
		return nil
	})
}

// TestClientIsCutOff pulls the cable of a host with clients of every kind: each is noticed, and so is whatever the proxy held for it at the server.
// Nobody else feels it.
func TestClientIsCutOff(t *testing.T) {
	t.Parallel()
	c := startCache(t, 1, "")
	far, near := newHost(t), newHost(t)
	steady := near.redis(c.addr)
	idle, blocked, watching, subscribed := far.redis(c.addr), far.redis(c.addr), far.redis(c.addr), far.redis(c.addr)
	idle.Do("PING")
	blocked.Send(redistest.Command("BLPOP", "queue", "0"))
	watching.Do("WATCH", "k")
	watching.Do("MULTI")
	subscribed.Do("SUBSCRIBE", "news")
	c.until(0, "a blocked client", "blocked_clients:1", "INFO", "clients")
	c.until(0, "a subscriber", `:1\r\n$`, "PUBSUB", "NUMSUB", "news")
	steady.Do("PING")
	c.shows(`dragoman_redis_downstream_connections{listener="default/cache"} 5`)

	mend := nettest.Cut(t, far.addr, 0)
	// What it is sent from now on, the kernel tries to deliver for a quarter of an hour.
	c.shards[0].Do("PUBLISH", "news", "x")
	c.shows(
		`dragoman_redis_downstream_connections{listener="default/cache"} 1`,
		`dragoman_redis_downstream_errors_total{listener="default/cache"} 4`,
	)
	c.until(0, "nobody to be blocked", "blocked_clients:0", "INFO", "clients")
	c.until(0, "nobody to be subscribed", `:0\r\n$`, "PUBSUB", "NUMSUB", "news")
	if got := steady.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("a client of another host: %q", got)
	}

	mend()
	if got := far.redis(c.addr).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("the host is back: %q", got)
	}
}

// TestShardIsCutOff pulls the cable of one of two shards, which says nothing: its keys get errors in time, whoever waits there for ever is told,
// whether the server has got the request or not, and the other shard's keys are as good as before. When the cable is back, all works.
func TestShardIsCutOff(t *testing.T) {
	t.Parallel()
	c := startCache(t, 2, "opTimeout: 1s")
	lost, kept, queue, free := c.name(0, "lost"), c.name(1, "kept"), c.name(0, "queue"), c.name(0, "free")
	app, waiting, late, subscribed := c.client(), c.client(), c.client(), c.client()
	// An idle connection for the request that will not arrive.
	app.Do("RPUSH", free, "x")
	if got, want := late.Do("BLPOP", free, "0"), "*2\r\n"+bulk(free)+bulk("x"); got != want {
		t.Fatalf("BLPOP: got %q, want %q", got, want)
	}
	idle := c.connections(0)
	waiting.Send(redistest.Command("BLPOP", queue, "0"))
	c.until(0, "a blocked client", "blocked_clients:1", "INFO", "clients")
	// It has taken the idle one; another is there once somebody else has been served.
	app.Do("RPUSH", free, "x")
	late.Do("BLPOP", free, "0")
	if c.connections(0) <= idle {
		t.Fatalf("no further connection than the %d before", idle)
	}
	subscribed.Do("SUBSCRIBE", lost)
	c.until(0, "a subscriber", `:1\r\n$`, "PUBSUB", "NUMSUB", lost)

	host, port := c.shards[0].Addr(), uint16(c.shards[0].Port())
	mend := nettest.Cut(t, netip.MustParseAddrPort(host).Addr(), port)
	late.Send(redistest.Command("BLPOP", free, "0"))
	failed := app.Do("GET", lost)
	if !strings.Contains(failed, "did not answer in time") {
		t.Errorf("a key of the lost shard: %q", failed)
	}
	for range 100 {
		if got := app.Do("SET", kept, "v"); got != "+OK\r\n" {
			t.Fatalf("a key of the other shard: %q", got)
		}
	}
	for what, client := range map[string]*redistest.Client{"whose request had arrived": waiting, "whose request has not": late} {
		if got := client.ReadFrame(); !strings.HasPrefix(got, "-ERR dragoman: shard \"s0\"") {
			t.Errorf("who waits for the lost shard, and %s: %q", what, got)
		}
		if got := client.Do("GET", kept); got != bulk("v") {
			t.Errorf("the other shard for the same client: %q", got)
		}
	}
	if got, err := subscribed.TryReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("a subscriber: %q, %v; want the end of the connection", got, err)
	}
	c.shows(
		fmt.Sprintf(`dragoman_redis_upstream_connections{cluster="default/cache/test",endpoint="%s",shard="s0"} 0`, host),
		fmt.Sprintf(`dragoman_redis_upstream_disconnects_total{cluster="default/cache/test",endpoint="%s",shard="s0"} 3`, host),
	)

	mend()
	redistest.Eventually(t, limit, "the lost shard to work again", func() error {
		if got := app.Do("SET", lost, "back"); got != "+OK\r\n" {
			return errors.New(got)
		}
		return nil
	})
	waiting.Send(redistest.Command("BLPOP", queue, "0"))
	// The old one's connection is still there for the server, which has not been told.
	redistest.Eventually(t, limit, "the queue to be served", func() error {
		app.Do("RPUSH", queue, "x")
		waiting.Timeout = time.Second
		got, err := waiting.TryReadFrame()
		if want := "*2\r\n" + bulk(queue) + bulk("x"); err == nil && got != want {
			t.Fatalf("BLPOP: got %q, want %q", got, want)
		}
		return err
	})
}

// client is one of this host, with patience.
func (c *cache) client() *redistest.Client {
	c.t.Helper()
	client := redistest.Dial(c.t, c.addr)
	client.Timeout = limit
	return client
}

// connections counts those of the proxy to a shard, and the one that asks.
func (c *cache) connections(shard int) int {
	return strings.Count(c.shards[shard].Do("CLIENT", "LIST"), "\n")
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
