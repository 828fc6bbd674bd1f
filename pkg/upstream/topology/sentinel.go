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

// ParseSwitchMaster reads the payload of +switch-master: name, old address, new
// address.
func ParseSwitchMaster(payload string) (name string, to Node, ok bool) {
	f := strings.Fields(payload)
	if len(f) != 5 {
		return "", Node{}, false
	}
	port, err := strconv.Atoi(f[4])
	if err != nil || !validPort(int64(port)) {
		return "", Node{}, false
	}
	return f[0], Node{Host: f[3], Port: port}, true
}
