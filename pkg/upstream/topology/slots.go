package topology

import "github.com/dragoman-mesh/dragoman/pkg/redisproto"

// ParseSlots reads the reply to CLUSTER SLOTS. The host is the one that was
// asked: nodes without an address of their own are there. Shards come in the
// order of their first slot; the ports fit the kind of connection (TLS or not)
// that the question was asked on.
func ParseSlots(v redisproto.Value, host string) ([]Shard, error) {
	if v.Kind != '*' {
		return nil, malformed("CLUSTER SLOTS", &v)
	}
	var shards []Shard
	byPrimary := make(map[string]int)
	for i := range v.Elems {
		s, err := parseSlotEntry(&v.Elems[i], asker{host: host})
		if err != nil {
			return nil, err
		}
		key := s.Primary.ID + " " + s.Primary.Address()
		if at, ok := byPrimary[key]; ok {
			shards[at].Ranges = append(shards[at].Ranges, s.Ranges...)
			continue
		}
		byPrimary[key] = len(shards)
		shards = append(shards, s)
	}
	return shards, nil
}

// parseSlotEntry reads [first, last, primary, replica...].
func parseSlotEntry(v *redisproto.Value, a asker) (Shard, error) {
	if len(v.Elems) < 3 {
		return Shard{}, malformed("range of slots", v)
	}
	first, ok1 := number(&v.Elems[0])
	last, ok2 := number(&v.Elems[1])
	if !ok1 || !ok2 || !validRange(first, last) {
		return Shard{}, malformed("range of slots", v)
	}
	s := Shard{Ranges: []Range{{int(first), int(last)}}}
	for i := 2; i < len(v.Elems); i++ {
		n, err := parseSlotNode(&v.Elems[i], a)
		if err != nil {
			return Shard{}, err
		}
		if i == 2 {
			s.Primary = n
		} else {
			s.Replicas = append(s.Replicas, n)
		}
	}
	return s, nil
}

// parseSlotNode reads [host, port, id, metadata]; the id is there since 4.0.
func parseSlotNode(v *redisproto.Value, a asker) (Node, error) {
	if len(v.Elems) < 2 {
		return Node{}, malformed("node", v)
	}
	port, ok := number(&v.Elems[1])
	if !ok || !validPort(port) {
		return Node{}, malformed("node", v)
	}
	n := Node{Host: a.hostOf(&v.Elems[0]), Port: int(port)}
	if !validHost(n.Host) {
		return Node{}, malformed("node's host", v)
	}
	if len(v.Elems) > 2 {
		n.ID = string(v.Elems[2].Text())
	}
	if len(v.Elems) > 3 {
		n.Zone = text(fields(&v.Elems[3]), "availability-zone")
	}
	return n, nil
}
