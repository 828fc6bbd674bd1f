package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DownAfter is how long a server must be silent until one sentinel thinks it down.
const DownAfter = 500 * time.Millisecond

const (
	failoverTimeout = 3 * time.Second  // of the sentinels: one that came to nothing is tried again after twice as long
	orderedTimeout  = 20 * time.Second // for one that an operator asks for
	// failoverLimit is how long a test waits for one. A sentinel that had no CPU for 2 s does nothing for 30 s, which is called TILT.
	failoverLimit = 3 * time.Minute
)

// Sentinels is a group of redis-sentinel processes and the Redis servers that they watch. A dead primary is noticed after 500 ms and
// replaced after 1 to 4 s.
type Sentinels struct {
	tb TB
	// Read-only after construction.
	nodes  []*Node
	groups map[string][]*Node
	quorum int
}

// Sentinel starts, for each name, a primary with one replica, and n sentinels that watch them all, and returns when every sentinel knows
// every server and every other sentinel. The options hold for the servers that are watched, not for the sentinels.
func Sentinel(tb TB, names []string, n int, opts ...Option) *Sentinels {
	tb.Helper()
	s := &Sentinels{tb: tb, groups: make(map[string][]*Node), quorum: n/2 + 1}
	for _, name := range names {
		primary := Server(tb, opts...)
		replica := Server(tb, append([]Option{WithReplicaOf(primary)}, opts...)...)
		s.groups[name] = []*Node{primary, replica}
	}
	for range n {
		s.nodes = append(s.nodes, s.startSentinel(names))
	}
	for _, node := range s.nodes {
		node.awaitReady()
		for _, name := range names {
			Eventually(tb, clusterLimit, "sentinels to know each other", func() error { return s.knowsAll(node, name) })
		}
	}
	return s
}

// Nodes returns the sentinels.
func (s *Sentinels) Nodes() []*Node { return s.nodes }

// Addrs returns the sentinels' addresses.
func (s *Sentinels) Addrs() []string {
	var addrs []string
	for _, n := range s.nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Servers returns the servers of one name, first the one that began as primary.
func (s *Sentinels) Servers(name string) []*Node { return s.groups[name] }

// Primary returns the primary of a name in the eyes of the first sentinel that answers, nil if it is none of Servers.
func (s *Sentinels) Primary(name string) *Node {
	s.tb.Helper()
	for _, sentinel := range s.nodes {
		raw, err := sentinel.TryDo("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
		if err != nil {
			continue
		}
		hostPort := strings.Join(bulks(raw), ":")
		for _, n := range s.groups[name] {
			if n.Addr() == hostPort {
				return n
			}
		}
		return nil
	}
	s.tb.Fatalf("no sentinel answers")
	return nil
}

// WaitFailover waits until the sentinels have replaced the primary old, and the new one says itself that it is one.
func (s *Sentinels) WaitFailover(name string, old *Node) *Node {
	s.tb.Helper()
	var now *Node
	Eventually(s.tb, failoverLimit, "a failover of "+name, func() error {
		now = s.Primary(name)
		if now == nil || now == old {
			return fmt.Errorf("%s is still the primary", old.Addr())
		}
		raw, err := now.TryDo("INFO", "replication")
		if err == nil && infoField(raw, "role") != "master" {
			err = fmt.Errorf("%s is not a primary yet", now.Addr())
		}
		return err
	})
	return now
}

// Failover asks the sentinels to replace a sound primary, as an operator would, waits for it and returns the new primary.
func (s *Sentinels) Failover(name string) *Node {
	s.tb.Helper()
	const again = 10 * time.Second // a Sentinel that takes the promoted replica back has the first one come to nothing
	old := s.Primary(name)
	// The Sentinel that leads gives up if it does not see the promotion in time. For this failover it has more patience, but less than a
	// TILT takes, in which it sees nothing: the others, who have not heard of the promotion, undo it meanwhile.
	s.setFailoverTimeout(name, orderedTimeout)
	defer s.setFailoverTimeout(name, failoverTimeout)
	var accepted time.Time
	Eventually(s.tb, failoverLimit, "a failover of "+name, func() error {
		if p := s.Primary(name); p != nil && p != old {
			return nil
		}
		if time.Since(accepted) < again {
			return fmt.Errorf("%s is still the primary", old.Addr())
		}
		// Refused with -INPROG right after another failover, and with -NOGOODSLAVE until the replica has been seen.
		got, err := s.nodes[0].TryDo("SENTINEL", "FAILOVER", name)
		switch {
		case err != nil:
			return err
		case got != "+OK\r\n":
			return fmt.Errorf("SENTINEL FAILOVER: %q", got)
		}
		accepted = time.Now()
		return fmt.Errorf("%s is still the primary", old.Addr())
	})
	return s.WaitFailover(name, old)
}

// setFailoverTimeout is for the Sentinel that an operator's failover is asked of.
func (s *Sentinels) setFailoverTimeout(name string, d time.Duration) {
	s.tb.Helper()
	if got := s.nodes[0].Do("SENTINEL", "SET", name, "failover-timeout", strconv.FormatInt(d.Milliseconds(), 10)); got != "+OK\r\n" {
		s.tb.Fatalf("setting the failover-timeout of %s: %q", name, got)
	}
}

// startSentinel starts one sentinel, which rewrites its own file.
func (s *Sentinels) startSentinel(names []string) *Node {
	s.tb.Helper()
	// Sentinels use TLS among themselves as soon as they use it towards the servers.
	n := &Node{port: Port(s.tb), config: nodeConfig{host: "127.0.0.1", pki: s.groups[names[0]][0].config.pki}}
	lines := append([]string{"bind 127.0.0.1", "protected-mode no", "daemonize no"}, n.config.renderPorts(n.port, "")...)
	for _, name := range names {
		lines = append(lines, s.renderWatch(name)...)
	}
	n.Process = newProcess(s.tb, "redis-sentinel", "sentinel.conf")
	conf := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(n.dir, "sentinel.conf"), []byte(conf), 0o600); err != nil {
		s.tb.Fatalf("writing sentinel.conf: %v", err)
	}
	if err := n.start(); err != nil {
		s.tb.Fatalf("%v", err)
	}
	return n
}

// renderWatch returns the lines of sentinel.conf that watch one name.
func (s *Sentinels) renderWatch(name string) []string {
	primary := s.groups[name][0]
	lines := []string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", name, primary.port, s.quorum),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", name, DownAfter.Milliseconds()),
		fmt.Sprintf("sentinel failover-timeout %s %d", name, failoverTimeout.Milliseconds()),
	}
	auth := primary.config.credentials()
	if len(auth) > 0 {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", name, auth[len(auth)-1]))
	}
	if len(auth) == 2 {
		lines = append(lines, fmt.Sprintf("sentinel auth-user %s %s", name, auth[0]))
	}
	return lines
}

// knowsAll tells whether a sentinel has found the replicas and the other sentinels, and enough of them for a failover.
func (s *Sentinels) knowsAll(sentinel *Node, name string) error {
	raw, err := sentinel.TryDo("SENTINEL", "MASTER", name)
	if err != nil {
		return err
	}
	fields := bulks(raw)
	state := make(map[string]string)
	for i := 0; i+1 < len(fields); i += 2 {
		state[fields[i]] = fields[i+1]
	}
	if got, want := state["num-slaves"], strconv.Itoa(len(s.groups[name])-1); got != want {
		return fmt.Errorf("%s knows %s of %s replicas", sentinel.Addr(), got, want)
	}
	if got, want := state["num-other-sentinels"], strconv.Itoa(len(s.nodes)-1); got != want {
		return fmt.Errorf("%s knows %s of %s other sentinels", sentinel.Addr(), got, want)
	}
	if state["flags"] != "master" {
		return fmt.Errorf("%s sees the primary as %s", sentinel.Addr(), state["flags"])
	}
	quorum, err := sentinel.TryDo("SENTINEL", "CKQUORUM", name)
	if err == nil && !strings.HasPrefix(quorum, "+OK") {
		err = fmt.Errorf("%s: %q", sentinel.Addr(), quorum)
	}
	return err
}
