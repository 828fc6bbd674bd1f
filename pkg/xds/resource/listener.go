package resource

import (
	"slices"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// Listener is one place where the app connects, and what answers there.
type Listener struct {
	Name    string
	Address ListenAddress
	TLS     *DownstreamTLS // nil: plain text
	Filter  Filter
	// MaxConnections bounds the accepted connections; further ones are closed
	// at once. 0 means no bound.
	MaxConnections uint32
	// Backlog is the accept queue that is asked of the system; 0: its default.
	Backlog uint32
	// TCPKeepalive is of accepted connections; nil: the proxy's default.
	TCPKeepalive *TCPKeepalive
	// TLSHandshakeTimeout bounds the time until the first byte of a client can
	// be read; never 0.
	TLSHandshakeTimeout time.Duration
	Drain               DrainPolicy
	// Environment is the name that was chosen for this node, EnvironmentSource
	// says by what ("--environment", "namespace label", ...). Both are for the
	// reader of /config_dump only.
	Environment       string
	EnvironmentSource string
	// Secrets are those that the resource carries inline instead of naming
	// them; their names are unique and begin with the listener's name.
	Secrets []*Secret
	Raw     *listenerv3.Listener
}

// SecretNames lists every secret the listener needs, sorted, once each.
func (l *Listener) SecretNames() []string {
	var names []string
	if l.Filter.Config != nil {
		names = l.Filter.Config.SecretNames()
	}
	if l.TLS != nil {
		names = append(names, l.TLS.ClientCA)
		names = append(names, l.TLS.Certificates...)
	}
	return sortedNames(names)
}

// LateSecrets lists those of SecretNames that the listener can be without for a
// while, sorted.
func (l *Listener) LateSecrets() []string {
	f, ok := l.Filter.Config.(interface{ LateSecrets() []string })
	if !ok {
		return nil
	}
	names := f.LateSecrets()
	if l.TLS != nil {
		names = lessNames(names, append(slices.Clone(l.TLS.Certificates), l.TLS.ClientCA))
	}
	return names
}

// LateTLS says that it is the filter's to begin TLS, once it has the connection:
// in mid-connection as databases do, or beside the loops as HTTP is served.
func (l *Listener) LateTLS() bool {
	if l.TLS == nil {
		return false
	}
	_, http := l.Filter.Config.(*HTTPManager)
	return l.TLS.StartTLS || http
}

// Network names of a ListenAddress, as net.Listen takes them.
const (
	NetworkTCP  = "tcp"
	NetworkUnix = "unix"
	// NetworkInternal is that of a listener which is no socket: its filter works by
	// itself.
	NetworkInternal = "internal"
)

// ListenAddress is where a listener binds.
type ListenAddress struct {
	Network string // NetworkTCP, NetworkUnix or NetworkInternal
	Addr    string // "127.0.0.1:6380", "[::1]:6380" or a path; a leading "@" is Linux' abstract namespace
	Mode    uint32 // permission bits of a unix socket; 0: as umask leaves them
}

// DrainMode says what becomes of live connections when their configuration is
// replaced.
type DrainMode uint8

// The drain modes.
const (
	DrainGracefully DrainMode = iota // close at a transaction boundary, at the deadline at the latest
	DrainCut                         // close at once if the environment is another one, or the listener gone; else as above
)

// String gives the name used in documents.
func (m DrainMode) String() string {
	if m == DrainCut {
		return "Cut"
	}
	return "Drain"
}

// DrainPolicy is how connections of a replaced listener end.
type DrainPolicy struct {
	Mode     DrainMode
	Deadline time.Duration // from the replacement on; always > 0 with DrainGracefully
}

// Filter is the terminal network filter of a listener.
type Filter struct {
	Name    string // as the resource calls it
	TypeURL string // one of the types in doc.go
	Config  FilterConfig
}

// FilterConfig is the validated configuration of a terminal filter: *RedisFilter,
// *TCPFilter, *PostgresFilter, *MySQLFilter, *HTTPManager or *LogsFilter. It tells what the filter needs to find in the same snapshot.
type FilterConfig interface {
	// ClusterNames lists every cluster the filter may send to, sorted, once each.
	ClusterNames() []string
	// SecretNames lists every secret the filter needs, sorted, once each.
	SecretNames() []string
}

// DownstreamTLS is how the listener speaks TLS to the app.
type DownstreamTLS struct {
	Certificates []string // names of TLS certificate secrets, at least one
	ClientCA     string   // name of a validation context secret; "": clients are not verified
	// ClientNames are those of which a client's certificate must carry one;
	// empty: any name.
	ClientNames       []string
	RequireClientCert bool
	MinVersion        uint16 // as crypto/tls; 0: its default
	MaxVersion        uint16
	ALPN              []string
	// StartTLS leaves it to the filter when TLS begins.
	StartTLS bool
}

// TCPFilter forwards bytes to one cluster.
type TCPFilter struct {
	StatPrefix string
	Cluster    string
	// IdleTimeout closes a connection on which neither side sent anything for
	// so long; 0 means never.
	IdleTimeout time.Duration
	// MaxDuration closes a connection at this age; 0 means never.
	MaxDuration time.Duration
	// MaxConnectAttempts is how many endpoints are tried for a client; at least 1.
	MaxConnectAttempts uint32
}

// ClusterNames implements FilterConfig.
func (f *TCPFilter) ClusterNames() []string { return []string{f.Cluster} }

// SecretNames implements FilterConfig.
func (f *TCPFilter) SecretNames() []string { return nil }
