package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// Names of the contenders.
const (
	dragoman        = "dragoman"
	nutcracker      = "nutcracker"       // as Debian starts it: no options
	nutcrackerTuned = "nutcracker-tuned" // -m 512 -v 4
	haproxy         = "haproxy"          // mode tcp, one thread, in front of one shard: it cannot distribute
	relay           = gauge.Relay        // bytes and nothing else, in front of one shard
	direct          = "direct"           // one shard without anything in between
)

func contenderNames() []string {
	return []string{dragoman, nutcracker, nutcrackerTuned, haproxy, relay, direct}
}

// contender is something that answers Redis commands on a port.
type contender struct {
	name    string
	port    int
	proc    *gauge.Process // whose CPU and memory count; nil for direct
	sharded bool           // its keys lie on all four shards
}

// Name is the contender's.
func (c *contender) Name() string { return c.name }

// launch starts a fresh instance of a contender.
func launch(ctx context.Context, tb *testbed, name string) (*contender, error) {
	if name == direct {
		return &contender{name: name, port: tb.shards[0]}, nil
	}
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, port: port, sharded: name != haproxy && name != relay}
	switch name {
	case dragoman:
		err = c.startDragoman(ctx, tb)
	case nutcracker:
		err = c.startNutcracker(ctx, tb)
	case nutcrackerTuned:
		err = c.startNutcracker(ctx, tb, "-m", "512", "-v", "4")
	case haproxy:
		err = c.startHAProxy(ctx, tb)
	case relay:
		err = c.run(ctx, tb, tb.relay, []string{strconv.Itoa(c.port), strconv.Itoa(tb.shards[0])})
	default:
		err = fmt.Errorf("no contender %q: want some of %s", name, strings.Join(contenderNames(), ","))
	}
	return c, err
}

func (c *contender) startNutcracker(ctx context.Context, tb *testbed, options ...string) error {
	stats, err := gauge.FreePort(ctx)
	if err != nil {
		return err
	}
	path, err := tb.write(fmt.Sprintf("nutcracker-%d.yml", c.port), nutcrackerConfig(c.port, tb.shards))
	if err != nil {
		return err
	}
	args := append([]string{"-c", path, "-a", "127.0.0.1", "-s", strconv.Itoa(stats)},
		"-p", path+".pid", "-o", tb.logFile(c.name))
	return c.run(ctx, tb, "nutcracker", slices.Concat(args, options))
}

// nutcrackerConfig hashes with murmur, as meshConfig does: the keys of
// redis-benchmark differ in their last digits only, and the default, fnv1a_64,
// leaves such keys so close together that a thousand of them come to lie in ten
// places of the continuum.
func nutcrackerConfig(port int, shards []int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "bench:\n  listen: 127.0.0.1:%d\n  redis: true\n  hash: murmur\n  distribution: ketama\n", port)
	b.WriteString("  backlog: 1024\n  servers:\n")
	for _, s := range shards {
		fmt.Fprintf(&b, "  - 127.0.0.1:%d:1\n", s)
	}
	return b.String()
}

func (c *contender) startHAProxy(ctx context.Context, tb *testbed) error {
	path, err := tb.write(fmt.Sprintf("haproxy-%d.cfg", c.port), haproxyConfig(c.port, tb.shards[0]))
	if err != nil {
		return err
	}
	return c.run(ctx, tb, "haproxy", []string{"-db", "-f", path})
}

func haproxyConfig(port, shard int) string {
	return fmt.Sprintf(`global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:%d
  server shard 127.0.0.1:%d
`, port, shard)
}

func (c *contender) startDragoman(ctx context.Context, tb *testbed) error {
	admin, err := gauge.FreePort(ctx)
	if err != nil {
		return err
	}
	path, err := tb.write(fmt.Sprintf("mesh-%d.yaml", c.port), meshConfig(c.port, tb.shards))
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", admin)
	args := append([]string{"run", "-f", path, "--loops", "1", "--admin-address", address}, tb.args...)
	if err := c.run(ctx, tb, tb.proxy, args); err != nil {
		return err
	}
	return gauge.Serving(ctx, c.proc, address, tb.profiles)
}

func meshConfig(port int, shards []int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: bench}
spec:
  protocol: redis
  listen: {port: %d}
  redis: {distribution: ketama, hash: murmur}
  environments:
    dev:
      shards:
`, port)
	for _, s := range shards {
		fmt.Fprintf(&b, "      - {primary: {address: \"127.0.0.1:%d\"}}\n", s)
	}
	b.WriteString("  defaultEnvironment: dev\n")
	return b.String()
}

// run starts the program and waits until a command is answered.
func (c *contender) run(ctx context.Context, tb *testbed, program string, args []string) error {
	var err error
	if c.proc, err = tb.start(c.name, program, args...); err != nil {
		return err
	}
	return c.proc.Await(ctx, func(ctx context.Context) error { return ping(ctx, c.port) })
}
