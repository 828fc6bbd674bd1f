package h2

import "sync"

// chunkSize makes a chunk one of Go's sizes of memory.
const chunkSize = 16<<10 - 8

// chunk is a piece of memory for a body.
type chunk struct {
	n int
	b [chunkSize]byte
}

//nolint:gochecknoglobals // a pool of memory has no state that anybody sees
var chunks = sync.Pool{New: func() any { return new(chunk) }}

func newChunk() *chunk {
	c, ok := chunks.Get().(*chunk)
	if !ok {
		c = new(chunk)
	}
	c.n = 0
	return c
}

// content is what has arrived of a body and was not read yet.
type content struct {
	list []*chunk
	read int // of the first
	size int // bytes that are left
}

func (c *content) add(p []byte) {
	c.size += len(p)
	for len(p) > 0 {
		if n := len(c.list); n == 0 || c.list[n-1].n == chunkSize {
			c.list = append(c.list, newChunk())
		}
		last := c.list[len(c.list)-1]
		n := copy(last.b[last.n:], p)
		last.n += n
		p = p[n:]
	}
}

// take reads into p.
func (c *content) take(p []byte) int {
	total := 0
	for len(p) > 0 && c.size > 0 {
		first := c.list[0]
		n := copy(p, first.b[c.read:first.n])
		p = p[n:]
		total += n
		c.read += n
		c.size -= n
		if c.read == first.n {
			chunks.Put(first)
			c.list[0] = nil
			c.list, c.read = c.list[1:], 0
		}
	}
	if c.size == 0 {
		c.list = nil
	}
	return total
}

// drop forgets what is left, and tells how much that was.
func (c *content) drop() int {
	n := c.size
	for _, k := range c.list {
		chunks.Put(k)
	}
	*c = content{}
	return n
}
