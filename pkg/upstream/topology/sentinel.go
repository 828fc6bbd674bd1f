package topology

import (
	"errors"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// ErrUnknownMaster is a Sentinel that does not watch a master of that name.
var ErrUnknownMaster = errors.New("unknown to this Sentinel")

// ParseMasterAddr reads the reply to SENTINEL GET-MASTER-ADDR-BY-NAME.
func ParseMasterAddr(v redisproto.Value) (Node, error) {
	if v.Null {
		return Node{}, ErrUnknownMaster
	}
	if len(v.Elems) != 2 {
		return Node{}, malformed("master's address", &v)
	}
	port, ok := number(&v.Elems[1])
	if !ok || !validPort(port) {
		return Node{}, malformed("master's address", &v)
	}
	return Node{Host: string(v.Elems[0].Text()), Port: int(port)}, nil
}

// ParseMaster reads the reply to SENTINEL MASTER: the address, and the epoch of
// the configuration that it comes from. A higher epoch is a later one.
func ParseMaster(v redisproto.Value) (n Node, epoch int64, err error) {
	m := fields(&v)
	port, err := strconv.Atoi(text(m, "port"))
	host := text(m, "ip")
	if err != nil || host == "" || !validPort(int64(port)) {
		return Node{}, 0, malformed("SENTINEL MASTER", &v)
	}
	epoch, err = strconv.ParseInt(text(m, "config-epoch"), 10, 64)
	if err != nil {
		return Node{}, 0, malformed("SENTINEL MASTER", &v)
	}
	return Node{Host: host, Port: port}, epoch, nil
}

// ParseReplicas reads the reply to SENTINEL REPLICAS. Left out are those that the
// Sentinel holds to be down, which it remembers for ever, and those that still
// take themselves for primaries: an old one that came back holds stale data until
// it is converted. Not settled means that a replica of the list, or left out of
// it, is likely to change soon.
func ParseReplicas(v redisproto.Value) (nodes []Node, settled bool, err error) {
	if v.Kind != '*' {
		return nil, false, malformed("SENTINEL REPLICAS", &v)
	}
	settled = true
	for i := range v.Elems {
		m := fields(&v.Elems[i])
		port, err := strconv.Atoi(text(m, "port"))
		host, flags := text(m, "ip"), text(m, "flags")
		if err != nil || host == "" {
			return nil, false, malformed("replica", &v.Elems[i])
		}
		if !validPort(int64(port)) || hasFlag(flags, "s_down") || hasFlag(flags, "o_down") {
			continue
		}
		converted := text(m, "role-reported") != "master"
		if !converted || hasFlag(flags, "disconnected") {
			settled = false
		}
		if converted {
			nodes = append(nodes, Node{Host: host, Port: port})
		}
	}
	return nodes, settled, nil
}

func hasFlag(flags, want string) bool {
	for f := range strings.SplitSeq(flags, ",") {
		if f == want {
			return true
		}
	}
	return false
}

// ParseMessage reads a message of a subscription: its channel and payload. It
// returns false for confirmations and pings.
func ParseMessage(v redisproto.Value) (channel, payload string, ok bool) {
	if len(v.Elems) != 3 || string(v.Elems[0].Text()) != "message" {
		return "", "", false
	}
	return string(v.Elems[1].Text()), string(v.Elems[2].Text()), true
}
