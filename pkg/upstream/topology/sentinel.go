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

// ParseReplicas reads the reply to SENTINEL REPLICAS. Those that the Sentinel
// holds to be down are left out: it remembers them for ever.
func ParseReplicas(v redisproto.Value) ([]Node, error) {
	if v.Kind != '*' {
		return nil, malformed("SENTINEL REPLICAS", &v)
	}
	var nodes []Node
	for i := range v.Elems {
		m := fields(&v.Elems[i])
		port, err := strconv.Atoi(text(m, "port"))
		host := text(m, "ip")
		if err != nil || host == "" {
			return nil, malformed("replica", &v.Elems[i])
		}
		if validPort(int64(port)) && !isDown(text(m, "flags")) {
			nodes = append(nodes, Node{Host: host, Port: port})
		}
	}
	return nodes, nil
}

func isDown(flags string) bool {
	for f := range strings.SplitSeq(flags, ",") {
		switch f {
		case "s_down", "o_down", "disconnected":
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
