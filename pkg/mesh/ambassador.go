package mesh

// AmbassadorSpec says which port an app is given, what is spoken there, and
// where it leads in each environment.
type AmbassadorSpec struct {
	// Selector says which pods of the namespace get the listener; absent: all.
	// In a file it means nothing.
	Selector *Selector `json:"selector,omitempty"`
	Protocol Protocol  `json:"protocol"`
	Listen   Listen    `json:"listen"`
	Limits   *Limits   `json:"limits,omitempty"`
	// Redis is only for protocol redis; absent: the defaults of its fields.
	Redis *RedisSpec `json:"redis,omitempty"`
	// TCP is only for protocol tcp; absent: the defaults of its fields.
	TCP *TCPSpec `json:"tcp,omitempty"`
	// Environments, by name; at least one.
	Environments map[string]Environment `json:"environments"`
	// DefaultEnvironment is taken where nothing else says which; absent: such a
	// node is refused.
	DefaultEnvironment string `json:"defaultEnvironment,omitempty"`
	// EnvironmentRules choose by the name of the namespace or, where none
	// matches that, of the host. The first match wins.
	EnvironmentRules []EnvironmentRule `json:"environmentRules,omitempty"`
	// OnEnvironmentChange says what becomes of live connections; default Drain.
	OnEnvironmentChange ChangeMode `json:"onEnvironmentChange,omitempty"`
	// DrainDeadline bounds Drain; default 30s.
	DrainDeadline *Duration `json:"drainDeadline,omitempty"`
}

// Protocol is what the app speaks.
type Protocol string

// The protocols. All are known to the language, not all to this version.
const (
	ProtocolRedis    Protocol = "redis"
	ProtocolTCP      Protocol = "tcp"
	ProtocolPostgres Protocol = "postgres"
	ProtocolMySQL    Protocol = "mysql"
	ProtocolHTTP     Protocol = "http"
)

// Values lists the protocols.
func (Protocol) Values() []string {
	return []string{"redis", "tcp", "postgres", "mysql", "http"}
}

// ChangeMode is what becomes of live connections when the environment changes.
type ChangeMode string

// The change modes.
const (
	ChangeDrain ChangeMode = "Drain" // each ends at a transaction boundary, at the deadline at the latest
	ChangeCut   ChangeMode = "Cut"   // all end at once
)

// Values lists the change modes.
func (ChangeMode) Values() []string { return []string{"Drain", "Cut"} }

// EnvironmentRule chooses an environment by a name.
type EnvironmentRule struct {
	// Match is a pattern with * and ?, as in "*-prod".
	Match       string `json:"match"`
	Environment string `json:"environment"`
}

// Listen is where the app connects: a port or a path.
type Listen struct {
	// Address is an IP address; default 127.0.0.1.
	Address string `json:"address,omitempty"`
	Port    uint32 `json:"port,omitempty"`
	// Path is that of a unix socket; one that begins with @ is in Linux'
	// abstract namespace.
	Path string `json:"path,omitempty"`
	// Mode is the socket's permission bits, in octal ("0660"); absent: as the
	// umask leaves them.
	Mode FileMode `json:"mode,omitempty"`
	// Backlog is the system's queue of connections not yet accepted; default:
	// as large as the system allows.
	Backlog *uint32        `json:"backlog,omitempty"`
	TLS     *DownstreamTLS `json:"tls,omitempty"`
}

// DownstreamTLS makes the listener speak TLS. All files are PEM, and read again
// when they change.
type DownstreamTLS struct {
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// Cert is a Secret of type kubernetes.io/tls, instead of the files.
	Cert *SecretSource `json:"cert,omitempty"`
	// ClientCAFile holds the authorities of client certificates; absent: clients
	// are not verified.
	ClientCAFile string `json:"clientCAFile,omitempty"`
	// ClientCA is a Secret with the key ca.crt, instead of the file.
	ClientCA *SecretSource `json:"clientCA,omitempty"`
	// RequireClientCert refuses clients without a certificate; default false.
	RequireClientCert bool `json:"requireClientCert,omitempty"`
}

// Limits bound what the app may cost. Only the first and the idle timeout mean
// something for tcp.
type Limits struct {
	// MaxConnections are accepted, further ones closed at once; default: no bound.
	MaxConnections *uint32 `json:"maxConnections,omitempty"`
	// IdleTimeout closes a connection without traffic; default 0: never.
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`
	// MaxRequestBytes bounds one command; default 512Mi and 64Ki, which is what
	// Redis itself takes.
	MaxRequestBytes *Bytes `json:"maxRequestBytes,omitempty"`
	// SlowClientTimeout closes a client that takes no reply for so long;
	// default 60s; 0: never.
	SlowClientTimeout *Duration `json:"slowClientTimeout,omitempty"`
	// MaxPipeline is the number of commands of one client in flight, beyond
	// which it is not read from; default 1024.
	MaxPipeline *uint32 `json:"maxPipeline,omitempty"`
}

// TCPSpec is how bytes are forwarded.
type TCPSpec struct {
	// LoadBalancing chooses one of several endpoints; default RoundRobin.
	LoadBalancing TCPLoadBalancing `json:"loadBalancing,omitempty"`
	// ConnectTimeout bounds one attempt; default 3s.
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`
	// MaxConnectAttempts is how many endpoints are tried for a client; default 1.
	MaxConnectAttempts *uint32 `json:"maxConnectAttempts,omitempty"`
	// MaxConnectionDuration closes a connection at this age; default 0: never.
	MaxConnectionDuration *Duration         `json:"maxConnectionDuration,omitempty"`
	HealthCheck           *HealthCheck      `json:"healthCheck,omitempty"`
	OutlierDetection      *OutlierDetection `json:"outlierDetection,omitempty"`
	// RequestLimit: only maxConnections means something here.
	RequestLimit *RequestLimit `json:"requestLimit,omitempty"`
}

// TCPLoadBalancing chooses one of several endpoints.
type TCPLoadBalancing string

// The ways to choose.
const (
	TCPRoundRobin   TCPLoadBalancing = "RoundRobin"
	TCPLeastRequest TCPLoadBalancing = "LeastRequest" // the fewer connections of two drawn
	TCPRandom       TCPLoadBalancing = "Random"
)

// Values lists the ways to choose.
func (TCPLoadBalancing) Values() []string {
	return []string{"RoundRobin", "LeastRequest", "Random"}
}
