package redis

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

const allSlots = 16384

// handleCluster answers CLUSTER for a listener in front of a Redis Cluster: as
// the only node of a cluster, which has every slot. A client that asks for the
// real nodes would go around the proxy, to addresses, credentials and
// certificates that it need not know; and what changes a node or the cluster is
// not for an app.
func handleCluster(c *client, r *request) bool {
	if r.sub == nil || !c.f.slots() {
		return handleContainer(c, r)
	}
	name := strings.TrimPrefix(r.sub.Name, "cluster|")
	b := c.w.out[:0]
	switch name {
	case "slots", "shards", "nodes":
		local := c.conn.LocalAddrPort()
		if !local.IsValid() { // a unix socket is no address that a client could be told
			c.localError(r, "ERR This instance has cluster support disabled")
			return true
		}
		b = c.appendTopology(b, name, local.Addr().Unmap().String(), local.Port())
	case "myid", "myshardid":
		b = redisproto.AppendBulkString(b, c.f.nodeID())
	case "info":
		b = redisproto.AppendVerbatim(b, "txt", clusterInfo(), int(c.resp))
	case "links", "replicas", "slaves":
		b = redisproto.AppendArray(b, 0)
	case "keyslot", "help":
		return handleContainer(c, r)
	case "countkeysinslot", "getkeysinslot":
		return c.forwardSlot(r)
	default:
		c.localError(r, "ERR dragoman: '"+r.sub.Name+"' is meant for one node, but this listener stands for a whole cluster")
		return true
	}
	c.w.out = b
	c.local(r, b)
	return true
}

// appendTopology describes the listener as a cluster of one node.
func (c *client) appendTopology(b []byte, what, host string, port uint16) []byte {
	id, resp := c.f.nodeID(), int(c.resp)
	text := func(s string) { b = redisproto.AppendBulkString(b, s) }
	number := func(n int64) { b = redisproto.AppendInt(b, n) }
	switch what {
	case "slots":
		b = redisproto.AppendArray(redisproto.AppendArray(b, 1), 3)
		number(0)
		number(allSlots - 1)
		b = redisproto.AppendArray(b, 4)
		text(host)
		number(int64(port))
		text(id)
		return redisproto.AppendArray(b, 0)
	case "shards":
		b = redisproto.AppendMap(redisproto.AppendArray(b, 1), 2, resp)
		text("slots")
		b = redisproto.AppendArray(b, 2)
		number(0)
		number(allSlots - 1)
		text("nodes")
		b = redisproto.AppendMap(redisproto.AppendArray(b, 1), 7, resp)
		for _, field := range []string{"id", id, "ip", host, "endpoint", host, "role", "master", "health", "online"} {
			text(field)
		}
		text("port")
		number(int64(port))
		text("replication-offset")
		number(0)
		return b
	default:
		line := fmt.Sprintf("%s %s:%d@%d myself,master - 0 0 1 connected 0-%d\n", id, host, port, port, allSlots-1)
		return redisproto.AppendVerbatim(b, "txt", line, resp)
	}
}

// nodeID is the same in every process with a listener of this name.
func (f *localFilter) nodeID() string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(f.name)) // never fails
	return fmt.Sprintf("%040x", h.Sum(nil))
}

func clusterInfo() string {
	n := strconv.Itoa(allSlots)
	return "cluster_state:ok\r\ncluster_slots_assigned:" + n + "\r\ncluster_slots_ok:" + n +
		"\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n" +
		"cluster_current_epoch:1\r\ncluster_my_epoch:1\r\n"
}

// forwardSlot sends a question about a slot to the shard that has it.
func (c *client) forwardSlot(r *request) bool {
	cl := c.f.dataClusters()[0]
	t := unplaced(cl)
	if t.table.Slots == nil || len(t.table.Shards) == 0 {
		c.localError(r, c.noEndpoint())
		return true
	}
	if r.argc() > 2 {
		slot, err := strconv.Atoi(string(r.arg(2)))
		if err == nil && slot >= 0 && slot < allSlots && t.table.Slots[slot] >= 0 {
			t.shard = int(t.table.Slots[slot])
		}
	}
	if !c.inOrder(&t) {
		return false
	}
	c.forward(r, t, r.raw(c.w))
	return true
}
