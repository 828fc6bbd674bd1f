package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestPrefixRoutes(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 4)
	cfg := defaults()
	cfg.Routes = []resource.RedisRoute{ // longest first
		{Prefix: "user:vip:", Cluster: "vip", RemovePrefix: true},
		{Prefix: "user:", Cluster: "users"},
	}
	f := start(t, cfg, newCluster("main", nodes[0]), newCluster("users", nodes[1]), newCluster("vip", nodes[2], nodes[3]))
	c := f.dial()
	check(t, c,
		"SET user:1 a", "+OK", "SET other b", "+OK", "MSET user:vip:{x}1 c user:vip:{x}2 d", "+OK",
		"GET user:vip:{x}1", "$1 c",
		"MGET user:vip:{x}2 other user:1 user:vip:{x}1 nope user:vip:nope", "*6 $1 d $1 b $1 a $1 c $-1 $-1",
		"EXISTS user:1 other user:vip:{x}1", ":3",
		"RENAME user:vip:{x}1 user:vip:{x}3", "+OK",
		"RENAME user:1 other", "-"+errCrossSlot,
		"ZUNIONSTORE user:vip:{x}z 2 user:vip:{x}a user:vip:{x}b", ":0",
		"EVAL \"return KEYS[1]\" 1 user:vip:{x}9", "$4 {x}9",
		"MULTI", "+OK", "SET user:vip:{x}4 e", "+QUEUED", "GET user:vip:{x}4", "+QUEUED", "EXEC", "*2 +OK $1 e",
		"MULTI", "+OK", "GET user:1", "+QUEUED", "GET other", "-"+errCrossSlot, "DISCARD", "+OK",
		"RPUSH user:vip:{x}l v", ":1", "BLPOP user:vip:{x}l 1", "*2 $4 {x}l $1 v",
		"DBSIZE", ":5", "USER:1", "-ERR unknown command 'USER:1', with args beginning with: ",
		"DEL user:vip:{x}2 user:vip:{x}3 user:1 other", ":4",
	)
	onVip := nodes[2].Do("EXISTS", "{x}4") + nodes[3].Do("EXISTS", "{x}4")
	if onVip != ":1\r\n:0\r\n" && onVip != ":0\r\n:1\r\n" {
		t.Errorf("the prefix was not removed: %q", onVip)
	}
	if nodes[0].Calls("get")+nodes[1].Calls("set") == 0 {
		t.Error("a route was not used")
	}
	f.unpinned()
}

// A channel is heard at the cluster of the catch-all, which a transaction's keys need not be at.
func TestPublishOfARouteToAnotherCluster(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cfg := defaults()
	cfg.Routes = []resource.RedisRoute{{Prefix: "user:", Cluster: "users"}}
	main := newCluster("main", nodes[0])
	main.Table().Slots = new([redisproto.Slots]int32)
	f := start(t, cfg, main, newCluster("users", nodes[1]))
	c, sub := f.dial(), f.dial()
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	check(t, c,
		"MULTI", "+OK", "PUBLISH ch m", "+QUEUED", "SET k v", "+QUEUED", "EXEC", "*2 :1 +OK",
		"MULTI", "+OK", "SET user:1 v", "+QUEUED", "PUBLISH ch m", "-"+errCrossSlot, "EXEC", errAborted,
		"MULTI", "+OK", "PUBLISH ch m", "+QUEUED", "SET user:1 v", "-"+errCrossSlot, "EXEC", errAborted)
}

func TestRoutesWithoutCatchAll(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.CatchAll = nil
	cfg.CaseInsensitive = true
	cfg.Routes = []resource.RedisRoute{{Prefix: "A:", Cluster: "main", RemovePrefix: true}}
	node := redistest.Server(t)
	f := start(t, cfg, newCluster("main", node))
	c := f.dial()
	check(t, c, "SET a:k 1", "+OK", "GET A:k", "$1 1", "GET k", "-"+errNoRoute, "MGET a:k k", "-"+errNoRoute,
		"MULTI", "+OK", "GET k", "-"+errNoRoute, "EXEC", errAborted, "PING", "+PONG", "PUBLISH ch x", ":0", "DBSIZE", ":1")
	if got := node.Do("GET", "k"); got != "$1\r\n1\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestMirrors(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 5)
	cfg := defaults()
	cfg.CatchAll.Mirrors = []resource.Mirror{
		{Cluster: "all", Fraction: resource.MirrorScale},
		{Cluster: "writes", Fraction: resource.MirrorScale, ExcludeReads: true},
		{Cluster: "some", Fraction: resource.MirrorScale / 4},
	}
	f := start(t, cfg, newCluster("main", nodes[0], nodes[1]), newCluster("all", nodes[2]), newCluster("writes", nodes[3]), newCluster("some", nodes[4]))
	c := f.dial()
	const n = 400
	for i := range n {
		check(t, c, fmt.Sprintf("SET k%d 1", i), "+OK", fmt.Sprintf("GET k%d", i), "$1 1")
	}
	check(t, c, "MGET k1 k2 k3 k4", "*4 $1 1 $1 1 $1 1 $1 1", "HSCAN nope 0", "*2 $1 0 *0",
		// these would do harm, or nothing, on a connection that many share
		"BLPOP nope 0.01", "*-1", "MULTI", "+OK", "SET tx 1", "+QUEUED", "EXEC", "*1 +OK", "WATCH k1", "+OK", "UNWATCH", "+OK")
	redistest.Eventually(t, 5*time.Second, "the mirrors to have it all", func() error {
		if a, b := nodes[2].Calls("get"), nodes[3].Calls("set"); a != n || b != n {
			return fmt.Errorf("%d reads and %d writes were mirrored", a, b)
		}
		return nil
	})
	if nodes[3].Calls("get")+nodes[3].Calls("mget")+nodes[3].Calls("hscan") > 0 {
		t.Error("reads were mirrored that should not be")
	}
	if nodes[2].Calls("blpop")+nodes[2].Calls("multi")+nodes[2].Calls("watch") > 0 {
		t.Error("a command was mirrored that takes a connection of its own")
	}
	if got := nodes[4].Calls("set") + nodes[4].Calls("get"); got < n/4 || got > 3*n/4 {
		t.Errorf("a quarter of %d: %d", 2*n, got)
	}
	nodes[2].Kill()
	for i := range 20 {
		check(t, c, fmt.Sprintf("GET k%d", i), "$1 1")
	}
	f.quiet()
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cfg := defaults()
	main := newCluster("main", nodes...)
	main.Table().Options.Redis.Database = 5
	f := start(t, cfg, main)
	c := f.dial()
	check(t, c, "SET k 1", "+OK", "SELECT 3", "+OK", "GET k", "$-1", "SET k 3", "+OK", "SELECT 0", "+OK", "GET k", "$1 1",
		"MULTI", "+OK", "GET k", "+QUEUED", "SELECT 3", "+QUEUED", "GET k", "+QUEUED", "SELECT 0", "+QUEUED", "GET k", "+QUEUED",
		"EXEC", "*5 $1 1 +OK $1 3 +OK $1 1", "DBSIZE", ":1", "RPUSH q v", ":1", "BLPOP q 1", "*2 $1 q $1 v")
	if got := nodes[0].Do("DBSIZE") + nodes[1].Do("DBSIZE"); got != ":0\r\n:0\r\n" {
		t.Errorf("database 0 was used: %q", got)
	}
	cfg = defaults()
	cfg.Database = 3 // of this listener
	other := start(t, cfg, newCluster("main", nodes...))
	c = other.dial()
	check(t, c, "GET k", "$1 3", "SELECT 0", "+OK", "GET k", "$-1", "RESET", "+RESET", "GET k", "$1 3")
}

func credentials(user, password string) func() (string, string, error) {
	return func() (string, string, error) { return user, password, nil }
}

func TestUpstreamAuth(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		opts  []redistest.Option
		creds func() (string, string, error)
		want  string
	}{
		{"password", []redistest.Option{redistest.WithPassword("pw")}, credentials("", "pw"), "+OK\r\n"},
		{"user", []redistest.Option{redistest.WithUser("app", "pw", "~* &* +@all"), redistest.WithoutDefaultUser()}, credentials("app", "pw"), "+OK\r\n"},
		{"default by name", []redistest.Option{redistest.WithPassword("pw")}, credentials("default", "pw"), "+OK\r\n"},
		{"wrong password", []redistest.Option{redistest.WithPassword("pw")}, credentials("", "wrong"), "refused the proxy's set-up: WRONGPASS"},
		{"wrong user", []redistest.Option{redistest.WithPassword("pw")}, credentials("nobody", "pw"), "refused the proxy's set-up: WRONGPASS"},
		{"none", []redistest.Option{redistest.WithPassword("pw")}, nil, "refused the proxy's set-up: NOAUTH"},
		{"not wanted", nil, credentials("", "pw"), "refused the proxy's set-up: ERR AUTH <password> called without any password configured"},
		{"unreadable", []redistest.Option{redistest.WithPassword("pw")}, func() (string, string, error) { return "", "", fmt.Errorf("no such file") }, "no credentials: no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			node := redistest.Server(t, tc.opts...)
			main := newCluster("main", node)
			main.Table().Options.Redis.Credentials = tc.creds
			f := start(t, defaults(), main)
			for _, resp := range []string{"2", "3"} {
				c := f.dial()
				c.Do("HELLO", resp)
				if tc.name == "not wanted" && resp == "3" {
					continue // HELLO AUTH with a default user that needs no password is right
				}
				wanted := tc.want
				if tc.name == "none" && resp == "3" {
					wanted = "refused the proxy's set-up: NOAUTH HELLO must be called"
				}
				if got := c.Do("SET", "k", "v"); got != wanted && (wanted[0] == '+' || !strings.Contains(got, wanted)) {
					t.Errorf("RESP%s: got %q, want %q", resp, got, wanted)
				}
				if wanted[0] == '+' {
					check(t, c, "MULTI", "+OK", "GET k", "+QUEUED", "EXEC", "*1 $1 v")
					c.Do("SUBSCRIBE", "ch")
				} else if got := c.Do("SUBSCRIBE", "ch"); !strings.HasPrefix(got, "-ERR dragoman: ") {
					t.Errorf("SUBSCRIBE: %q", got)
				}
			}
		})
	}
}

func TestCredentialsChange(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("old"))
	main := newCluster("main", node)
	password := "old"
	main.Table().Options.Redis.Credentials = func() (string, string, error) { return "", password, nil }
	f := start(t, defaults(), main)
	c := f.dial()
	check(t, c, "SET k v", "+OK")
	admin := node.Client()
	admin.Do("CONFIG", "SET", "requirepass", "new")
	f.onLoop(func(*worker) { password = "new" })
	check(t, c, "GET k", "$1 v")
	admin.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	redistest.Eventually(t, 5*time.Second, "a connection with the new password", func() error {
		if got := c.Do("GET", "k"); got != "$1\r\nv\r\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki), redistest.WithPassword("pw"))
	e := endpointOf(node.Addr(), "s1")
	e.TLS = pki.ClientConfig()
	e.TLS.ServerName = "localhost"
	main := clusterOf("main", filters.Shard{Name: "s1", Primary: e})
	main.Table().Options.Redis.Credentials = credentials("", "pw")
	f := start(t, defaults(), main)
	c, sub := f.dial(), f.dial()
	big := strings.Repeat("x", 3<<20)
	check(t, c, "SET k v", "+OK", "MULTI", "+OK", "GET k", "+QUEUED", "EXEC", "*1 $1 v", "BLPOP nope 0.01", "*-1")
	if got := c.Do("SET", "big", big); got != "+OK\r\n" {
		t.Errorf("SET: %q", got)
	}
	if got := c.Do("GET", "big"); got != "$3145728\r\n"+big+"\r\n" {
		t.Errorf("GET: %d bytes", len(got))
	}
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	check(t, c, "PUBLISH ch m", ":1")
	if got := sub.ReadFrame(); got != message("message", "ch", "m") {
		t.Errorf("got %q", got)
	}
	// a certificate that nobody vouches for
	strange := endpointOf(node.Addr(), "s1")
	strange.TLS = redistest.NewPKI(t).ClientConfig()
	strange.TLS.ServerName = "localhost"
	f = start(t, defaults(), clusterOf("main", filters.Shard{Name: "s1", Primary: strange}))
	if got := f.dial().Do("GET", "k"); !strings.HasPrefix(got, "-ERR dragoman: shard \"s1\"") || !strings.Contains(got, "certificate") {
		t.Errorf("got %q", got)
	}
}
