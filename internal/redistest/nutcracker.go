package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// Twemproxy is a running nutcracker, the proxy that the product is compared with.
type Twemproxy struct {
	*Process
	addrs []string // read-only after construction
}

// listenLine finds the pools' listeners: "host:port", or the path of a unix socket with or without a mode behind it.
var listenLine = regexp.MustCompile(`(?m)^\s+listen:\s*["']?([^\s"']+)`)

// Nutcracker starts twemproxy with the given nutcracker.yml, in which the test names the listeners itself (Port helps), and returns when
// all of them accept. Further arguments go to the command line, such as "-m", "512".
func Nutcracker(tb TB, yml string, args ...string) *Twemproxy {
	tb.Helper()
	all := append([]string{"-c", "nutcracker.yml", "-a", "127.0.0.1", "-s", strconv.Itoa(Port(tb))}, args...)
	n := &Twemproxy{Process: newProcess(tb, "nutcracker", all...)}
	// Its default pid file and log are in folders of root's.
	n.args = append(n.args, "-p", filepath.Join(n.dir, "pid"), "-o", filepath.Join(n.dir, "nutcracker.log"))
	if err := os.WriteFile(filepath.Join(n.dir, "nutcracker.yml"), []byte(yml), 0o600); err != nil {
		tb.Fatalf("writing nutcracker.yml: %v", err)
	}
	for _, match := range listenLine.FindAllStringSubmatch(yml, -1) {
		n.addrs = append(n.addrs, match[1])
	}
	if len(n.addrs) == 0 {
		tb.Fatalf("nutcracker.yml names no listener:\n%s", yml)
	}
	if err := n.start(); err != nil {
		tb.Fatalf("%v", err)
	}
	if err := n.waitReady(startLimit, n.accepts); err != nil {
		log, _ := os.ReadFile(filepath.Join(n.dir, "nutcracker.log"))
		tb.Fatalf("%v\n%s", err, tail(log, 4096))
	}
	return n
}

// Addr returns the first pool's listener.
func (n *Twemproxy) Addr() string { return n.addrs[0] }

// Addrs returns every pool's listener, in the file's order.
func (n *Twemproxy) Addrs() []string { return n.addrs }

func (n *Twemproxy) accepts() error {
	for _, addr := range n.addrs {
		conn, err := dial(addr, nil)
		if err != nil {
			return fmt.Errorf("pool: %w", err)
		}
		_ = conn.Close()
	}
	return nil
}
