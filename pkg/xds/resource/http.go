package resource

import (
	"time"
)

// HTTPManager is Envoy's HttpConnectionManager: HTTP on one listener, with a
// chain of filters of its own.
type HTTPManager struct {
	StatPrefix string
	Codec      HTTPCodec
	// Routes are inline, or come by RDS under RoutesName; neither: there are none.
	Routes     *RouteConfig
	RoutesName string
	// Filters in the order in which requests pass them.
	Filters    []HTTPFilter
	Limits     HTTPLimits
	Path       HTTPPath
	Headers    HTTPHeaders
	HTTP1      HTTP1
	HTTP2      HTTP2
	AccessLogs []AccessLog
	Tracing    *HTTPTracing // nil: no spans
	// Upgrades are the protocols that a connection may be handed over to, in
	// lower case, and whether a route may use them without saying so.
	Upgrades map[string]bool
	// Expect100 passes "100 Continue" on as it comes from upstream; otherwise
	// the proxy says it itself.
	Expect100 bool
}

// HTTPTracing says of which requests spans are made.
type HTTPTracing struct {
	// Sampling is the share of the requests whose parent does not say it, 0 to 1.
	Sampling float64
	MaxPath  int // bytes of the path in a span; 0: all
	Tags     []HTTPTag
}

// HTTPTag is an attribute of spans: the value of a request's header, or Value
// where there is none.
type HTTPTag struct{ Name, Header, Value string }

// HTTPCodec says which versions of HTTP a listener speaks.
type HTTPCodec uint8

// The codecs.
const (
	HTTPAuto HTTPCodec = iota // what ALPN or a client's first bytes say
	HTTPOne                   // HTTP/1.0 and 1.1 alone
	HTTPTwo                   // HTTP/2 alone
)

// ALPN lists what is offered where the resource names nothing.
func (c HTTPCodec) ALPN() []string {
	switch c {
	case HTTPOne:
		return []string{"http/1.1"}
	case HTTPTwo:
		return []string{"h2"}
	default:
		return []string{"h2", "http/1.1"}
	}
}

// HTTPFilter is one filter of the chain.
type HTTPFilter struct {
	Name     string // by which routes configure it
	TypeURL  string
	Config   FilterConfig
	Disabled bool // unless a route says otherwise
}

// HTTPLimits bound what a client may take, in bytes and time. 0 means no bound.
type HTTPLimits struct {
	HeaderBytes     int // of a request, never 0
	HeaderCount     int // of a request, never 0
	HeadersTimeout  time.Duration
	RequestTimeout  time.Duration // for a whole request, its body included
	StreamIdle      time.Duration // nothing sent or received for one request
	Idle            time.Duration // a connection without a request
	MaxConnection   time.Duration // age after which a connection takes no more requests
	MaxStream       time.Duration // for a request and its response
	MaxRequests     uint32        // on one connection
	KeepaliveTime   time.Duration // HTTP/2 PING after so long without a frame
	KeepaliveAnswer time.Duration
}

// EscapedSlashes says what becomes of %2F and %5C in a path.
type EscapedSlashes uint8

// What may be done with escaped slashes.
const (
	SlashesKept EscapedSlashes = iota
	SlashesRefused
	SlashesRedirected // to the path without escapes
	SlashesUnescaped
)

// HTTPPath is how paths are made the same before routes are looked for.
type HTTPPath struct {
	Normalize    bool // dot segments and unnecessary escapes go, RFC 3986 section 6
	MergeSlashes bool
	Escaped      EscapedSlashes
	StripPort    PortStrip // from the host
	StripDot     bool      // from the end of the host
}

// PortStrip says which ports are taken out of a request's host.
type PortStrip uint8

// The ports that are taken out.
const (
	PortKept PortStrip = iota
	PortMatching
	PortAny
)

// ServerHeader says what becomes of the Server header of responses.
type ServerHeader uint8

// What may be done with it.
const (
	ServerOverwrite ServerHeader = iota
	ServerIfAbsent
	ServerPassThrough
)

// HTTPHeaders is what the connection manager itself does to headers.
type HTTPHeaders struct {
	Server            ServerHeader
	ServerName        string // "dragoman" by default
	Via               string // "": none
	RequestID         bool   // x-request-id is made where it is missing or not to be trusted
	KeepRequestID     bool   // also of requests from outside
	ReturnRequestID   bool   // in the response
	UseRemoteAddress  bool   // the peer is the client: it is added to x-forwarded-for
	TrustedHops       uint32 // addresses of x-forwarded-for that proxies before us added
	SkipForwarded     bool   // x-forwarded-for is left alone
	ForwardedPort     bool   // x-forwarded-port is added
	UnderscoreRefused bool   // requests with a_b: headers get 400
	UnderscoreDropped bool   // such headers are dropped
}

// HTTP1 are options of HTTP/1.
type HTTP1 struct {
	Accept10      bool // HTTP/1.0 is served
	DefaultHost10 string
	ChunkedLength bool // Content-Length beside Transfer-Encoding is dropped, not refused
	Trailers      bool // are passed on, else dropped
}

// HTTP2 are options of HTTP/2; 0 means the default.
type HTTP2 struct {
	MaxStreams       uint32 // at once, of a connection
	StreamWindow     uint32 // bytes
	ConnectionWindow uint32 // bytes
	TableSize        uint32 // of HPACK, bytes
	Floods           HTTP2Floods
}

// HTTP2Floods bound what costs a client less than it costs the proxy. 0 means the
// default, which is Envoy's; negative: none at all.
type HTTP2Floods struct {
	Outbound      int // frames that wait for a client that does not read
	Control       int // of these, those that are no part of a response
	Empty         int // frames without content that end nothing, one after the other
	Priority      int // PRIORITY frames for each stream
	WindowUpdates int // WINDOW_UPDATE frames for each DATA frame that was sent
}

// ClusterNames implements FilterConfig.
func (m *HTTPManager) ClusterNames() []string {
	names := m.Routes.ClusterNames() // of those by RDS it is their own concern
	for i := range m.Filters {
		names = append(names, m.Filters[i].Config.ClusterNames()...)
	}
	return sortedNames(names)
}

// SecretNames implements FilterConfig.
func (m *HTTPManager) SecretNames() []string {
	var names []string
	for i := range m.Filters {
		names = append(names, m.Filters[i].Config.SecretNames()...)
	}
	return sortedNames(names)
}
