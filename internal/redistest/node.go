package redistest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startLimit bounds a server's start. It takes some 10 ms; a machine that runs every package's tests at once under -race needs more.
const startLimit = 30 * time.Second

// Node is one redis-server process. Kill, Freeze, Thaw and Pid are those of Process.
type Node struct {
	*Process

	// Read-only after construction.
	config     nodeConfig
	port       int
	socketPath string
	id         string // the cluster's node id, empty outside a cluster
}

// Server starts a redis-server on a port of its own and returns when it answers. Without options it has no password, no TLS, no replicas,
// and saves nothing to disk.
func Server(tb TB, opts ...Option) *Node {
	tb.Helper()
	n := newNode(tb, opts...)
	if err := n.start(); err != nil {
		tb.Fatalf("%v", err)
	}
	n.awaitReady()
	return n
}

// newNode prepares a node without starting it.
func newNode(tb TB, opts ...Option) *Node {
	tb.Helper()
	config := nodeConfig{host: "127.0.0.1"}
	for _, opt := range opts {
		opt(&config)
	}
	n := &Node{config: config, port: config.port}
	if n.port == 0 {
		n.port = Port(tb)
	}
	n.Process = newProcess(tb, "redis-server", "redis.conf")
	n.socketPath = filepath.Join(n.dir, "s")
	conf := config.render(n.port, n.socketPath)
	if err := os.WriteFile(filepath.Join(n.dir, "redis.conf"), []byte(conf), 0o600); err != nil {
		tb.Fatalf("writing redis.conf: %v", err)
	}
	return n
}

// Addr returns "127.0.0.1:port", or the address of WithAddress.
func (n *Node) Addr() string { return net.JoinHostPort(n.config.host, strconv.Itoa(n.port)) }

// Port returns the port of Addr.
func (n *Node) Port() int { return n.port }

// SocketPath returns the unix socket of a node started WithUnixSocket.
func (n *Node) SocketPath() string { return n.socketPath }

// ID returns the node id of a Redis Cluster's node.
func (n *Node) ID() string { return n.id }

// Restart kills the node, if it still runs, and starts it again on the same port. Its data is gone; a cluster's node keeps its identity.
func (n *Node) Restart() {
	n.tb.Helper()
	n.Kill()
	if err := n.start(); err != nil {
		n.tb.Fatalf("%v", err)
	}
	n.awaitReady()
}

// Client returns a client that is logged in with all rights, over TLS where the node wants it.
func (n *Node) Client() *Client {
	n.tb.Helper()
	conn, err := dial(n.Addr(), n.tlsConfig())
	if err != nil {
		n.tb.Fatalf("%v", err)
	}
	c := NewClient(n.tb, conn)
	if auth := n.config.credentials(); auth != nil {
		if got := c.Do(append([]string{"AUTH"}, auth...)...); got != "+OK\r\n" {
			n.tb.Fatalf("AUTH at %s: %q", n.Addr(), got)
		}
	}
	return c
}

// Do sends one command with all rights, on a connection of its own, and returns the raw reply.
func (n *Node) Do(args ...string) string {
	n.tb.Helper()
	reply, err := n.TryDo(args...)
	if err != nil {
		n.tb.Fatalf("%.80q at %s: %v", args, n.Addr(), err)
	}
	return reply
}

// TryDo is Do for goroutines that may not fail a test, and for nodes that may be down.
func (n *Node) TryDo(args ...string) (string, error) {
	conn, err := dial(n.Addr(), n.tlsConfig())
	if err != nil {
		return "", err
	}
	c := &Client{Timeout: 10 * time.Second, tb: n.tb, conn: conn, r: newReader(conn)}
	defer c.Close()
	if auth := n.config.credentials(); auth != nil {
		reply, err := c.TryDo(append([]string{"AUTH"}, auth...)...)
		if err != nil || reply != "+OK\r\n" {
			return reply, err
		}
	}
	return c.TryDo(args...)
}

// Info returns one field of the node's INFO, such as "role" or "connected_clients"; empty when there is no such field.
func (n *Node) Info(field string) string {
	n.tb.Helper()
	return infoField(n.Do("INFO", "everything"), field)
}

// Calls returns how often the node has executed a command, such as "get" or "config|get".
func (n *Node) Calls(command string) int {
	n.tb.Helper()
	stats := infoField(n.Do("INFO", "commandstats"), "cmdstat_"+command)
	rest, ok := strings.CutPrefix(stats, "calls=")
	if !ok {
		return 0
	}
	count, _, _ := strings.Cut(rest, ",")
	calls, err := strconv.Atoi(count)
	if err != nil {
		n.tb.Fatalf("calls of %s at %s: %q", command, n.Addr(), stats)
	}
	return calls
}

// awaitReady waits until the node answers and, for a replica, until it follows its primary.
func (n *Node) awaitReady() {
	n.tb.Helper()
	err := n.waitReady(startLimit, func() error {
		reply, err := n.TryDo("PING")
		if err == nil && reply != "+PONG\r\n" && !strings.HasPrefix(reply, "-NO") {
			err = fmt.Errorf("PING is answered with %q", reply) // -LOADING, -MASTERDOWN
		}
		return err
	})
	if err == nil && n.config.replicaOf != nil {
		err = n.waitReady(startLimit, n.followsPrimary)
	}
	if err != nil {
		n.tb.Fatalf("%v", err)
	}
}

var errLinkDown = errors.New("the link to the primary is not up")

func (n *Node) followsPrimary() error {
	info, err := n.TryDo("INFO", "replication")
	if err == nil && infoField(info, "master_link_status") != "up" {
		err = errLinkDown
	}
	return err
}

func (n *Node) tlsConfig() *tls.Config {
	if n.config.pki == nil {
		return nil
	}
	return n.config.pki.ClientConfig()
}

// infoField finds a field's value in INFO's "field:value" lines.
func infoField(info, field string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return value
		}
	}
	return ""
}
