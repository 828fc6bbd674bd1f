package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Mode is which of the two protocols is spoken.
type Mode uint8

// The modes.
const (
	// Auto is Delta, or SotW with a server that answers delta with
	// Unimplemented.
	Auto Mode = iota
	// Delta is the incremental protocol.
	Delta
	// SotW is the state-of-the-world protocol.
	SotW
)

// String gives the name used in flags and in Status.
func (m Mode) String() string {
	names := [...]string{"auto", "delta", "sotw"}
	if int(m) < len(names) {
		return names[m]
	}
	return "unknown"
}

// ParseMode is the inverse of Mode.String.
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Auto, Delta, SotW} {
		if m.String() == s {
			return m, nil
		}
	}
	return Auto, fmt.Errorf("%q is not an xDS protocol: use auto, delta or sotw", s)
}

// Defaults of Options.
const (
	DefaultResourceTimeout = 15 * time.Second
	DefaultCacheWait       = 3 * time.Second
	DefaultConnectTimeout  = 5 * time.Second
	DefaultBackoffBase     = 500 * time.Millisecond
	DefaultBackoffMax      = 30 * time.Second
	DefaultMaxMessageBytes = 32 << 20
	DefaultMaxResources    = 100_000
	DefaultMaxCacheBytes   = 64 << 20
)

// Options of a Client.
type Options struct {
	// Servers are the addresses of control planes, as gRPC targets
	// ("host:port", "dns:///host:port", "unix:///path"). They are tried in
	// turn; the one that works is kept.
	Servers []string
	// Credentials secures the connection to a server; it is called for every
	// connection, so that files may change. Needed.
	Credentials func(server string) (credentials.TransportCredentials, error)
	// Token is sent as "authorization: Bearer ..." with every stream; it is
	// called anew for each. nil, or an empty token: none is sent.
	Token func(ctx context.Context) (string, error)
	// DialOptions come after the client's own and so may overrule them.
	DialOptions []grpc.DialOption

	Node *corev3.Node // what is said of this node; needed
	Mode Mode
	// ExplicitWildcard asks for all listeners and clusters with the name "*"
	// instead of with no name at all, which is what every control plane of
	// Envoy understands.
	ExplicitWildcard bool

	ResourceTimeout time.Duration // for a resource that is asked for and never comes; DefaultResourceTimeout
	ConnectTimeout  time.Duration // for one attempt to connect; DefaultConnectTimeout
	BackoffBase     time.Duration // first pause before connecting again; DefaultBackoffBase
	BackoffMax      time.Duration // the pause doubles up to this; DefaultBackoffMax
	MaxMessageBytes int           // of one response; DefaultMaxMessageBytes
	MaxResources    int           // of each type; DefaultMaxResources

	CachePath     string        // file with the last set that ran; "": none
	CacheWait     time.Duration // how long a server has at start before that file is used; DefaultCacheWait
	MaxCacheBytes int64         // of that file; DefaultMaxCacheBytes

	Consumer Consumer // needed
	Log      *slog.Logger
}

// withDefaults checks o and fills what is not given.
func (o Options) withDefaults() (Options, error) {
	switch {
	case len(o.Servers) == 0:
		return o, errors.New("xds client: no control plane is named")
	case o.Credentials == nil:
		return o, errors.New("xds client: no credentials are given")
	case o.Node.GetId() == "":
		return o, errors.New("xds client: the node has no id")
	case o.Consumer == nil:
		return o, errors.New("xds client: nobody takes the configuration")
	case o.Mode > SotW:
		return o, fmt.Errorf("xds client: unknown mode %d", o.Mode)
	}
	o.Node = proto.CloneOf(o.Node)
	o.ResourceTimeout = cmp.Or(max(o.ResourceTimeout, 0), DefaultResourceTimeout)
	o.ConnectTimeout = cmp.Or(max(o.ConnectTimeout, 0), DefaultConnectTimeout)
	o.BackoffBase = cmp.Or(max(o.BackoffBase, 0), DefaultBackoffBase)
	o.BackoffMax = max(cmp.Or(max(o.BackoffMax, 0), DefaultBackoffMax), o.BackoffBase)
	o.MaxMessageBytes = cmp.Or(max(o.MaxMessageBytes, 0), DefaultMaxMessageBytes)
	o.MaxResources = cmp.Or(max(o.MaxResources, 0), DefaultMaxResources)
	o.CacheWait = cmp.Or(max(o.CacheWait, 0), DefaultCacheWait)
	o.MaxCacheBytes = cmp.Or(max(o.MaxCacheBytes, 0), DefaultMaxCacheBytes)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Consumer makes configurations run.
type Consumer interface {
	// Apply makes the set the running one, and returns once it runs. On an error
	// nothing has changed; the resources that are to blame are named by the
	// resource.Error or resource.Errors in it. They are then taken back to the
	// version that ran before, or out, and Apply is called again. Calls do not
	// overlap. The set must only be read.
	Apply(ctx context.Context, u Update) error
}

// Update is a complete configuration: every reference within it is fulfilled.
type Update struct {
	Set    resource.Set // each slice sorted by name
	Origin Origin
	// Pending are resources that are still awaited, and what they hold up.
	Pending []Wait
	// Missing are resources that were given up, and what is left out (or
	// stays as it was) for that.
	Missing []Wait
}

// Origin is where a configuration came from.
type Origin struct {
	Disk   bool   // the file of the last set, and no control plane has confirmed it yet
	Server string // the address of the control plane; with Disk, that of then
}

// String is for people.
func (o Origin) String() string {
	switch {
	case o.Disk:
		return "disk"
	case o.Server != "":
		return o.Server
	}
	return "none"
}

// Wait is a resource that another needs and that is not there.
type Wait struct {
	TypeURL string    // of the resource that is not there
	Name    string    // of it
	For     string    // what needs it, as in `Listener "shop/cache"`
	Since   time.Time // when it was asked for
	Reason  string    // why it was given up; "" while it is awaited
}
