package redis

import (
	"github.com/dragoman-mesh/dragoman/pkg/linked"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// client is the driver of one downstream connection. An idle one must cost
// next to nothing, so whatever is rare lives behind x.
type client struct {
	conn   *netloop.Conn
	w      *worker
	f      *localFilter
	ring   ring
	x      *extra // nil until needed
	user   *user  // nil: not logged in
	held   int    // bytes of replies whose turn has not come
	stash  []byte // small replies whose turn has not come; nil if there are none
	db     int32
	resp   uint8
	state  clientState
	since  uint32 // when it came, see tenth
	lastIn uint32 // when it sent something last

	linked.Links[*client] // of the clients of f
}

// clientState is a set of flags.
type clientState uint16

const (
	stateClosed    clientState = 1 << iota // no more calls; replies are dropped
	stateClosing                           // closes when the ring is empty
	stateStalled                           // nothing is parsed until resume
	stateBarrier                           // stalled until the ring is empty
	stateReplyOff                          // CLIENT REPLY OFF
	stateReplySkip                         // the next reply is dropped
	stateParsing                           // inside Data
	stateCrowded                           // stalled because too much is in flight
	stateBlocked                           // waits for a server for as long as it takes
	stateLeaving                           // closes when its transaction or upload is over
	stateMidBatch                          // of the requests that came at once some are answered
	stateChoked                            // stalled because a server does not take its requests
)

// extra is the state of a client that does more than plain requests.
type extra struct {
	name, libName, libVersion string
	mode                      mode // takes the requests over, e.g. a transaction
	partial                   *redisproto.Command
	upload                    *upload
	pushes                    netloop.Chain // out-of-band data that waits for the end of a reply
	paused                    []*upstream   // paused until this client has read more
	subs                      *subscriptions
	exclusive                 *upstream   // a connection that is this client's for a while
	session                   *upstream   // one that is until it leaves
	waits                     []*upstream // those of WAIT
	named                     int         // names of the (UN)SUBSCRIBE at hand that have been dealt with
	averageReply              int32
	stuckSince                int64   // when output last rose above the high-water mark; 0: it is not
	pausedAt                  int64   // when the first of paused was
	heldLimit                 int     // 0: the default
	lastOutput                int     // bytes buffered at the last tick
	retries                   []retry // refused requests in their order
	retryAt                   int64   // ns: when the first of them is sent again
	retrying                  bool    // in the worker's list of clients that have some
	watched                   bool    // in the worker's list of clients that are held up
}

// mode is a client's state in which requests take another way than usual.
type mode interface {
	// dispatch handles one request, like a handler.
	dispatch(c *client, r *request) bool
	// end is called when the client goes away or is reset.
	end(c *client)
}

func (c *client) extra() *extra {
	if c.x == nil {
		c.x = &extra{}
	}
	return c.x
}

func (c *client) has(s clientState) bool { return c.state&s != 0 }

func (c *client) closeIfDone() {
	if c.ring.len() == 0 && !c.has(stateClosed) && !c.has(stateParsing) {
		c.release()
		c.conn.CloseAfterFlush()
	}
}

// EOF: the client sends nothing more. What it asked for is still answered.
func (c *client) EOF(conn *netloop.Conn) {
	if c.has(stateClosed) {
		return
	}
	if c.has(stateBlocked) || c.listens() || (c.x != nil && c.x.upload != nil && c.x.upload.sorting == nil) {
		c.drop()
		return
	}
	c.state |= stateClosing
	c.state &^= stateStalled | stateBarrier
	c.closeIfDone()
}

// Closed ends the client.
func (c *client) Closed(_ *netloop.Conn, err error) {
	if err != nil {
		c.f.stats.clientErrors++
	}
	c.release()
}

// drop closes the connection now.
func (c *client) drop() {
	if c.has(stateClosed) {
		return
	}
	c.release()
	c.conn.Close()
}

// release gives back everything the client holds, once.
func (c *client) release() {
	if c.has(stateClosed) {
		return
	}
	c.state |= stateClosed
	if x := c.x; x != nil {
		if x.mode != nil {
			x.mode.end(c)
			x.mode = nil
		}
		if x.subs != nil {
			x.subs.end()
			x.subs = nil
		}
		if x.upload != nil {
			x.upload.release(c)
			x.upload = nil
		}
		if x.exclusive != nil {
			x.exclusive.close()
			x.exclusive = nil
		}
		if x.session != nil {
			x.session.close()
			x.session = nil
		}
		for _, u := range x.waits {
			if u.owner == c {
				u.close()
			}
		}
		x.pushes.Free(c.w.loop)
		c.resumeUpstreams()
	}
	for seq := c.ring.head; seq != c.ring.tail; seq++ {
		s := c.ring.at(seq)
		s.reply.Free(c.w.loop)
		if s.merge != nil {
			s.merge.orphan(c.w)
		}
	}
	c.ring = ring{}
	c.dropStash()
	c.f.remove(c)
}
