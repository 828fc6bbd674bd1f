package proxy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// bulk is a Redis reply.
func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// received is the number of connections that a server has seen, by one of them.
func received(c *redistest.Client) string {
	_, rest, _ := strings.Cut(c.Do("INFO", "stats"), "total_connections_received:")
	number, _, _ := strings.Cut(rest, "\r")
	return number
}

// TestControlPlane runs from somebody else's control plane, and shows where
// everything comes from.
func TestControlPlane(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Delta, client.SotW} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			node := redistest.Server(t)
			port := redistest.Port(t)
			f := startForeign(t)
			f.publish(&translated(t, ambassador("cache", port, one(node.Addr())), "test").Set)
			r := start(t, "", f.options(func(o *client.Options) { o.Mode = mode }))
			if got := redistest.Dial(t, local(port)).Do("SET", "k", "v"); got != "+OK\r\n" {
				t.Errorf("got %q", got)
			}
			if got := r.get("/ready"); got != "LIVE\n" {
				t.Errorf("/ready: %q", got)
			}
			for _, want := range []string{
				`"connected": true`, `"server": "` + f.addr + `"`, `"origin": "` + f.addr + `"`,
				`"protocol": "` + mode.String() + `"`, `"name": "default/cache"`, `"state": "running"`, `"environment": "test"`,
			} {
				r.shows("/config_dump", want)
			}
			r.shows("/metrics", "dragoman_xds_from_disk 0")
			r.shows("/listeners", "default/cache::"+local(port))
		})
	}
}

// TestEndpointsMoveUnderLoad loses no request while a shard moves to and fro.
func TestEndpointsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	a, b, c := redistest.Server(t), redistest.Server(t), redistest.Server(t)
	port := redistest.Port(t)
	f := startForeign(t)
	set := translated(t, ambassador("cache", port, shards(a, b)), "test")
	f.publish(&set.Set)
	r := start(t, "", f.options())
	l := r.load(port)
	for i := range 10 {
		to := []*redistest.Node{c, b}[i%2]
		set.move("default/cache/test", 1, to.Port())
		f.publish(&set.Set)
		r.shows("/clusters", to.Addr())
		l.goesOn()
	}
	l.end()
}

// TestEndpointsMove changes nothing but endpoints: what is in flight on an
// endpoint that stays is not touched, and a subscriber goes on for ever.
func TestEndpointsMove(t *testing.T) {
	t.Parallel()
	stays, from, to := redistest.Server(t), redistest.Server(t), redistest.Server(t)
	port := redistest.Port(t)
	f := startForeign(t)
	set := translated(t, ambassador("cache", port, shards(stays, from), `redis: {distribution: modula, hash: one_at_a_time, hashTag: "{}"}`), "test")
	f.publish(&set.Set)
	r := start(t, "", f.options())
	cluster := "default/cache/test"

	key := func(node *redistest.Node) string { // that lives there
		c := redistest.Dial(t, local(port))
		for i := range 100 {
			k := fmt.Sprintf("k%d", i)
			c.Do("SET", k, "1")
			if strings.HasPrefix(node.Do("GET", k), "$1") {
				return k
			}
		}
		t.Fatal("no key lives on the server")
		return ""
	}
	staying, moving := key(stays), key(from)
	blocked := redistest.Dial(t, local(port))
	blocked.Do("DEL", staying+"{list}")
	list := "{" + staying + "}list"
	blocked.Send(redistest.Command("BLPOP", list, "0"))
	subscriber := redistest.Dial(t, local(port))
	channel := "{" + staying + "}news"
	subscriber.Do("SUBSCRIBE", channel)
	r.eventually("the client to be blocked", func() error {
		if got := stays.Info("blocked_clients"); got != "1" {
			return errors.New(got)
		}
		return nil
	})
	client := redistest.Dial(t, local(port))
	admin := stays.Client()
	connections := received(admin)

	set.move(cluster, 1, to.Port())
	f.publish(&set.Set)
	r.shows("/clusters", to.Addr())
	r.eventually("keys to go to the other server", func() error {
		if got := client.Do("SET", moving, "moved"); got != "+OK\r\n" {
			return errors.New(got)
		}
		if got := to.Do("GET", moving); got != bulk("moved") {
			return errors.New(got)
		}
		return nil
	})
	if got := client.Do("GET", staying); got != bulk("1") {
		t.Errorf("a key that stays: %q", got)
	}
	if got := received(admin); got != connections {
		t.Errorf("%s connections to the endpoint that stays, before %s", got, connections)
	}
	stays.Do("RPUSH", list, "x")
	if got := blocked.ReadFrame(); got != "*2\r\n"+bulk(list)+bulk("x") {
		t.Errorf("the blocked client: %q", got)
	}
	stays.Do("PUBLISH", channel, "hello")
	if got := subscriber.ReadFrame(); !strings.HasSuffix(got, bulk("hello")) {
		t.Errorf("the subscriber: %q", got)
	}
	if n := strings.Count(r.log.String(), "configuration accepted"); n != 1 {
		t.Errorf("%d configurations are logged, want endpoints to come and go silently", n)
	}
}

// TestTCPEndpointsMove: a connection that leads to an endpoint that is gone has
// until the deadline; one to an endpoint that stays is not touched.
func TestTCPEndpointsMove(t *testing.T) {
	t.Parallel()
	stays, from, to := redistest.Server(t), redistest.Server(t), redistest.Server(t)
	port := redistest.Port(t)
	f := startForeign(t)
	set := translated(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: raw}
spec:
  protocol: tcp
  listen: {port: %d}
  drainDeadline: 300ms
  environments: {test: {endpoints: [{address: %q}, {address: %q}]}}
`, port, stays.Addr(), from.Addr()), "test")
	f.publish(&set.Set)
	r := start(t, "", f.options())
	for _, n := range []*redistest.Node{stays, from, to} {
		n.Do("SET", "where", n.Addr())
	}
	at := func(n *redistest.Node) *redistest.Client {
		for range 20 {
			if c := redistest.Dial(t, local(port)); c.Do("GET", "where") == bulk(n.Addr()) {
				return c
			}
		}
		t.Fatalf("no connection leads to %s", n.Addr())
		return nil
	}
	staying, leaving := at(stays), at(from)
	set.move("default/raw/test", 1, to.Port())
	f.publish(&set.Set)
	r.shows("/clusters", to.Addr())
	at(to)
	if _, err := leaving.TryReadFrame(); err == nil {
		t.Error("a connection to an endpoint that is gone lives on")
	}
	if got := staying.Do("GET", "where"); got != bulk(stays.Addr()) {
		t.Errorf("a connection to an endpoint that stays: %q", got)
	}
}

// TestRemoved: a listener that is not sent any more closes after its drain, and
// the others are not touched.
func TestRemoved(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	keep, drop := redistest.Port(t), redistest.Port(t)
	f := startForeign(t)
	kept := ambassador("keep", keep, one(node.Addr()))
	f.publish(&translated(t, kept+ambassador("drop", drop, one(node.Addr()), "drainDeadline: 200ms"), "test").Set)
	r := start(t, "", f.options())
	staying, leaving := redistest.Dial(t, local(keep)), redistest.Dial(t, local(drop))
	staying.Do("SUBSCRIBE", "news")
	leaving.Do("SUBSCRIBE", "news")
	f.publish(&translated(t, kept, "test").Set)
	r.closes(drop)
	if _, err := leaving.TryReadFrame(); err == nil {
		t.Error("the connection of a removed listener lives on")
	}
	node.Do("PUBLISH", "news", "hello")
	if got := staying.ReadFrame(); !strings.HasSuffix(got, bulk("hello")) {
		t.Errorf("the client of the other listener: %q", got)
	}
}

// TestEnvironmentFromControlPlane: the control plane chooses another environment
// for the node.
func TestEnvironmentFromControlPlane(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"Drain", "Cut"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dev, prod := redistest.Server(t), redistest.Server(t)
			dev.Do("SET", "where", "dev")
			prod.Do("SET", "where", "prod")
			port := redistest.Port(t)
			f := startForeign(t)
			document := ambassador("cache", port, fmt.Sprintf("dev: {address: %q}, prod: {address: %q}", dev.Addr(), prod.Addr()),
				"onEnvironmentChange: "+mode, "drainDeadline: 5s")
			f.publish(&translated(t, document, "dev").Set)
			r := start(t, "", f.options())
			client := redistest.Dial(t, local(port))
			if got := client.Do("GET", "where"); got != bulk("dev") {
				t.Fatalf("got %q", got)
			}
			f.publish(&translated(t, document, "prod").Set)
			r.shows("/listeners?format=json", `"environment": "prod"`)
			if got := redistest.Dial(t, local(port)).Do("GET", "where"); got != bulk("prod") {
				t.Errorf("a new client: %q", got)
			}
			want := map[string]string{"Drain": bulk("prod"), "Cut": "closed"}[mode]
			r.eventually("the old connection to "+mode, func() error {
				got, err := client.TryDo("GET", "where")
				if err != nil {
					got = "closed"
				}
				if got != want {
					return fmt.Errorf("%q, %w", got, err)
				}
				return nil
			})
		})
	}
}
