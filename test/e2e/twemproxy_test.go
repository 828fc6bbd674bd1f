package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// launchTwemproxy runs the face of twemproxy with its statistics on a port of its own.
func launchTwemproxy(t *testing.T, env []string, args ...string) (p *Proxy, stats string) {
	t.Helper()
	port := redistest.Port(t)
	p = launch(t, env, append([]string{"twemproxy", "-a", "127.0.0.1", "-s", strconv.Itoa(port)}, args...)...)
	return p, "127.0.0.1:" + strconv.Itoa(port)
}

// TestTwemproxyPod is the Pod that people run: a variable names the servers, which are not there yet when the proxy starts, come later, and
// are found by name. Nothing but the port is changed, so that tests can run side by side.
func TestTwemproxyPod(t *testing.T) {
	t.Parallel()
	first, second := redistest.Server(t), redistest.Server(t)
	first.Kill()
	second.Kill()
	listen := mesh{port: redistest.Port(t)}.Addr()
	p, _ := launchTwemproxy(t, []string{
		fmt.Sprintf("REDIS_SERVERS=localhost:%d:1,localhost:%d:1", first.Port(), second.Port()), "DRAGOMAN_LISTEN=" + listen,
	})
	p.awaitReady()
	client := redistest.Dial(t, listen)
	if got := client.Do("GET", "k"); !strings.HasPrefix(got, "-") {
		t.Errorf("GET without servers: got %q, want an error", got)
	}
	first.Restart()
	second.Restart()
	redistest.Eventually(t, readyLimit, "all keys to be served", func() error {
		for i := range 40 { // keys that differ in their last characters only stay together, with twemproxy's default hash
			if got := client.Do("SET", fmt.Sprint(i, ":k"), fmt.Sprint(i)); got != "+OK\r\n" {
				return fmt.Errorf("SET %d:k: %q", i, got)
			}
		}
		return nil
	})
	if got := redisCLI(t, listen, "", "mget", "0:k", "1:k", "19:k"); got != "0\n1\n19\n" {
		t.Errorf("redis-cli mget: %q", got)
	}
	if a, b := first.Do("DBSIZE"), second.Do("DBSIZE"); a == ":0\r\n" || b == ":0\r\n" {
		t.Errorf("keys at the servers: %q and %q, want some at each", a, b)
	}
}

// pool renders a pool of nutcracker.yml.
func pool(name, listen, options string, servers []string) string {
	return fmt.Sprintf("%s:\n  listen: %s\n  redis: true\n  timeout: 2000\n  %s\n  servers:\n  - %s\n",
		name, listen, strings.ReplaceAll(options, "; ", "\n  "), strings.Join(servers, "\n  - "))
}

// TestTwemproxySideBySide: what one of twemproxy and the proxy writes, the other finds, with the same file before the same servers.
func TestTwemproxySideBySide(t *testing.T) {
	t.Parallel()
	var plain, weighted, namedServers, sockets []string
	for i := range 4 {
		n := redistest.Server(t, redistest.WithUnixSocket())
		plain = append(plain, n.Addr()+":1")
		weighted = append(weighted, fmt.Sprintf("%s:%d", n.Addr(), i+1))
		namedServers = append(namedServers, fmt.Sprintf("%s:1 shard-%d", n.Addr(), i))
		sockets = append(sockets, fmt.Sprintf("%s:1 socket-%d", n.SocketPath(), i))
	}
	pools := []struct {
		options string
		servers []string
	}{
		{"distribution: ketama; hash: fnv1a_64", plain},
		{"distribution: ketama; hash: md5; hash_tag: \"{}\"", namedServers},
		{"distribution: ketama; hash: jenkins; preconnect: true; server_connections: 2", weighted},
		{"distribution: modula; hash: crc16; backlog: 64", weighted},
		{"distribution: modula; hash: hsieh; hash_tag: \"[]\"; redis_db: 3", plain},
		{"distribution: ketama; hash: murmur", sockets},
		{"distribution: modula; hash: one_at_a_time; auto_eject_hosts: true; server_retry_timeout: 2000; server_failure_limit: 2", namedServers},
	}
	var theirs, ours string
	listen := make([]string, len(pools))
	for i, p := range pools {
		name := fmt.Sprint("pool", i)
		listen[i] = mesh{port: redistest.Port(t)}.Addr()
		theirs += pool(name, mesh{port: redistest.Port(t)}.Addr(), p.options, p.servers)
		ours += pool(name, listen[i], p.options, p.servers)
	}
	nutcracker := redistest.Nutcracker(t, theirs)
	p, _ := launchTwemproxy(t, nil, "-c", filetest.Put(t, filepath.Join(t.TempDir(), "nutcracker.yml"), ours))
	p.awaitReady()
	for i, p := range pools {
		their, our := redistest.Dial(t, nutcracker.Addrs()[i]), redistest.Dial(t, listen[i])
		for n := range 80 {
			key := []string{"key", "{a}", "[tag]", "x{b}y[c]", "\xff\x00\r\n", ""}[n%6] + fmt.Sprint(i, "/", n)
			writer, reader := their, our
			if n%2 == 1 {
				writer, reader = our, their
			}
			writer.Do("SET", key, "v"+key)
			if got := reader.Do("GET", key); got != bulkOf("v"+key) {
				t.Errorf("%s: %q, written by one, is not found by the other: %q", p.options, key, got)
			}
		}
	}
}

// TestTwemproxyEjects: with auto_eject_hosts both leave a dead server out, its keys go where both agree, and come back with it.
func TestTwemproxyEjects(t *testing.T) {
	t.Parallel()
	var nodes []*redistest.Node
	var servers []string
	for range 4 {
		n := redistest.Server(t)
		nodes = append(nodes, n)
		servers = append(servers, n.Addr()+":1")
	}
	const options = "hash: md5; auto_eject_hosts: true; server_retry_timeout: 3000; server_failure_limit: 2"
	nutcracker := redistest.Nutcracker(t, pool("alpha", mesh{port: redistest.Port(t)}.Addr(), options, servers))
	listen := mesh{port: redistest.Port(t)}.Addr()
	p, stats := launchTwemproxy(t, nil, "-c", filetest.Put(t, filepath.Join(t.TempDir(), "nutcracker.yml"), pool("alpha", listen, options, servers)))
	p.awaitReady()
	their, our := redistest.Dial(t, nutcracker.Addr()), redistest.Dial(t, listen)
	// All keys in one go, so that a retry of the dead server spoils one round and not each.
	agree := func(round int) error {
		for n := range 60 {
			key, value := fmt.Sprint("key", n), fmt.Sprint(round, "/", n)
			if got := our.Do("SET", key, value); got != "+OK\r\n" {
				return fmt.Errorf("SET %s through the proxy: %q", key, got)
			}
			if got := their.Do("GET", key); got != bulkOf(value) {
				return fmt.Errorf("GET %s through twemproxy: %q", key, got)
			}
		}
		return nil
	}
	if err := agree(0); err != nil {
		t.Fatal(err)
	}
	nodes[1].Kill()
	round := 0
	until := func(what string, also func() error) {
		t.Helper()
		redistest.Eventually(t, readyLimit, what, func() error {
			round++
			if err := agree(round); err != nil {
				return err
			}
			return also()
		})
	}
	until("both to leave the dead server out", func() error { return nil })
	nodes[1].Restart()
	until("both to have it back", func() error {
		if got := nodes[1].Do("DBSIZE"); got == ":0\r\n" {
			return fmt.Errorf("it has no keys")
		}
		return nil
	})
	wantStats(t, stats, servers)
}

// wantStats compares the statistics with twemproxy's own.
func wantStats(t *testing.T, addr string, servers []string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	var pool map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("statistics: %v\n%s", err, body)
	}
	if err := json.Unmarshal(all["alpha"], &pool); err != nil {
		t.Fatalf("statistics: %v\n%s", err, body)
	}
	for _, key := range []string{"service", "source", "version", "uptime", "timestamp", "total_connections", "curr_connections"} {
		if all[key] == nil {
			t.Errorf("statistics have no %s; there are %q", key, slices.Sorted(maps.Keys(all)))
		}
	}
	if ejects, _ := pool["server_ejects"].(float64); ejects < 1 {
		t.Errorf("server_ejects: %v\n%s", pool["server_ejects"], body)
	}
	for _, server := range servers {
		name := strings.TrimSuffix(server, ":1")
		counts, _ := pool[name].(map[string]any)
		requests, _ := counts["requests"].(float64)
		responses, _ := counts["responses"].(float64)
		if requests < 1 || responses < 1 || responses > requests {
			t.Errorf("statistics of %s: %v", name, counts)
		}
	}
}
