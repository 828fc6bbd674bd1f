package mesh

// +kubebuilder:validation:XValidation:rule="!has(self.hash) || !has(self.distribution) || self.distribution in ['ketama', 'modula']",message="hash goes with the distributions ketama and modula only"
// +kubebuilder:validation:XValidation:rule="!has(self.ringSize) || (has(self.distribution) && self.distribution == 'ring_hash')",message="ringSize goes with the distribution ring_hash only"
// +kubebuilder:validation:XValidation:rule="!has(self.tableSize) || (has(self.distribution) && self.distribution == 'maglev')",message="tableSize goes with the distribution maglev only"
// +kubebuilder:validation:XValidation:rule="!has(self.autoEject) || !has(self.distribution) || self.distribution in ['ketama', 'modula', 'random']",message="autoEject goes with the distributions ketama, modula and random only"

// RedisSpec is how one logical Redis is made of many servers.
type RedisSpec struct {
	// Distribution spreads keys over shards; default ketama. An environment
	// with `cluster` always uses slots, whatever stands here.
	Distribution Distribution `json:"distribution,omitempty"`
	// Hash is applied to keys with ketama and modula; default fnv1a_64. The
	// other distributions have one of their own.
	Hash HashFunction `json:"hash,omitempty"`
	// HashTag is the two characters around the part of a key that is hashed,
	// as in "{}"; default: the whole key is hashed. (With slots always "{}".)
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=2
	HashTag string `json:"hashTag,omitempty"`
	// RingSize is for ring_hash.
	RingSize *RingSize `json:"ringSize,omitempty"`
	// TableSize is a prime; default 65537.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=5000011
	TableSize *uint64 `json:"tableSize,omitempty"`

	// ReadPolicy says which role answers read-only commands; default Primary.
	// PreferPrimary: a replica only while the primary is away. Replica: an error
	// while no replica is there. PreferReplica: the primary while no replica is
	// there. Any: all alike. ZoneAffinity: replicas of the proxy's own zone first,
	// then others. ZoneAffinityAndPrimary: after those of the zone the primary, if it
	// is in the zone.
	ReadPolicy ReadPolicy `json:"readPolicy,omitempty"`
	// OpTimeout bounds a command, blocking ones excepted; default 5s; 0: no bound.
	OpTimeout *Duration `json:"opTimeout,omitempty"`
	// ConnectTimeout bounds the making of a connection; default 3s.
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`
	// ConnectionsPerEndpoint are shared by all clients; default 1.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	ConnectionsPerEndpoint *uint32 `json:"connectionsPerEndpoint,omitempty"`
	// PreConnect opens them before the first command; default false.
	PreConnect bool `json:"preConnect,omitempty"`
	// Database of a client before its first SELECT; default 0. An environment
	// may say otherwise.
	// +kubebuilder:validation:Maximum=2147483647
	Database *uint32 `json:"database,omitempty"`

	// AutoEject takes a failing shard out of the distribution, for ketama,
	// modula and random; default: its keys get errors.
	AutoEject        *AutoEject        `json:"autoEject,omitempty"`
	HealthCheck      *HealthCheck      `json:"healthCheck,omitempty"`
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
	RequestLimit     *RequestLimit     `json:"requestLimit,omitempty"`

	// PrefixRoutes send the keys with a prefix to a pool of the environment;
	// the longest prefix wins. All other keys go to the environment's own servers.
	// +kubebuilder:validation:MaxItems=256
	PrefixRoutes []PrefixRoute `json:"prefixRoutes,omitempty"`
	// CaseInsensitivePrefixes compares prefixes without regard to ASCII case.
	CaseInsensitivePrefixes bool `json:"caseInsensitivePrefixes,omitempty"`
	// Mirrors copy the commands that no prefix route takes.
	// +kubebuilder:validation:MaxItems=16
	Mirrors []Mirror `json:"mirrors,omitempty"`

	// Users of the listener; absent: no client has to log in.
	// +kubebuilder:validation:MaxItems=256
	Users []User `json:"users,omitempty"`
	// UnknownCommands are refused, or go where their first argument would as a key;
	// default Refuse. CustomCommands are not unknown.
	UnknownCommands UnknownCommands `json:"unknownCommands,omitempty"`
	// CustomCommands are commands of server modules, which have one key: their
	// first argument.
	// +kubebuilder:validation:MaxItems=1024
	CustomCommands []string `json:"customCommands,omitempty"`
	// CommandStats keeps a latency histogram per command; default true.
	CommandStats *bool `json:"commandStats,omitempty"`
	// SlowLog keeps the slowest commands, /slowlog of the admin port shows them;
	// default: 128 of those over 10ms.
	SlowLog *SlowLog `json:"slowLog,omitempty"`
	// HotKeys finds the keys asked for most often, /hotkeys shows them; absent: they
	// are not looked for.
	HotKeys *HotKeys `json:"hotKeys,omitempty"`
}

// +kubebuilder:validation:Enum=ketama;modula;random;ring_hash;maglev;slots

// Distribution spreads keys over shards.
type Distribution string

// The distributions.
const (
	DistributionKetama   Distribution = "ketama"    // as twemproxy
	DistributionModula   Distribution = "modula"    // as twemproxy
	DistributionRandom   Distribution = "random"    // as twemproxy
	DistributionRingHash Distribution = "ring_hash" // as Envoy
	DistributionMaglev   Distribution = "maglev"    // as Envoy
	DistributionSlots    Distribution = "slots"     // Redis Cluster
)

// Values lists the distributions.
func (Distribution) Values() []string {
	return []string{"ketama", "modula", "random", "ring_hash", "maglev", "slots"}
}

// +kubebuilder:validation:Enum=one_at_a_time;md5;crc16;crc32;crc32a;fnv1_64;fnv1a_64;fnv1_32;fnv1a_32;hsieh;murmur;jenkins

// HashFunction is one of twemproxy's, by its name there.
type HashFunction string

// DefaultHash is twemproxy's own default.
const DefaultHash HashFunction = "fnv1a_64"

// Values lists the hash functions.
func (HashFunction) Values() []string {
	return []string{
		"one_at_a_time", "md5", "crc16", "crc32", "crc32a", "fnv1_64", "fnv1a_64",
		"fnv1_32", "fnv1a_32", "hsieh", "murmur", "jenkins",
	}
}

// RingSize bounds the points of a ring_hash ring.
type RingSize struct {
	// Min; default 1024.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8388608
	Min *uint64 `json:"min,omitempty"`
	// Max; default 8388608, which is also the most.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8388608
	Max *uint64 `json:"max,omitempty"`
}

// +kubebuilder:validation:Enum=Primary;PreferPrimary;Replica;PreferReplica;Any;ZoneAffinity;ZoneAffinityAndPrimary

// ReadPolicy says which role answers read-only commands.
type ReadPolicy string

// The read policies.
const (
	ReadPrimary                ReadPolicy = "Primary"
	ReadPreferPrimary          ReadPolicy = "PreferPrimary"          // a replica only while the primary is away
	ReadReplica                ReadPolicy = "Replica"                // an error while no replica is there
	ReadPreferReplica          ReadPolicy = "PreferReplica"          // the primary while no replica is there
	ReadAny                    ReadPolicy = "Any"                    // all alike
	ReadZoneAffinity           ReadPolicy = "ZoneAffinity"           // replicas of the own zone first
	ReadZoneAffinityAndPrimary ReadPolicy = "ZoneAffinityAndPrimary" // then the primary if it is in the zone
)

// Values lists the read policies.
func (ReadPolicy) Values() []string {
	return []string{
		"Primary", "PreferPrimary", "Replica", "PreferReplica", "Any",
		"ZoneAffinity", "ZoneAffinityAndPrimary",
	}
}

// +kubebuilder:validation:Enum=Refuse;FirstArgument

// UnknownCommands says what happens to a command that the table does not know.
type UnknownCommands string

// What may happen to it.
const (
	UnknownRefuse        UnknownCommands = "Refuse"        // an error; the connection lives on
	UnknownFirstArgument UnknownCommands = "FirstArgument" // routed as if its first argument were a key
)

// Values lists what may happen.
func (UnknownCommands) Values() []string { return []string{"Refuse", "FirstArgument"} }

// AutoEject is twemproxy's auto_eject_hosts.
type AutoEject struct {
	// Failures in a row that eject; default 2.
	// +kubebuilder:validation:Minimum=1
	Failures *uint32 `json:"failures,omitempty"`
	// RetryAfter is when the shard is taken in again; default 30s.
	RetryAfter *Duration `json:"retryAfter,omitempty"`
}

// HealthCheck asks every endpoint periodically. Absent: no checks.
type HealthCheck struct {
	// Interval between two checks of an endpoint; default 5s.
	Interval *Duration `json:"interval,omitempty"`
	// Timeout of one check; default 1s.
	Timeout *Duration `json:"timeout,omitempty"`
	// UnhealthyThreshold is how many checks in a row have to fail; default 3.
	// +kubebuilder:validation:Minimum=1
	UnhealthyThreshold *uint32 `json:"unhealthyThreshold,omitempty"`
	// HealthyThreshold is how many have to go well after that; default 1.
	// +kubebuilder:validation:Minimum=1
	HealthyThreshold *uint32 `json:"healthyThreshold,omitempty"`
	// ProbeRole asks Redis servers for their ROLE as well, and believes the
	// answer rather than the document; default false.
	ProbeRole bool `json:"probeRole,omitempty"`
	// HTTP asks servers of protocol http for more than a connection.
	HTTP *HTTPCheck `json:"http,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.grpcService)",message="exactly one of path and grpcService is needed"
// +kubebuilder:validation:XValidation:rule="has(self.path) || !has(self.statuses)",message="statuses go with path"

// HTTPCheck is what a server of HTTP is asked: exactly one of Path and
// GRPCService is there.
type HTTPCheck struct {
	// Path, with its query, that is asked for with GET.
	// +kubebuilder:validation:Pattern=`^/[^ #]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// Statuses that speak for the server; default 200.
	// +kubebuilder:validation:MaxItems=64
	Statuses []uint32 `json:"statuses,omitempty"`
	// GRPCService that gRPC's health protocol is asked about; "" means the server as
	// a whole.
	// +kubebuilder:validation:MaxLength=253
	GRPCService *string `json:"grpcService,omitempty"`
	// Host that is asked for; default: that of the address.
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`
}

// OutlierDetection ejects endpoints whose real requests fail. Absent: none is.
type OutlierDetection struct {
	// ConsecutiveFailures that eject an endpoint; default 5.
	// +kubebuilder:validation:Minimum=1
	ConsecutiveFailures *uint32 `json:"consecutiveFailures,omitempty"`
	// Interval of looking; default 10s.
	Interval *Duration `json:"interval,omitempty"`
	// BaseEjection, times the ejections so far, is how long one lasts; default 30s.
	BaseEjection *Duration `json:"baseEjection,omitempty"`
	// MaxEjection is the longest; default 5m.
	MaxEjection *Duration `json:"maxEjection,omitempty"`
	// MaxEjectionPercent of the endpoints may be out; default 10, but one always may.
	// +kubebuilder:validation:Maximum=100
	MaxEjectionPercent *uint32 `json:"maxEjectionPercent,omitempty"`
}

// RequestLimit bounds what an upstream is asked for at once. Default: no bound.
type RequestLimit struct {
	// MaxConnections to one endpoint.
	// +kubebuilder:validation:Minimum=1
	MaxConnections *uint32 `json:"maxConnections,omitempty"`
	// MaxPending wait for a connection.
	// +kubebuilder:validation:Minimum=1
	MaxPending *uint32 `json:"maxPending,omitempty"`
	// MaxRequests wait for a reply.
	// +kubebuilder:validation:Minimum=1
	MaxRequests *uint32 `json:"maxRequests,omitempty"`
}

// PrefixRoute sends the keys with a prefix to a pool.
type PrefixRoute struct {
	// Prefix of the keys.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Prefix string `json:"prefix"`
	// RemovePrefix takes it off before the servers see the key; default false.
	RemovePrefix bool `json:"removePrefix,omitempty"`
	// Pool of the environment; absent: the environment's own servers.
	Pool string `json:"pool,omitempty"`
	// ReadPool takes the read-only commands; absent: Pool does.
	ReadPool string `json:"readPool,omitempty"`
	// Mirrors copy the commands that this route takes.
	// +kubebuilder:validation:MaxItems=16
	Mirrors []Mirror `json:"mirrors,omitempty"`
}

// Mirror copies commands to a pool, whose replies are dropped.
type Mirror struct {
	// Pool of the environment.
	// +kubebuilder:validation:MinLength=1
	Pool string `json:"pool"`
	// Percentage of the commands, as in 10 or "12.5%"; default 100.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?%?$`
	Percentage *Percent `json:"percentage,omitempty"`
	// ExcludeReads copies only writes; default false.
	ExcludeReads bool `json:"excludeReads,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.passwordFile), has(self.passwordEnv), has(self.passwordSecret), has(self.noPassword) && self.noPassword].exists_one(x, x)",message="exactly one of passwordFile, passwordEnv, passwordSecret and noPassword is needed"

// User is an account of the listener, not of the Redis servers.
type User struct {
	// Name; "default" is who logs in with a password alone.
	// +kubebuilder:validation:Pattern=`^[^ \t\r\n]+$`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// PasswordFile holds the password and nothing else; an ending line break does
	// not count. There is one of it and the next three.
	PasswordFile string `json:"passwordFile,omitempty"`
	// PasswordEnv is the variable that holds the password.
	PasswordEnv string `json:"passwordEnv,omitempty"`
	// PasswordSecret holds the password; needs a control plane.
	PasswordSecret *SecretKeyRef `json:"passwordSecret,omitempty"`
	// NoPassword lets everybody in who gives the name, with any password.
	NoPassword bool `json:"noPassword,omitempty"`
	// ReadOnly refuses commands that write; default false.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Commands the user may give; default: all.
	Commands *CommandRules `json:"commands,omitempty"`
}

// CommandRules hold "@category", "command" and "command|subcommand".
type CommandRules struct {
	// Allow; empty: all.
	// +kubebuilder:validation:MaxItems=1024
	Allow []string `json:"allow,omitempty"`
	// Deny wins.
	// +kubebuilder:validation:MaxItems=1024
	Deny []string `json:"deny,omitempty"`
}

// SlowLog keeps the slowest commands. Absent: 128 of those over 10ms.
type SlowLog struct {
	// Threshold of what is kept; default 10ms; 0: everything.
	Threshold *Duration `json:"threshold,omitempty"`
	// MaxLen entries are kept; default 128; 0: none.
	// +kubebuilder:validation:Maximum=65536
	MaxLen *uint32 `json:"maxLen,omitempty"`
}

// HotKeys finds the keys asked for most often since the proxy began. Absent: not
// looked for.
type HotKeys struct {
	// SampleRate: one key of so many is counted; default 100.
	// +kubebuilder:validation:Minimum=1
	SampleRate *uint32 `json:"sampleRate,omitempty"`
	// Top keys are reported; default 20.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Top *uint32 `json:"top,omitempty"`
}
