package main

import (
	"fmt"
)

// kind is what does the work.
type kind uint8

const (
	selects  kind = iota // pgbench -S, or sysbench's point selects
	connects             // pgbench -S -C: a session for each transaction
	copyOut
	copyIn
)

// shape is one kind of load.
type shape struct {
	server  server
	kind    kind
	mode    string // of pgbench: simple, prepared
	clients int
}

func shapes() []shape {
	var all []shape
	for _, mode := range []string{"simple", "prepared"} {
		for _, clients := range []int{1, 8, 32} {
			all = append(all, shape{postgres, selects, mode, clients})
		}
	}
	all = append(all, shape{postgres, connects, "simple", 8}, shape{postgres, copyOut, "", 1}, shape{postgres, copyIn, "", 1})
	for _, clients := range []int{1, 8, 32} {
		all = append(all, shape{mariadb, selects, "", clients})
	}
	return all
}

func (s shape) String() string {
	clients := fmt.Sprintf("%d clients", s.clients)
	if s.clients == 1 {
		clients = "1 client"
	}
	switch {
	case s.server == mariadb:
		return "MariaDB point select, " + clients
	case s.kind == copyOut:
		return "COPY TO STDOUT"
	case s.kind == copyIn:
		return "COPY FROM STDIN"
	case s.kind == connects:
		return "select, connect each time, " + clients
	}
	return "select, " + s.mode + ", " + clients
}

// isCopy reports whether bytes count, not transactions.
func (s shape) isCopy() bool { return s.kind == copyOut || s.kind == copyIn }

// suits reports whether a contender can do it: pgbouncer 1.18 has no prepared
// statements in transaction mode, and knows no other database.
func (s shape) suits(name string) bool {
	switch {
	case s.server == mariadb:
		return name == dragoman || name == haproxy || name == relay || name == direct
	case name == pgbouncerTrans:
		return s.mode != "prepared"
	}
	return true
}
