package resource

import (
	"regexp"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// RouteConfig is Envoy's RouteConfiguration: where requests go.
type RouteConfig struct {
	Name         string
	VirtualHosts []VirtualHost
	Headers      HeaderChanges
	// MostSpecificWins applies the changes of headers from the outside in, so
	// that those of a route are the last.
	MostSpecificWins bool
	IgnorePort       bool // of the host, when virtual hosts are looked for
	Mirrors          []RouteMirror
	PerFilter        FilterOverrides
	Raw              *routev3.RouteConfiguration // nil if it was inline in a listener
}

// VirtualHost is the routes of some host names.
type VirtualHost struct {
	Name string
	// Domains in lower case: exact, "*.example.com", "example.*" or "*".
	Domains    []string
	RequireTLS RequireTLS
	Routes     []Route
	Headers    HeaderChanges
	Retry      *RetryPolicy  // of routes without one
	Mirrors    []RouteMirror // of routes without any
	PerFilter  FilterOverrides
	// AttemptCount sends x-envoy-attempt-count upstream, AttemptCountBack to
	// the client.
	AttemptCount, AttemptCountBack bool
}

// RequireTLS says which plain requests are redirected to https.
type RequireTLS uint8

// The requirements.
const (
	TLSNotRequired RequireTLS = iota
	TLSRequired
	TLSRequiredExternal // of clients that are not internal
)

// Route is what becomes of the requests that it matches: exactly one of
// Forward, Redirect and Direct is set.
type Route struct {
	Name       string
	StatPrefix string
	Match      RouteMatch
	Forward    *Forward
	Redirect   *Redirect
	Direct     *DirectResponse
	Headers    HeaderChanges
	PerFilter  FilterOverrides
}

// FilterOverrides is what a route, virtual host or route configuration says for
// HTTP filters, by their names.
type FilterOverrides map[string]FilterOverride

// FilterOverride is what is said for one filter.
type FilterOverride struct {
	Disabled bool
	Enabled  bool // also a filter that is disabled in the chain
	Config   any  // nil: nothing
}

// RouteMatch chooses requests; all of it must match.
type RouteMatch struct {
	Path     PathMatch
	Headers  []HeaderMatch
	Query    []QueryMatch
	GRPC     bool      // content-type application/grpc
	Fraction *Fraction // of the requests; nil: all
}

// Fraction is a share of requests.
type Fraction struct{ Numerator, Denominator uint32 }

// PathKind says how a path is matched.
type PathKind uint8

// The kinds of path match.
const (
	PathPrefix PathKind = iota
	PathExact
	PathSegments // a prefix that ends where a segment does
	PathRegex    // all of the path
	PathTemplate // all of the path
)

// PathMatch matches a path without its query.
type PathMatch struct {
	Kind       PathKind
	Value      string // of PathPrefix, PathExact and PathSegments; a template as it was written
	IgnoreCase bool
	Regex      *regexp.Regexp // of PathRegex and PathTemplate; anchored
}

// StringKind says how a text is matched.
type StringKind uint8

// The kinds of text match.
const (
	StringExact StringKind = iota
	StringPrefix
	StringSuffix
	StringContains
	StringRegex // all of the text
)

// StringMatch matches a text.
type StringMatch struct {
	Kind       StringKind
	Value      string // in lower case with IgnoreCase
	IgnoreCase bool
	Regex      *regexp.Regexp // anchored
}

// HeaderKind says how a header is matched.
type HeaderKind uint8

// The kinds of header match.
const (
	HeaderPresent HeaderKind = iota
	HeaderString
	HeaderRange
)

// HeaderMatch matches the value of a header; several of one name are joined by
// commas.
type HeaderMatch struct {
	Name           string // canonical, or ":method", ":path", ":authority", ":scheme"
	Kind           HeaderKind
	String         StringMatch
	Low, High      int64 // HeaderRange: from Low, below High
	Absent         bool  // HeaderPresent: must not be there
	Invert         bool
	MissingIsEmpty bool
}

// QueryMatch matches the first value of a query parameter.
type QueryMatch struct {
	Name    string
	Present bool // any value will do
	String  StringMatch
}

// HeaderAction says what adding a header does where it is there already.
type HeaderAction uint8

// The actions.
const (
	HeaderAppend          HeaderAction = iota // a further value
	HeaderAddIfAbsent                         // nothing
	HeaderOverwrite                           // takes its place
	HeaderOverwriteExists                     // takes its place; nothing where there is none
)

// HeaderChange adds a header.
type HeaderChange struct {
	Name      string // canonical
	Value     Format
	Action    HeaderAction
	KeepEmpty bool // is added although its value is empty
}

// HeaderChanges are done to requests on their way upstream, and to responses.
type HeaderChanges struct {
	RequestAdd     []HeaderChange
	RequestRemove  []string // canonical
	ResponseAdd    []HeaderChange
	ResponseRemove []string
}

// Empty reports whether nothing is changed.
func (h *HeaderChanges) Empty() bool {
	return len(h.RequestAdd)+len(h.RequestRemove)+len(h.ResponseAdd)+len(h.ResponseRemove) == 0
}

// Forward sends requests to a cluster: exactly one of Cluster, ClusterHeader
// and Weighted is set.
type Forward struct {
	Cluster        string
	ClusterHeader  string // the request's header that names the cluster
	Weighted       []WeightedCluster
	TotalWeight    uint32 // of Weighted
	NotFound       int    // status where there is no such cluster
	Path           PathRewrite
	Host           HostRewrite
	ForwardedHost  bool          // x-forwarded-host gets the host that was rewritten
	Timeout        time.Duration // of the whole response; 0: none
	IdleTimeout    time.Duration // 0: that of the connection manager; negative: none
	MaxGRPCTimeout time.Duration // bound of the client's grpc-timeout; negative: the header is not heeded
	MaxStream      time.Duration // 0: that of the connection manager
	Retry          *RetryPolicy  // nil: that of the virtual host, if any
	Mirrors        []RouteMirror
	Hash           []HashPolicy
	Upgrades       map[string]bool // that this route allows or forbids, in lower case
}

// WeightedCluster is one of several clusters of a route.
type WeightedCluster struct {
	Name      string
	Weight    uint32
	Host      string // literal rewrite; "": as the route says
	Headers   HeaderChanges
	PerFilter FilterOverrides
}

// PathRewrite changes the path that goes upstream. At most one of its parts is
// set.
type PathRewrite struct {
	Prefix   *string // takes the place of what the route's match matched
	Regex    *regexp.Regexp
	Subst    string    // of Regex, in Go's syntax
	Template *Template // of a route that matches a template
}

// HostRewrite changes the host that goes upstream.
type HostRewrite struct {
	Literal   string
	Auto      bool   // the endpoint's host name
	Header    string // the value of this header
	PathRegex *regexp.Regexp
	Subst     string
}

// RetryOn is a set of reasons to try again.
type RetryOn uint32

// The reasons, as Envoy names them.
const (
	Retry5xx RetryOn = 1 << iota
	RetryGateway
	RetryReset
	RetryResetBeforeRequest
	RetryConnectFailure
	RetryRetriable4xx
	RetryRefusedStream
	RetryStatusCodes
	RetryHeaders
	RetryGRPCCancelled
	RetryGRPCDeadline
	RetryGRPCInternal
	RetryGRPCExhausted
	RetryGRPCUnavailable
)

// RetryPolicy says when a request is tried again.
type RetryPolicy struct {
	On           RetryOn
	Codes        []int // with RetryStatusCodes
	Headers      []HeaderMatch
	Requests     []HeaderMatch // only requests that match one of them; empty: any
	Retries      uint32        // further tries
	PerTry       time.Duration // 0: no bound but that of the route
	Base, Max    time.Duration // of the pause before a further try
	AvoidHosts   bool          // that were tried already
	HostAttempts uint32        // picks that may be spent on that
}

// RouteMirror sends a copy of requests to another cluster, whose answers are
// discarded.
type RouteMirror struct {
	Cluster  string
	Fraction *Fraction // nil: all
	KeepHost bool      // else "-shadow" is appended to the host
}

// HashKind says what a request is hashed by.
type HashKind uint8

// The kinds of hash policy.
const (
	HashHeader HashKind = iota
	HashCookie
	HashSourceIP
	HashQuery
)

// HashPolicy says what decides on the endpoint, with ring_hash and maglev.
type HashPolicy struct {
	Kind     HashKind
	Name     string
	Terminal bool // later ones are looked at only if this one found nothing
	TTL      *time.Duration
	Path     string // of a cookie that is made
}

// Redirect answers with another address.
type Redirect struct {
	Scheme     string // "": that of the request
	Host       string
	Port       uint32
	Path       string // "": that of the request, rewritten
	Rewrite    PathRewrite
	Status     int
	StripQuery bool
}

// DirectResponse is an answer of the proxy's own.
type DirectResponse struct {
	Status int
	Body   []byte
	Format *Format // of a body with commands; nil: Body is meant
}

// ClusterNames lists every cluster that the routes name, sorted, once each.
func (c *RouteConfig) ClusterNames() []string {
	if c == nil {
		return nil
	}
	var names []string
	mirrors := func(list []RouteMirror) {
		for i := range list {
			names = append(names, list[i].Cluster)
		}
	}
	mirrors(c.Mirrors)
	for i := range c.VirtualHosts {
		v := &c.VirtualHosts[i]
		mirrors(v.Mirrors)
		for j := range v.Routes {
			f := v.Routes[j].Forward
			if f == nil {
				continue
			}
			names = append(names, f.Cluster)
			names = append(names, v.Routes[j].PerFilter.clusterNames()...)
			for k := range f.Weighted {
				names = append(names, f.Weighted[k].Name)
			}
			mirrors(f.Mirrors)
		}
	}
	return sortedNames(names)
}

// clusterNames lists those that configurations of filters name.
func (o FilterOverrides) clusterNames() []string {
	var names []string
	for _, each := range o {
		if c, ok := each.Config.(interface{ ClusterNames() []string }); ok {
			names = append(names, c.ClusterNames()...)
		}
	}
	return names
}
