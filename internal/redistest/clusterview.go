package redistest

import (
	"fmt"
	"strconv"
	"strings"
)

// nodeView is one line of CLUSTER NODES: what one node thinks of another.
type nodeView struct {
	primary   bool
	failing   bool // suspected (fail?) or agreed on (fail)
	handshake bool
	follows   string // id of a replica's primary
	slots     []slotRange
}

type slotRange struct{ first, last int }

func (v nodeView) owns(slot int) bool {
	for _, r := range v.slots {
		if r.first <= slot && slot <= r.last {
			return true
		}
	}
	return false
}

// views returns what node n thinks of every node, by node id.
func views(n *Node) (map[string]nodeView, error) {
	raw, err := n.TryDo("CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	known := make(map[string]nodeView)
	for line := range strings.SplitSeq(strings.TrimSpace(bulk(raw)), "\n") {
		// id address flags primary ping-sent pong-received epoch link-state slots...
		fields := strings.Fields(line)
		if len(fields) < 8 {
			return nil, fmt.Errorf("CLUSTER NODES of %s has the line %q", n.Addr(), line)
		}
		flags := "," + fields[2] + ","
		v := nodeView{
			primary:   strings.Contains(flags, ",master,"),
			failing:   strings.Contains(flags, "fail"),
			handshake: strings.Contains(flags, ",handshake,"),
			follows:   fields[3],
		}
		for _, f := range fields[8:] {
			if r, ok := parseSlotRange(f); ok {
				v.slots = append(v.slots, r)
			}
		}
		known[fields[0]] = v
	}
	return known, nil
}

// parseSlotRange parses "7" or "0-5460", and refuses a slot on the move, "[7->-id]".
func parseSlotRange(s string) (slotRange, bool) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.Atoi(first)
	if err != nil {
		return slotRange{}, false
	}
	to, err := strconv.Atoi(last)
	return slotRange{from, to}, err == nil
}

// everyView calls check with the view of every running node and returns the first error.
func (c *RedisCluster) everyView(check func(map[string]nodeView) error) error {
	for _, n := range c.running() {
		known, err := views(n)
		if err == nil {
			err = check(known)
		}
		if err != nil {
			return fmt.Errorf("as %s sees it: %w", n.Addr(), err)
		}
	}
	return nil
}

// inRole returns the running nodes that match, in the eyes of the first node that answers.
func (c *RedisCluster) inRole(match func(nodeView) bool) []*Node {
	c.tb.Helper()
	running := c.running()
	for _, n := range running {
		known, err := views(n)
		if err != nil {
			continue
		}
		var nodes []*Node
		for _, candidate := range running {
			if v, ok := known[candidate.id]; ok && match(v) {
				nodes = append(nodes, candidate)
			}
		}
		return nodes
	}
	c.tb.Fatalf("no node of the cluster answers")
	return nil
}
