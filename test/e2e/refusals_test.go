package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// before starts a proxy in front of one server.
func before(t *testing.T, node *redistest.Node, redis string) (*Proxy, string) {
	t.Helper()
	m := mesh{port: redistest.Port(t), redis: redis, env: fmt.Sprintf("address: %q", node.Addr())}
	return startProxy(t, m.YAML()), m.Addr()
}

// TestRefusedConnection: a server that serves, but lets no further connection in, is not down: only what needs one is refused.
func TestRefusedConnection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, env, want string
		close           func(c *redistest.Client) string
	}{
		{
			"as many clients as it may have", "", "ERR max number of clients reached",
			func(c *redistest.Client) string { return c.Do("CONFIG", "SET", "maxclients", "2") },
		},
		{
			"another password by now", "", "NOAUTH Authentication required.",
			func(c *redistest.Client) string { return c.Do("CONFIG", "SET", "requirepass", "new") },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			node := redistest.Server(t)
			operator := node.Client()
			p, addr := before(t, node, "")
			c := redistest.Dial(t, addr)
			wantReply(t, c, "+OK\r\n", "SET", "k", "v")
			if got := tt.close(operator); got != "+OK\r\n" {
				t.Fatal(got)
			}
			for range 20 {
				blocked := redistest.Dial(t, addr)
				if got := blocked.Do("BLPOP", "l", "1"); !strings.Contains(got, tt.want) || !strings.HasPrefix(got, "-ERR dragoman: ") {
					t.Errorf("BLPOP: %q", got)
				}
				wantReply(t, c, "$1\r\nv\r\n", "GET", "k")
			}
			if page := p.Get("/clusters"); strings.Contains(page, "failed") {
				t.Errorf("/clusters: %s", page)
			}
		})
	}
}

// TestServerThatCannotSave refuses writes, and even PING; it is read as before, by a proxy that comes later, too, and one that checks it.
func TestServerThatCannotSave(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	operator := node.Client()
	wantReply(t, operator, "+OK\r\n", "SET", "k", "v")
	dir := strings.Split(operator.Do("CONFIG", "GET", "dir"), "\r\n")[4]
	if err := os.MkdirAll(filepath.Join(dir, "dump.rdb", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantReply(t, operator, "+OK\r\n", "CONFIG", "SET", "save", "3600 1")
	wantPrefix(t, operator, "+Background saving started", "BGSAVE")
	redistest.Eventually(t, readyLimit, "the server to notice", func() error {
		if got := operator.Do("PING"); !strings.HasPrefix(got, "-MISCONF") {
			return fmt.Errorf("PING: %q", got)
		}
		return nil
	})
	for _, redis := range []string{"", "healthCheck: {interval: 50ms, timeout: 10s, unhealthyThreshold: 1}"} {
		p, addr := before(t, node, redis)
		c := redistest.Dial(t, addr)
		for range 50 {
			wantReply(t, c, "$1\r\nv\r\n", "GET", "k")
			wantPrefix(t, c, "-MISCONF Redis is configured to save RDB snapshots", "SET", "k", "w")
		}
		if redis != "" {
			redistest.Eventually(t, readyLimit, "the server to be checked", func() error {
				if page := p.Get("/metrics"); !regexp.MustCompile(`dragoman_cluster_health_checks_total\{[^}]*\} ([5-9]|\d\d)`).MatchString(page) {
					return errors.New("not 5 times yet")
				}
				return nil
			})
		}
		wantReply(t, c, "$1\r\nv\r\n", "GET", "k")
	}
}

// TestTemporaryErrorsKeepTheirCode: clients try again when they see LOADING or MASTERDOWN, also where it is the proxy that answers.
func TestTemporaryErrorsKeepTheirCode(t *testing.T) {
	t.Parallel()
	t.Run("LOADING", func(t *testing.T) {
		t.Parallel()
		node := redistest.Server(t, redistest.WithConfig("enable-debug-command yes", "loading-process-events-interval-bytes 1024"))
		operator := node.Client()
		wantReply(t, operator, "+OK\r\n", "DEBUG", "POPULATE", "20000")
		wantReply(t, operator, "+OK\r\n", "CONFIG", "SET", "key-load-delay", "50000")
		reload := node.Client()
		reload.Send(redistest.Command("DEBUG", "RELOAD"))
		redistest.Eventually(t, readyLimit, "the server to load", func() error {
			if got := operator.Do("PING"); !strings.HasPrefix(got, "-LOADING") {
				return fmt.Errorf("PING: %q", got)
			}
			return nil
		})
		_, addr := before(t, node, "")
		c := redistest.Dial(t, addr)
		for range 20 {
			wantPrefix(t, c, "-LOADING dragoman: shard ", "GET", "key:1")
		}
		wantReply(t, operator, "+OK\r\n", "CONFIG", "SET", "key-load-delay", "0")
		awaitReply(t, c, "$7\r\nvalue:1\r\n", "GET", "key:1")
	})
	t.Run("MASTERDOWN", func(t *testing.T) {
		t.Parallel()
		node := redistest.Server(t, redistest.WithConfig("replica-serve-stale-data no"))
		operator := node.Client()
		wantReply(t, operator, "+OK\r\n", "REPLICAOF", "127.0.0.1", "1")
		_, addr := before(t, node, "")
		c := redistest.Dial(t, addr)
		for range 20 {
			wantPrefix(t, c, "-MASTERDOWN dragoman: shard ", "GET", "k")
		}
		wantReply(t, operator, "+OK\r\n", "REPLICAOF", "NO", "ONE")
		awaitReply(t, c, "$-1\r\n", "GET", "k")
	})
}
