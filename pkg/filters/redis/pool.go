package redis

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// poolKey tells connections apart that cannot stand in for each other.
type poolKey struct {
	endpoint *filters.Endpoint
	db       int32
	resp     uint8
	readonly bool // a Redis Cluster replica that was told READONLY
}

// pool holds one loop's connections of one key.
type pool struct {
	w       *worker
	key     poolKey
	cluster filters.Cluster
	opts    *filters.UpstreamOptions
	shared  []*upstream // nil entries are dialled when needed
	idle    []*upstream // exclusive ones that nobody uses
	open    int
	stats   *endpointStats

	// after a failed connect nothing is dialled until downUntil
	downUntil int64
	backoff   time.Duration
	lastError string
	lastUsed  int64
}

const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = 2 * time.Second
	maxIdle    = 32
)

func newPool(w *worker, key poolKey, cluster filters.Cluster, opts *filters.UpstreamOptions) *pool {
	return &pool{
		w: w, key: key, cluster: cluster, opts: opts,
		shared: make([]*upstream, max(1, opts.ConnectionsPerEndpoint)),
		stats:  w.endpointStats(cluster.Name(), key.endpoint),
	}
}

// configure takes over changed options. Shared connections above their number
// finish what they have.
func (p *pool) configure(opts *filters.UpstreamOptions) {
	p.opts = opts
	n := max(1, opts.ConnectionsPerEndpoint)
	for i := n; i < len(p.shared); i++ {
		if u := p.shared[i]; u != nil {
			p.replace(u)
			u.afterReply()
		}
	}
	for len(p.shared) < n {
		p.shared = append(p.shared, nil)
	}
	p.shared = p.shared[:n]
}

// describe names the endpoint for people.
func (p *pool) describe() string {
	e := p.key.endpoint
	name := e.Address
	if e.Hostname != "" && e.Hostname != e.Address {
		name = e.Hostname + " [" + e.Address + "]"
	}
	if e.Shard != "" {
		return fmt.Sprintf("shard %q (%s)", e.Shard, name)
	}
	return name
}

// get returns the shared connection for c. The same client always gets the
// same one, so that its requests stay in order. A reason, to be put behind the
// endpoint's description, says why there is none.
func (p *pool) get(c *client) (*upstream, string) {
	i := 0
	if len(p.shared) > 1 {
		i = int(c.conn.ID() % uint64(len(p.shared)))
	}
	u := p.shared[i]
	switch {
	case u == nil:
		var reason string
		if u, reason = p.dial(); u == nil {
			return nil, reason
		}
		u.shared = true
		p.shared[i] = u
	case !u.up && p.backoff > 0 && u.queue.len() > u.setup:
		return nil, p.why() // one request is enough to find out
	case u.occupied():
		u = p.relieve(i, c)
	}
	if limit := p.opts.MaxPendingRequests; limit > 0 && u.queue.len() >= limit {
		p.stats.overflows++
		return nil, " has too many requests outstanding (" + strconv.Itoa(limit) + ")"
	}
	return u, ""
}

// relieve finds another connection to take the place of a shared one that is
// taken up by somebody's large reply. Clients that wait there stop until they
// have been answered, so that their requests stay in order.
func (p *pool) relieve(i int, c *client) *upstream {
	u := p.shared[i]
	if u.waits(c) || (len(p.idle) == 0 && p.full()) {
		return u
	}
	next, _ := p.take(nil)
	if next == nil {
		return u
	}
	for j := range u.queue.len() {
		if f := u.queue.at(j); f.live() {
			f.c.hold()
		}
	}
	u.gone, u.spare = true, true
	next.shared = true
	p.shared[i] = next
	return next
}

// full says that no more connections may be opened.
func (p *pool) full() bool {
	return p.opts.MaxConnections > 0 && p.open >= p.opts.MaxConnections
}

// take returns a connection for c alone.
func (p *pool) take(c *client) (*upstream, string) {
	for n := len(p.idle); n > 0; n = len(p.idle) {
		u := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !u.closed {
			u.owner, u.refusals = c, false
			return u, ""
		}
	}
	u, reason := p.dial()
	if u != nil {
		u.owner = c
	}
	return u, reason
}

// giveBack returns an exclusive connection. It must be in a clean state:
// nothing outstanding, no WATCH, no subscription.
func (p *pool) giveBack(u *upstream) {
	u.owner = nil
	u.shared, u.gone, u.spare = false, false, false
	if u.closed || u.queue.len() > 0 || len(p.idle) >= maxIdle {
		u.close()
		return
	}
	p.idle = append(p.idle, u)
}

// unavailable words an error for what the endpoint cannot be asked. Those that
// clients know to be temporary keep the server's code.
func (p *pool) unavailable(reason string) string {
	code := "ERR"
	for _, c := range []string{"LOADING", "MASTERDOWN"} {
		if strings.Contains(reason, ": "+c+" ") {
			code = c
		}
	}
	return code + " dragoman: " + p.describe() + reason
}

// dial opens a connection; requests may be sent on it at once.
func (p *pool) dial() (*upstream, string) {
	now := p.w.loop.Now()
	if now < p.downUntil {
		return nil, p.why()
	}
	if p.full() {
		p.stats.overflows++
		return nil, " has too many connections (" + strconv.Itoa(p.opts.MaxConnections) + ")"
	}
	u := &upstream{pool: p, lastIn: now}
	setup, err := p.setup(u)
	if err != nil {
		p.backOff(err.Error()) // for which the endpoint can do nothing
		return nil, p.why()
	}
	p.open++
	p.stats.connects++
	p.stats.active++
	e := p.key.endpoint
	u.conn = p.w.loop.Dial(e.Network, e.Address, netloop.DialOptions{
		Timeout:   p.opts.ConnectTimeout,
		TLS:       e.TLS,
		KeepAlive: p.opts.KeepAlive,
	}, u)
	u.conn.Write(setup)
	for range u.setup {
		u.expect(&pending{what: expectSetup, deadline: now + int64(p.opts.ConnectTimeout)})
	}
	return u, ""
}

// setup makes the requests that bring a new connection into the pool's state,
// and counts their replies. There is at least one, so that a connection proves
// itself before it counts as up.
func (p *pool) setup(u *upstream) ([]byte, error) {
	var user, password string
	if credentials := p.opts.Redis.Credentials; credentials != nil {
		var err error
		if user, password, err = credentials(); err != nil {
			return nil, fmt.Errorf("no credentials: %w", err)
		}
	}
	var b []byte
	add := func(args ...string) {
		b = redisproto.AppendCommand(b, args...)
		u.setup++
	}
	switch {
	case p.key.resp == 3 && password != "":
		if user == "" {
			user = "default"
		}
		add("HELLO", "3", "AUTH", user, password)
	case p.key.resp == 3:
		add("HELLO", "3")
	case user != "":
		add("AUTH", user, password)
	case password != "":
		add("AUTH", password)
	}
	if p.key.db != 0 {
		add("SELECT", strconv.Itoa(int(p.key.db)))
	}
	if p.key.readonly {
		add("READONLY")
	}
	if u.setup == 0 {
		add("PING")
	}
	return b, nil
}

// refusedPing reports whether an error is about the set-up's PING alone, and the
// connection good: the server is busy with a script, which can be killed this way;
// it cannot save, but reads (Redis refuses PING then); or the user may not PING.
func (p *pool) refusedPing(frame []byte) bool {
	if p.key.db != 0 || p.key.readonly {
		return false
	}
	for _, code := range []string{"-BUSY ", "-MISCONF ", "-NOPERM "} {
		if bytes.HasPrefix(frame, []byte(code)) {
			return true
		}
	}
	return false
}

// connected is called when a connection's set-up is complete.
func (p *pool) connected(u *upstream) {
	u.up = true
	p.key.endpoint.SessionBegan()
	p.recovered()
}

// recovered ends the backing off.
func (p *pool) recovered() {
	if p.backoff != 0 {
		p.cluster.Report(p.key.endpoint, filters.Success)
	}
	p.backoff, p.downUntil, p.lastError = 0, 0, ""
}

// connectFailed is called when a connection could not be made or set up. A server
// that answered, with a refusal, while it goes on serving other connections is not
// down: it has as many clients as it may have, or another password by now.
func (p *pool) connectFailed(reason string, answered bool) {
	p.backOff(reason)
	if !answered || p.key.endpoint.Sessions() == 0 {
		p.cluster.Report(p.key.endpoint, filters.ConnectFailure)
	}
}

// backOff dials nothing for a while, which is longer each time.
func (p *pool) backOff(reason string) {
	p.lastError = reason
	p.stats.connectFailures++
	p.backoff = min(max(2*p.backoff, minBackoff), maxBackoff)
	jitter := time.Duration(rand.Int64N(int64(p.backoff)/2 + 1))
	p.downUntil = p.w.loop.Now() + int64(p.backoff/2+jitter)
}

// replace takes u out of service: it finishes what it has, and the next
// request opens another connection.
func (p *pool) replace(u *upstream) {
	u.gone, u.spare = true, false
	for i := range p.shared {
		if p.shared[i] == u {
			p.shared[i] = nil
		}
	}
}

// forget drops a closed connection.
func (p *pool) forget(u *upstream) {
	p.open--
	p.stats.active--
	if u.up {
		p.key.endpoint.SessionEnded()
	}
	p.replace(u)
	u.unchoke()
	u.learnedID(0)
	for i := range p.idle {
		if p.idle[i] == u {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}

// retire closes the pool's connections as their queues run empty.
func (p *pool) retire() {
	for _, u := range p.shared {
		if u == nil {
			continue
		}
		p.replace(u)
		if u.queue.len() == 0 {
			u.close()
		}
	}
	p.closeIdle()
}

func (p *pool) closeIdle() {
	for len(p.idle) > 0 {
		p.idle[len(p.idle)-1].close()
	}
}

// unused reports whether nothing at all goes on here.
func (p *pool) unused() bool { return p.open == 0 }
