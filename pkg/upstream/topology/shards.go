package topology

import "github.com/dragoman-mesh/dragoman/pkg/redisproto"

// ParseShards reads the reply to CLUSTER SHARDS, for servers that no longer
// have CLUSTER SLOTS. Shards without slots or without a primary that is online,
// and replicas that are not online, are left out. With tls the nodes' TLS ports
// are taken.
func ParseShards(v redisproto.Value, host string, tls bool) ([]Shard, error) {
	if v.Kind != '*' {
		return nil, malformed("CLUSTER SHARDS", &v)
	}
	var shards []Shard
	for i := range v.Elems {
		s, ok, err := parseShard(&v.Elems[i], asker{host: host, tls: tls})
		if err != nil {
			return nil, err
		}
		if ok && len(s.Ranges) > 0 {
			shards = append(shards, s)
		}
	}
	return shards, nil
}

// ParseSpare reads from the same reply the primaries that are online and have no
// slots: CLUSTER SLOTS does not name them, but the first slot that one is given is
// on the move for a while, and then requests are redirected there.
func ParseSpare(v redisproto.Value, host string, tls bool) []Node {
	var nodes []Node
	for i := range v.Elems {
		s, ok, err := parseShard(&v.Elems[i], asker{host: host, tls: tls})
		if err == nil && ok && len(s.Ranges) == 0 {
			nodes = append(nodes, s.Primary)
		}
	}
	return nodes
}

// parseShard reads one shard; ok is false if it has no primary that is online.
func parseShard(v *redisproto.Value, a asker) (s Shard, ok bool, err error) {
	m := fields(v)
	slots, nodes := m["slots"], m["nodes"]
	if slots == nil || nodes == nil || len(slots.Elems)%2 != 0 {
		return s, false, malformed("shard", v)
	}
	for i := 0; i < len(slots.Elems); i += 2 {
		first, ok1 := number(&slots.Elems[i])
		last, ok2 := number(&slots.Elems[i+1])
		if !ok1 || !ok2 || !validRange(first, last) {
			return s, false, malformed("slots", slots)
		}
		s.Ranges = append(s.Ranges, Range{int(first), int(last)})
	}
	for i := range nodes.Elems {
		m := fields(&nodes.Elems[i])
		if text(m, "health") != "online" {
			continue
		}
		n, good := parseShardNode(m, a)
		if !good {
			return s, false, malformed("node", &nodes.Elems[i])
		}
		switch {
		case text(m, "role") != "master":
			s.Replicas = append(s.Replicas, n)
		default:
			s.Primary, ok = n, true
		}
	}
	return s, ok, nil
}

func parseShardNode(m map[string]*redisproto.Value, a asker) (Node, bool) {
	portKey := "port"
	if a.tls {
		portKey = "tls-port"
	}
	endpoint, portValue := m["endpoint"], m[portKey]
	if endpoint == nil || portValue == nil {
		return Node{}, false
	}
	port, ok := number(portValue)
	n := Node{Host: a.hostOf(endpoint), Port: int(port), ID: text(m, "id"), Zone: text(m, "availability-zone")}
	return n, ok && validPort(port) && validHost(n.Host)
}
