package topology

import "github.com/dragoman-mesh/dragoman/pkg/redisproto"

// Role is what a server says of itself.
type Role struct {
	Primary bool
	// Replicas is how many are connected to a primary.
	Replicas int
	// Offset is how far replication came, in bytes: comparable within a shard.
	Offset int64
	// Of is the primary that a replica follows.
	Of Node
}

// ParseRole reads the reply to ROLE.
func ParseRole(v redisproto.Value) (Role, error) {
	if v.Kind != '*' || len(v.Elems) < 2 {
		return Role{}, malformed("ROLE", &v)
	}
	switch kind := string(v.Elems[0].Text()); {
	case kind == "master" && len(v.Elems) >= 3:
		offset, _ := number(&v.Elems[1])
		return Role{Primary: true, Replicas: len(v.Elems[2].Elems), Offset: offset}, nil
	case kind == "slave" && len(v.Elems) >= 5:
		port, ok := number(&v.Elems[2])
		offset, _ := number(&v.Elems[4])
		if !ok || !validPort(port) {
			return Role{}, malformed("ROLE", &v)
		}
		return Role{Offset: offset, Of: Node{Host: string(v.Elems[1].Text()), Port: int(port)}}, nil
	}
	return Role{}, malformed("ROLE", &v)
}
