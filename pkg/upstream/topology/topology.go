// Package topology reads what Redis servers and Sentinels say of one another:
// CLUSTER SLOTS, CLUSTER SHARDS, ROLE and the Sentinels' replies. It does no
// I/O.
package topology

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// Slots is the number of hash slots of a Redis Cluster.
const Slots = 16384

// ErrMalformed is a reply that does not have the form its command promises.
var ErrMalformed = errors.New("unexpected form of reply")

// Node is one server as another one announces it.
type Node struct {
	Host string // IP address or host name
	Port int
	ID   string // node id of a Redis Cluster, else empty
	Zone string // where the server announces one (Valkey)
}

// Address joins host and port as net.JoinHostPort does.
func (n Node) Address() string {
	port := strconv.Itoa(n.Port)
	if strings.ContainsRune(n.Host, ':') {
		return "[" + n.Host + "]:" + port
	}
	return n.Host + ":" + port
}

// Range is a range of hash slots, both ends included.
type Range struct {
	First, Last int
}

// Shard is a primary with its replicas and the slots they hold.
type Shard struct {
	Primary  Node
	Replicas []Node
	Ranges   []Range
}

// asker is who was asked: the address for nodes that announce none.
type asker struct {
	host string
	tls  bool
}

// host returns the host to use for an announced one. Null and "" mean "where
// you asked me"; "?" is a node that does not know its own name, of which the
// same is the best guess.
func (a asker) hostOf(v *redisproto.Value) string {
	if announced := string(v.Text()); !v.Null && announced != "" && announced != "?" {
		return announced
	}
	return a.host
}

func malformed(what string, v *redisproto.Value) error {
	return fmt.Errorf("%w: %s of kind %q with %d elements", ErrMalformed, what, v.Kind, len(v.Elems))
}

func validPort(n int64) bool { return n > 0 && n <= 65535 }

func validRange(first, last int64) bool { return first >= 0 && first <= last && last < Slots }

// validHost says whether a host may be an address or a name. Others could not be
// resolved, but a shard would be named after them, in metrics too, which take no text
// that is not UTF-8.
func validHost(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// number reads an integer that is written as one or as text.
func number(v *redisproto.Value) (int64, bool) {
	if v.Kind == ':' {
		return v.Int, true
	}
	n, err := strconv.ParseInt(string(v.Text()), 10, 64)
	return n, err == nil
}

// fields reads a map, or the flat list that RESP2 has in its place.
func fields(v *redisproto.Value) map[string]*redisproto.Value {
	m := make(map[string]*redisproto.Value, len(v.Elems)/2)
	for i := 0; i+1 < len(v.Elems); i += 2 {
		m[string(v.Elems[i].Text())] = &v.Elems[i+1]
	}
	return m
}

func text(m map[string]*redisproto.Value, key string) string {
	v, ok := m[key]
	if !ok {
		return ""
	}
	return string(v.Text())
}
