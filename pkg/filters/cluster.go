package filters

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Cluster is a named set of endpoints that somebody else discovers, checks and
// balances. Its methods may be called from any goroutine and do not block.
type Cluster interface {
	Name() string
	// Table is the current routing table, never nil, possibly empty.
	Table() *Table
	// Report tells how an endpoint behaved, for passive ejection.
	Report(e *Endpoint, o Outcome)
	// Refresh asks for another look at the topology soon, e.g. after a MOVED
	// redirection or a READONLY error. It is rate limited.
	Refresh(reason string)
}

// Notifier is a Cluster that tells when an endpoint is there or gone, or has
// another role or health, for filters whose connections keep to one endpoint.
type Notifier interface {
	// Notify has fn called soon after each such change, until stop is called.
	// Changes that come together may be told once. fn is called on any goroutine
	// and must not block.
	Notify(fn func()) (stop func())
}

// Outcome is what a filter saw an endpoint do.
type Outcome uint8

// Outcomes of a request or a connect.
const (
	Success        Outcome = iota // after a failure, once; not on every request
	ConnectFailure                // refused, unreachable, connect or handshake timeout
	RequestTimeout                // no answer in time
	Disconnect                    // closed with requests outstanding
	ServerError                   // answered, but cannot serve (LOADING, MASTERDOWN)
)

// Role of an endpoint within its shard.
type Role uint8

// Roles. Unknown means neither configured nor probed yet.
const (
	RoleUnknown Role = iota
	RolePrimary
	RoleReplica
)

// String returns the role's name as configuration and metrics spell it.
func (r Role) String() string {
	switch r {
	case RolePrimary:
		return "primary"
	case RoleReplica:
		return "replica"
	default:
		return "unknown"
	}
}

// Endpoint is one server address. The pointer is its identity: it stays the
// same from table to table while the address and how to reach it do.
type Endpoint struct {
	// read-only after construction
	Network  string // tcp or unix
	Address  string // literal "IP:port" or a path, ready to dial
	Hostname string // as configured, for messages and SNI
	Shard    string
	Zone     string
	Weight   uint32      // share of the load beside the others of the cluster
	TLS      *tls.Config // nil: plain

	healthy  atomic.Bool
	readOnly atomic.Bool
	rival    atomic.Bool
	sessions atomic.Int64
	refused  atomic.Int64 // when it refused last, Unix ns; 0: never
}

// String is for messages, of tests above all: fmt would read what changes meanwhile.
func (e *Endpoint) String() string {
	health := "unhealthy"
	if e.Healthy() {
		health = "healthy"
	}
	return e.Address + " (" + health + ")"
}

// Healthy says whether health checks and passive ejection let it be used.
func (e *Endpoint) Healthy() bool { return e.healthy.Load() }

// SetHealthy is for the cluster that owns the endpoint.
func (e *Endpoint) SetHealthy(ok bool) { e.healthy.Store(ok) }

// ReadOnly says of a primary of a database that its transactions do not write
// unless they say that they do, as far as is known.
func (e *Endpoint) ReadOnly() bool { return e.readOnly.Load() }

// SetReadOnly is for the cluster that owns the endpoint.
func (e *Endpoint) SetReadOnly(is bool) { e.readOnly.Store(is) }

// Rival says of a server of a database that it writes by itself, beside the one
// that is the primary: it is no standby, whatever its place in the table.
func (e *Endpoint) Rival() bool { return e.rival.Load() }

// SetRival is for the cluster that owns the endpoint.
func (e *Endpoint) SetRival(is bool) { e.rival.Store(is) }

// Sessions is how many sessions of databases, or connections of Redis that work,
// the process has at the endpoint, by all filters.
func (e *Endpoint) Sessions() int64 { return e.sessions.Load() }

// SessionBegan counts a session, as soon as the endpoint is chosen for it.
func (e *Endpoint) SessionBegan() { e.sessions.Add(1) }

// SessionEnded is for each SessionBegan.
func (e *Endpoint) SessionEnded() { e.sessions.Add(-1) }

// refusalTime is for how long a refusal tells something of an endpoint.
const refusalTime = 2 * time.Second

// NoteRefusal notes that the endpoint has turned a session of a database away, or
// cannot be connected to.
func (e *Endpoint) NoteRefusal() { e.refused.Store(time.Now().UnixNano()) }

// RefusedLately reports whether it has done so: that it has few sessions need not
// mean that it has room for one.
func (e *Endpoint) RefusedLately() bool {
	at := e.refused.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < refusalTime
}

// Shard is a set of endpoints that hold the same keys.
type Shard struct {
	Name     string
	Primary  *Endpoint // nil while none is known
	Replicas []*Endpoint
	// Twin says that the primary's address is that of a shard before, which has other
	// keys of the same server: what concerns all keys is asked of that one.
	Twin bool
}

// Picker maps a key, already reduced to its hash tag, to an index into
// Table.Shards; negative when nothing can be picked.
type Picker interface {
	Pick(key []byte) int
}

// Table is an immutable view of a cluster.
type Table struct {
	Version uint64 // rises with every table of one cluster
	Shards  []Shard
	Picker  Picker // nil when there is at most one shard
	// Slots maps a hash slot to an index into Shards, negative when nobody
	// serves it; nil unless the cluster is a Redis Cluster.
	Slots *[16384]int32
	// Spare are nodes of a Redis Cluster without slots, to which redirections may
	// lead already.
	Spare   []*Endpoint
	Options *UpstreamOptions
}

// ByAddress finds an endpoint by its dial address or by the host name and port
// it is configured with, as redirections name it; nil when it is not there.
func (t *Table) ByAddress(addr string) *Endpoint {
	for i := range t.Shards {
		s := &t.Shards[i]
		if p := s.Primary; p != nil && (p.Address == addr || p.Hostname == addr) {
			return p
		}
		for _, r := range s.Replicas {
			if r.Address == addr || r.Hostname == addr {
				return r
			}
		}
	}
	for _, e := range t.Spare {
		if e.Address == addr || e.Hostname == addr {
			return e
		}
	}
	return nil
}

// UpstreamOptions says how to talk to a cluster's endpoints.
type UpstreamOptions struct {
	ConnectTimeout         time.Duration
	ConnectionsPerEndpoint int // per loop; at least 1
	MaxPendingRequests     int // outstanding on one endpoint's connections; 0: no limit
	MaxConnections         int // to one endpoint, pinned ones included; 0: no limit
	// StartTLS says that Endpoint.TLS is not for the connect but for later, when
	// the protocol has agreed on it.
	StartTLS  bool
	KeepAlive netloop.KeepAlive // of TCP
	Redis     RedisUpstream
	HTTP      HTTPUpstream
}

// HTTPUpstream is the part of UpstreamOptions for HTTP. 0 means no bound, where
// nothing else is said.
type HTTPUpstream struct {
	Protocol         HTTPProtocol
	IdleTimeout      time.Duration // of a pooled connection; 0: an hour, negative: no bound
	MaxConnectionAge time.Duration // after which a connection gets no further request
	RequestsPerConn  int           // in all
	StreamsPerConn   int           // at once, HTTP/2
	HeaderBytes      int           // of a response; 0: 60 KiB
	PingInterval     time.Duration // HTTP/2
	PingTimeout      time.Duration
	TableSize        int // HTTP/2, bytes, as are the two that follow; 0: as net/http does
	StreamWindow     int
	ConnectionWindow int
	MaxPending       int     // requests that wait for a connection, in the cluster
	MaxRequests      int     // in flight, in the cluster
	MaxConnections   int     // in the cluster
	MaxRetries       int     // in flight, where there is no budget
	RetryBudget      float64 // share of the requests in flight that may be retries, 0 to 1; 0: MaxRetries is meant
	RetryMinimum     int     // retries in flight that a budget always allows
	StatusCounts     bool    // a 5xx is a ServerError: the cluster says itself when to eject
}

// HTTPProtocol says what an upstream speaks.
type HTTPProtocol uint8

// The protocols, in the order of those of pkg/xds/resource.
const (
	HTTP1 HTTPProtocol = iota
	HTTP2
	HTTPByALPN // what TLS agrees on
	HTTPAsDown // what the client speaks
)

// RedisUpstream is the part of UpstreamOptions for Redis.
type RedisUpstream struct {
	Database    int                                       // database that SELECT 0 of a client means
	Credentials func() (user, password string, err error) // read at every connect; nil: no AUTH
	Preconnect  bool
}
