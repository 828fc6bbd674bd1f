package redis

import (
	"bytes"
	"math"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// handleScan walks the shards one after the other. The cursor that the client
// sees is inner*shards+shard: purely numeric, as clients demand, and equal to
// the server's own where there is one shard.
func handleScan(c *client, r *request) bool {
	if t, ok := c.f.one(); ok {
		c.forwardPrimary(r, t, r.raw(c.w))
		return true
	}
	cursor, err := strconv.ParseUint(string(r.arg(1)), 10, 64)
	if err != nil {
		c.localError(r, "ERR invalid cursor")
		return true
	}
	var targets []target
	c.f.shards(func(t target) { targets = append(targets, t) })
	n := uint64(len(targets))
	if n == 0 {
		c.localError(r, c.noEndpoint())
		return true
	}
	shard, inner := cursor%n, cursor/n
	b := redisproto.AppendArray(c.w.inline[:0], r.argc())
	b = redisproto.AppendBulk(b, r.arg(0))
	b = redisproto.AppendBulkString(b, strconv.FormatUint(inner, 10))
	for i := 2; i < r.argc(); i++ {
		b = redisproto.AppendBulk(b, r.arg(i))
	}
	c.w.inline = b
	seq, s := c.open(r)
	s.finish = func(_ *client, frame []byte) []byte { return foldCursor(frame, shard, n) }
	c.sendPrimary(r, targets[shard], b, seq)
	return true
}

// foldCursor puts the shard into the cursor of a SCAN reply.
func foldCursor(frame []byte, shard, shards uint64) []byte {
	if isError(frame) {
		return frame
	}
	start := headerLen(frame)
	n, err := redisproto.FrameLen(frame[start:], &replyLimits)
	if err != nil || start == 0 {
		return frame
	}
	bulk := frame[start : start+n]
	text := bytes.TrimRight(bulk[headerLen(bulk):], "\r\n")
	inner, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || inner > math.MaxUint64/shards-1 {
		return redisproto.AppendError(nil, "ERR dragoman: the shard's cursor "+string(text)+" is too large to carry the shard's number")
	}
	next := uint64(0)
	switch {
	case inner != 0:
		next = inner*shards + shard
	case shard+1 < shards:
		next = shard + 1
	}
	out := append(make([]byte, 0, len(frame)+24), frame[:start]...)
	out = redisproto.AppendBulkString(out, strconv.FormatUint(next, 10))
	return append(out, frame[start+n:]...)
}

// forwardPrimary forwards a command that must not go to a replica although it
// only reads: a cursor is good only on the server that gave it.
func (c *client) forwardPrimary(r *request, t target, frame []byte) {
	seq, _ := c.open(r)
	c.sendPrimary(r, t, frame, seq)
}

func (c *client) sendPrimary(r *request, t target, frame []byte, seq uint32) {
	c.sendTo(r, fanTarget{t, nil}, frame, seq, c.w.loop.Now(), 0)
}
