package mesh

// +kubebuilder:validation:XValidation:rule="self.protocol == 'redis' || !has(self.redis)",message="redis goes with protocol redis only"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'tcp' || !has(self.tcp)",message="tcp goes with protocol tcp only"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'http' || !has(self.http)",message="http goes with protocol http only"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'http' || !has(self.grpc)",message="grpc goes with protocol http only"
// +kubebuilder:validation:XValidation:rule="!has(self.grpc) || !has(self.http) || !has(self.http.routes)",message="routes do not go with grpc, whose rules say what a request is"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'postgres' || !has(self.postgres)",message="postgres goes with protocol postgres only"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'mysql' || !has(self.mysql)",message="mysql goes with protocol mysql only"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'redis' || self.environments.all(n, !has(self.environments[n].shards) && !has(self.environments[n].shardsFrom) && !has(self.environments[n].cluster) && !has(self.environments[n].sentinel))",message="shards, shardsFrom, cluster and sentinel go with protocol redis only"
// +kubebuilder:validation:XValidation:rule="self.protocol in ['redis', 'http'] || self.environments.all(n, !has(self.environments[n].pools))",message="pools go with protocols redis and http only"
// +kubebuilder:validation:XValidation:rule="!(self.protocol in ['tcp', 'http']) || self.environments.all(n, !has(self.environments[n].credentials) && !has(self.environments[n].database))",message="credentials and database do not go with protocols tcp and http"
// +kubebuilder:validation:XValidation:rule="!(self.protocol in ['redis', 'tcp', 'http']) || self.environments.all(n, !has(self.environments[n].access) && !has(self.environments[n].standbys) && !has(self.environments[n].targetSessionAttrs) && !has(self.environments[n].roleLabel))",message="access, standbys, targetSessionAttrs and roleLabel go with databases only"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'postgres' || self.environments.all(n, !has(self.environments[n].requireAuth))",message="requireAuth goes with protocol postgres only"
// +kubebuilder:validation:XValidation:rule="self.protocol in ['postgres', 'mysql'] || !has(self.limits) || (!has(self.limits.maxConnecting) && !has(self.limits.maxWait) && !has(self.limits.maxWaiting))",message="limits.maxConnecting, maxWait and maxWaiting go with databases only"
// +kubebuilder:validation:XValidation:rule="!(self.protocol in ['redis', 'tcp', 'http']) || !has(self.readOnly)",message="readOnly goes with databases only"
// +kubebuilder:validation:XValidation:rule="!(self.protocol in ['postgres', 'mysql']) || self.environments.all(n, has(self.environments[n].credentials))",message="an environment of a database needs credentials"
// +kubebuilder:validation:XValidation:rule="self.protocol != 'redis' || self.environments.all(n, !has(self.environments[n].endpoints))",message="endpoints do not go with protocol redis: use shards"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultEnvironment) || self.defaultEnvironment in self.environments",message="defaultEnvironment must be one of the environments"
// +kubebuilder:validation:XValidation:rule="!has(self.environmentRules) || self.environmentRules.all(r, r.environment in self.environments)",message="environmentRules must lead to one of the environments"

// AmbassadorSpec says which port an app is given, what is spoken there, and
// where it leads in each environment.
type AmbassadorSpec struct {
	// Selector says which pods of the namespace get the listener; absent: all.
	// In a file it means nothing.
	Selector *Selector `json:"selector,omitempty"`
	Protocol Protocol  `json:"protocol"`
	Listen   Listen    `json:"listen"`
	Limits   *Limits   `json:"limits,omitempty"`
	// TCPKeepalive looks after the servers of every environment; idle is 30s by default.
	TCPKeepalive *TCPKeepalive `json:"tcpKeepalive,omitempty"`
	// Redis is only for protocol redis; absent: the defaults of its fields.
	Redis *RedisSpec `json:"redis,omitempty"`
	// TCP is only for protocol tcp; absent: the defaults of its fields.
	TCP *TCPSpec `json:"tcp,omitempty"`
	// HTTP is only for protocol http; absent: the defaults of its fields.
	HTTP *HTTPSpec `json:"http,omitempty"`
	// GRPC, only for protocol http, stands between gRPC and JSON: the app speaks one of
	// them, and the environment's servers the other. It goes without http.routes.
	GRPC *APIGRPC `json:"grpc,omitempty"`
	// Postgres is only for protocol postgres; absent: the defaults of its fields.
	Postgres *PostgresSpec `json:"postgres,omitempty"`
	// MySQL is only for protocol mysql; absent: the defaults of its fields.
	MySQL *MySQLSpec `json:"mysql,omitempty"`
	// ReadOnly is a second port of a database, for sessions that only read.
	ReadOnly *ReadOnlyPort `json:"readOnly,omitempty"`
	// Environments, by name; at least one.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	Environments map[string]Environment `json:"environments"`
	// DefaultEnvironment is taken where nothing else says which; absent: such a
	// node is refused.
	// +kubebuilder:validation:MaxLength=63
	DefaultEnvironment string `json:"defaultEnvironment,omitempty"`
	// EnvironmentRules choose by the name of the namespace or, where none
	// matches that, of the host. The first match wins.
	// +kubebuilder:validation:MaxItems=64
	EnvironmentRules []EnvironmentRule `json:"environmentRules,omitempty"`
	// OnEnvironmentChange says what becomes of live connections; default Drain.
	OnEnvironmentChange ChangeMode `json:"onEnvironmentChange,omitempty"`
	// DrainDeadline bounds Drain; default 30s.
	DrainDeadline *Duration `json:"drainDeadline,omitempty"`
}

// +kubebuilder:validation:Enum=redis;tcp;postgres;mysql;http

// Protocol is what the app speaks.
type Protocol string

// The protocols.
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

// +kubebuilder:validation:Enum=Drain;Cut

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
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Match string `json:"match"`
	// Environment that is chosen then.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Environment string `json:"environment"`
}

// +kubebuilder:validation:XValidation:rule="has(self.port) != has(self.path)",message="exactly one of port and path is needed"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || !has(self.address)",message="address goes with a port"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || has(self.path)",message="mode goes with a path"
// +kubebuilder:validation:XValidation:rule="!has(self.tcpKeepalive) || has(self.port)",message="tcpKeepalive goes with a port"

// Listen is where the app connects: a port or a path.
type Listen struct {
	// Address is an IP address; default 127.0.0.1.
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address,omitempty"`
	// Port to listen on; there is a port or a path.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port uint32 `json:"port,omitempty"`
	// Path is that of a unix socket; one that begins with @ is in Linux'
	// abstract namespace.
	// +kubebuilder:validation:Pattern=`^[/@].+$`
	// +kubebuilder:validation:MaxLength=107
	Path string `json:"path,omitempty"`
	// Mode is the socket's permission bits, in octal ("0660"); absent: as the
	// umask leaves them.
	Mode FileMode `json:"mode,omitempty"`
	// Backlog is the system's queue of connections not yet accepted; default:
	// as large as the system allows.
	// +kubebuilder:validation:Minimum=1
	Backlog *uint32 `json:"backlog,omitempty"`
	// TCPKeepalive looks after clients that are silent; idle is 5m by default.
	TCPKeepalive *TCPKeepalive  `json:"tcpKeepalive,omitempty"`
	TLS          *DownstreamTLS `json:"tls,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="has(self.cert) != (has(self.certFile) || has(self.keyFile))",message="a certificate is needed: cert, or certFile and keyFile"
// +kubebuilder:validation:XValidation:rule="has(self.certFile) == has(self.keyFile)",message="certFile and keyFile go together"
// +kubebuilder:validation:XValidation:rule="!(has(self.clientCA) && has(self.clientCAFile))",message="only one of clientCA and clientCAFile may be there"
// +kubebuilder:validation:XValidation:rule="!has(self.requireClientCert) || !self.requireClientCert || has(self.clientCA) || has(self.clientCAFile)",message="requireClientCert needs clientCA or clientCAFile"

// DownstreamTLS makes the listener speak TLS. All files are PEM, and read again
// when they change.
type DownstreamTLS struct {
	// CertFile is the listener's certificate, and what lies between it and the
	// authority.
	CertFile string `json:"certFile,omitempty"`
	// KeyFile belongs to CertFile.
	KeyFile string `json:"keyFile,omitempty"`
	// Cert is a Secret of type kubernetes.io/tls, instead of the files.
	Cert *SecretSource `json:"cert,omitempty"`
	// ClientCAFile holds the authorities of client certificates; absent: clients
	// are not verified.
	ClientCAFile string `json:"clientCAFile,omitempty"`
	// ClientCA is a Secret or a ConfigMap, instead of the file.
	ClientCA *CASource `json:"clientCA,omitempty"`
	// RequireClientCert refuses clients without a certificate; default false.
	RequireClientCert bool `json:"requireClientCert,omitempty"`
}

// Limits bound what the app may cost. Only maxConnections and idleTimeout mean
// something for tcp and http, and only they, maxWait and maxWaiting for databases.
type Limits struct {
	// MaxConnections are accepted, further ones closed at once; default: no bound.
	// With databases, so many sessions are open, and further ones wait for their turn.
	// +kubebuilder:validation:Minimum=1
	MaxConnections *uint32 `json:"maxConnections,omitempty"`
	// IdleTimeout closes a connection without traffic; default 0: never.
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`
	// MaxRequestBytes bounds one command; default 512Mi and 64Ki, which is what
	// Redis itself takes.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	MaxRequestBytes *Bytes `json:"maxRequestBytes,omitempty"`
	// SlowClientTimeout closes a client that takes no reply for so long;
	// default 60s; 0: never.
	SlowClientTimeout *Duration `json:"slowClientTimeout,omitempty"`
	// MaxPipeline is the number of commands of one client in flight, beyond
	// which it is not read from; default 1024.
	// +kubebuilder:validation:Minimum=1
	MaxPipeline *uint32 `json:"maxPipeline,omitempty"`
	// MaxWait bounds how long the app is kept waiting for its turn, for a server
	// to connect to, and for credentials, with databases; default 10s; 0: not at all.
	MaxWait *Duration `json:"maxWait,omitempty"`
	// MaxWaiting clients wait for their turn at maxConnections, further ones are
	// refused at once, with databases; default 1000.
	// +kubebuilder:validation:Minimum=1
	MaxWaiting *uint32 `json:"maxWaiting,omitempty"`
	// MaxConnecting connects and logins are under way at once at one server of a
	// database, further ones wait; default 16. It keeps clients that all come back
	// at once from costing the server its life.
	// +kubebuilder:validation:Minimum=1
	MaxConnecting *uint32 `json:"maxConnecting,omitempty"`
}

// TCPSpec is how bytes are forwarded.
type TCPSpec struct {
	// LoadBalancing chooses one of several endpoints; default RoundRobin.
	LoadBalancing TCPLoadBalancing `json:"loadBalancing,omitempty"`
	// ConnectTimeout bounds one attempt; default 3s.
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`
	// MaxConnectAttempts is how many endpoints are tried for a client; default 1.
	// +kubebuilder:validation:Minimum=1
	MaxConnectAttempts *uint32 `json:"maxConnectAttempts,omitempty"`
	// MaxConnectionDuration closes a connection at this age; default 0: never.
	MaxConnectionDuration *Duration         `json:"maxConnectionDuration,omitempty"`
	HealthCheck           *HealthCheck      `json:"healthCheck,omitempty"`
	OutlierDetection      *OutlierDetection `json:"outlierDetection,omitempty"`
	// RequestLimit: only maxConnections means something here.
	RequestLimit *RequestLimit `json:"requestLimit,omitempty"`
}

// +kubebuilder:validation:Enum=RoundRobin;LeastRequest;Random

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
