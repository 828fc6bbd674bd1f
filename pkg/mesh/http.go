package mesh

// HTTPSpec is how requests are sent on.
type HTTPSpec struct {
	// LoadBalancing chooses one of several endpoints; default RoundRobin.
	LoadBalancing TCPLoadBalancing `json:"loadBalancing,omitempty"`
	// Version of HTTP that the servers speak; default HTTP1.
	Version HTTPVersion `json:"version,omitempty"`
	// Host that the servers are asked for, instead of the one that the app asks
	// for, which is usually localhost. Absent: the name of the environment's
	// address or Service, where it has one. "-" leaves it as the app sends it.
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`
	// ConnectTimeout bounds one attempt; default 3s.
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`
	// Timeout of a whole response, from the end of its request on; default 15s;
	// 0: none.
	Timeout *Duration `json:"timeout,omitempty"`
	// Retries of requests that failed; absent: none.
	Retries *HTTPRetries `json:"retries,omitempty"`
	// Routes are asked first, one after the other, and the first that matches is
	// taken. A request that none matches goes to the environment's servers as it is.
	// +kubebuilder:validation:MaxItems=256
	Routes []HTTPRoute `json:"routes,omitempty"`
	// AccessLog writes a line of JSON for each request to the standard output.
	AccessLog bool `json:"accessLog,omitempty"`
	// Tracing makes OpenTelemetry spans of requests, if the proxy knows a collector;
	// absent: none. The header traceparent is passed on in any case.
	Tracing          *HTTPTracing      `json:"tracing,omitempty"`
	HealthCheck      *HealthCheck      `json:"healthCheck,omitempty"`
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
	// RequestLimit bounds what a cluster is asked at once.
	RequestLimit *RequestLimit `json:"requestLimit,omitempty"`
}

// HTTPTracing says of which requests spans are made. One whose header traceparent
// names a parent gets a span if its parent is sampled.
type HTTPTracing struct {
	// Sampling is the share of the other requests, as in 1 or "0.1%"; default 0.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]*)?|\.[0-9]+)%?$`
	Sampling *Percent `json:"sampling,omitempty"`
}

// +kubebuilder:validation:Enum=HTTP1;HTTP2;Auto

// HTTPVersion is what servers speak.
type HTTPVersion string

// The versions.
const (
	HTTPVersion1    HTTPVersion = "HTTP1"
	HTTPVersion2    HTTPVersion = "HTTP2" // also without TLS
	HTTPVersionAuto HTTPVersion = "Auto"  // what TLS agrees on; without TLS HTTP1
)

// Values lists the versions.
func (HTTPVersion) Values() []string { return []string{"HTTP1", "HTTP2", "Auto"} }

// HTTPRetries says when a request is tried again.
type HTTPRetries struct {
	// Attempts beside the first; default 1.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Attempts *uint32 `json:"attempts,omitempty"`
	// On names the reasons, as Envoy's retry_on does; default connect-failure,
	// refused-stream and reset-before-request, which do no harm to any request.
	// +kubebuilder:validation:MaxItems=16
	On []RetryReason `json:"on,omitempty"`
	// Statuses that are a reason, with retriable-status-codes.
	// +kubebuilder:validation:MaxItems=64
	Statuses []uint32 `json:"statuses,omitempty"`
	// PerTryTimeout bounds each try; default: only timeout bounds all of them.
	PerTryTimeout *Duration `json:"perTryTimeout,omitempty"`
}

// +kubebuilder:validation:Enum="5xx";gateway-error;reset;reset-before-request;connect-failure;retriable-4xx;refused-stream;retriable-status-codes;cancelled;deadline-exceeded;internal;resource-exhausted;unavailable

// RetryReason is one of Envoy's words for why a request is tried again.
type RetryReason string

// Values lists the reasons.
func (RetryReason) Values() []string {
	return []string{
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream",
		"retriable-status-codes", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	}
}

// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.prefix)",message="exactly one of path and prefix is needed"
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.rewrite) && !has(self.timeout) && !has(self.retries) && !has(self.gather)",message="status is the whole answer: rewrite, timeout, retries and gather do not go with it"
// +kubebuilder:validation:XValidation:rule="!has(self.gather) || !has(self.timeout)",message="gather has a deadline of its own: timeout does not go with it"

// HTTPRoute says what becomes of some requests.
type HTTPRoute struct {
	// Path, all of it.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// Prefix of the path that ends where a segment does.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Prefix string `json:"prefix,omitempty"`
	// Methods, as in POST; absent: any.
	// +kubebuilder:validation:MaxItems=16
	Methods []string `json:"methods,omitempty"`
	// Rewrite takes the place of path or prefix.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Rewrite string `json:"rewrite,omitempty"`
	// Timeout, instead of spec.http.timeout.
	Timeout *Duration `json:"timeout,omitempty"`
	// Retries, instead of spec.http.retries.
	Retries *HTTPRetries `json:"retries,omitempty"`
	// Status that is answered at once, without asking any server.
	// +kubebuilder:validation:Minimum=200
	// +kubebuilder:validation:Maximum=599
	Status uint32 `json:"status,omitempty"`
	// Gather has several servers answer, and makes one answer of theirs.
	Gather *HTTPGather `json:"gather,omitempty"`
}
