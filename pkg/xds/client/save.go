package client

import (
	"context"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
)

// saved is a set to be written.
type saved struct {
	server   string
	at       time.Time
	versions []*version
	numbers  []string // of versions, which may change later
}

// writePause is between two writes, so that endpoints that come and go do not
// keep the disk busy.
const writePause = time.Second

// save queues what runs, in place of what was queued and not written yet.
func (c *Client) save(now time.Time) {
	s := saved{server: c.machine.applied.server, at: now, versions: c.machine.kept()}
	for _, v := range s.versions {
		s.numbers = append(s.numbers, v.number)
	}
	select {
	case <-c.writes:
	default:
	}
	c.writes <- s // loop alone fills it
}

// write keeps the file up to date.
func (c *Client) write(ctx context.Context) {
	for {
		select {
		case s := <-c.writes:
			c.writeOne(&s)
		case <-ctx.Done():
			c.writeLast()
			return
		}
		if sleep(ctx, writePause) != nil {
			c.writeLast()
			return
		}
	}
}

// writeLast writes what is still queued at the end.
func (c *Client) writeLast() {
	select {
	case s := <-c.writes:
		c.writeOne(&s)
	default:
	}
}

func (c *Client) writeOne(s *saved) {
	resources, leftOut, err := packed(s.versions, s.numbers)
	if err == nil {
		err = c.file.Write(&diskset.Set{Node: c.opts.Node.GetId(), Server: s.server, Saved: s.at, Resources: resources})
	}
	for _, what := range leftOut {
		c.opts.Log.Debug("not kept on disk, because it holds a secret", "resource", what)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.diskErr = ""
	if err != nil {
		c.diskErr = err.Error()
		c.opts.Log.Error("the set is not on disk", "path", c.file.Path, "error", err)
	}
}
