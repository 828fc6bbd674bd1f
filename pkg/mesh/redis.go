package mesh

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
	HashTag string `json:"hashTag,omitempty"`
	// RingSize is for ring_hash, TableSize for maglev.
	RingSize  *RingSize `json:"ringSize,omitempty"`
	TableSize *uint64   `json:"tableSize,omitempty"` // a prime; default 65537

	// ReadPolicy says which role answers read-only commands; default Primary.
	ReadPolicy ReadPolicy `json:"readPolicy,omitempty"`
	// OpTimeout bounds a command, blocking ones excepted; default 5s; 0: no bound.
	OpTimeout *Duration `json:"opTimeout,omitempty"`
	// ConnectTimeout bounds the making of a connection; default 3s.
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`
	// ConnectionsPerEndpoint are shared by all clients; default 1.
	ConnectionsPerEndpoint *uint32 `json:"connectionsPerEndpoint,omitempty"`
	// PreConnect opens them before the first command; default false.
	PreConnect bool `json:"preConnect,omitempty"`
	// Database of a client before its first SELECT; default 0. An environment
	// may say otherwise.
	Database *uint32 `json:"database,omitempty"`

	// AutoEject takes a failing shard out of the distribution, for ketama,
	// modula and random; default: its keys get errors.
	AutoEject        *AutoEject        `json:"autoEject,omitempty"`
	HealthCheck      *HealthCheck      `json:"healthCheck,omitempty"`
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
	RequestLimit     *RequestLimit     `json:"requestLimit,omitempty"`

	// PrefixRoutes send the keys with a prefix to a pool of the environment;
	// the longest prefix wins. All other keys go to the environment's own servers.
	PrefixRoutes []PrefixRoute `json:"prefixRoutes,omitempty"`
	// CaseInsensitivePrefixes compares prefixes without regard to ASCII case.
	CaseInsensitivePrefixes bool `json:"caseInsensitivePrefixes,omitempty"`
	// Mirrors copy the commands that no prefix route takes.
	Mirrors []Mirror `json:"mirrors,omitempty"`

	// Users of the listener; absent: no client has to log in.
	Users []User `json:"users,omitempty"`
	// UnknownCommands default: Refuse.
	UnknownCommands UnknownCommands `json:"unknownCommands,omitempty"`
	// CustomCommands are commands of server modules, which have one key: their
	// first argument.
	CustomCommands []string `json:"customCommands,omitempty"`
	// CommandStats keeps a latency histogram per command; default true.
	CommandStats *bool    `json:"commandStats,omitempty"`
	SlowLog      *SlowLog `json:"slowLog,omitempty"`
	HotKeys      *HotKeys `json:"hotKeys,omitempty"`
}

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
	Min *uint64 `json:"min,omitempty"` // default 1024
	Max *uint64 `json:"max,omitempty"` // default 8388608, which is also the most
}

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
	Failures *uint32 `json:"failures,omitempty"`
	// RetryAfter is when the shard is taken in again; default 30s.
	RetryAfter *Duration `json:"retryAfter,omitempty"`
}

// HealthCheck asks every endpoint periodically. Absent: no checks.
type HealthCheck struct {
	Interval           *Duration `json:"interval,omitempty"`           // default 5s
	Timeout            *Duration `json:"timeout,omitempty"`            // default 1s
	UnhealthyThreshold *uint32   `json:"unhealthyThreshold,omitempty"` // default 3
	HealthyThreshold   *uint32   `json:"healthyThreshold,omitempty"`   // default 1
	// ProbeRole asks Redis servers for their ROLE as well, and believes the
	// answer rather than the document; default false.
	ProbeRole bool `json:"probeRole,omitempty"`
}

// OutlierDetection ejects endpoints whose real requests fail. Absent: none is.
type OutlierDetection struct {
	ConsecutiveFailures *uint32   `json:"consecutiveFailures,omitempty"` // default 5
	Interval            *Duration `json:"interval,omitempty"`            // of looking; default 10s
	BaseEjection        *Duration `json:"baseEjection,omitempty"`        // times the ejections so far; default 30s
	MaxEjection         *Duration `json:"maxEjection,omitempty"`         // default 5m
	// MaxEjectionPercent of the endpoints may be out; default 10, but one always may.
	MaxEjectionPercent *uint32 `json:"maxEjectionPercent,omitempty"`
}

// RequestLimit bounds what an upstream is asked for at once. Default: no bound.
type RequestLimit struct {
	MaxConnections *uint32 `json:"maxConnections,omitempty"`
	MaxPending     *uint32 `json:"maxPending,omitempty"`  // that wait for a connection
	MaxRequests    *uint32 `json:"maxRequests,omitempty"` // that wait for a reply
}

// PrefixRoute sends the keys with a prefix to a pool.
type PrefixRoute struct {
	Prefix string `json:"prefix"`
	// RemovePrefix takes it off before the servers see the key; default false.
	RemovePrefix bool `json:"removePrefix,omitempty"`
	// Pool of the environment; absent: the environment's own servers.
	Pool string `json:"pool,omitempty"`
	// ReadPool takes the read-only commands; absent: Pool does.
	ReadPool string   `json:"readPool,omitempty"`
	Mirrors  []Mirror `json:"mirrors,omitempty"`
}

// Mirror copies commands to a pool, whose replies are dropped.
type Mirror struct {
	Pool string `json:"pool"`
	// Percentage of the commands; default 100.
	Percentage *Percent `json:"percentage,omitempty"`
	// ExcludeReads copies only writes; default false.
	ExcludeReads bool `json:"excludeReads,omitempty"`
}

// User is an account of the listener, not of the Redis servers.
type User struct {
	// Name; "default" is who logs in with a password alone.
	Name string `json:"name"`
	// One of the next four. The files and variables hold the password and
	// nothing else; an ending line break does not count.
	PasswordFile   string        `json:"passwordFile,omitempty"`
	PasswordEnv    string        `json:"passwordEnv,omitempty"`
	PasswordSecret *SecretKeyRef `json:"passwordSecret,omitempty"`
	NoPassword     bool          `json:"noPassword,omitempty"`
	// ReadOnly refuses commands that write; default false.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Commands the user may give; default: all.
	Commands *CommandRules `json:"commands,omitempty"`
}

// CommandRules hold "@category", "command" and "command|subcommand".
type CommandRules struct {
	Allow []string `json:"allow,omitempty"` // empty: all
	Deny  []string `json:"deny,omitempty"`  // wins
}

// SlowLog keeps the slowest commands. Absent: 128 of those over 10ms.
type SlowLog struct {
	// Threshold of what is kept; default 10ms; 0: everything.
	Threshold *Duration `json:"threshold,omitempty"`
	// MaxLen entries are kept; default 128; 0: none.
	MaxLen *uint32 `json:"maxLen,omitempty"`
}

// HotKeys finds the keys asked for most often. Absent: not looked for.
type HotKeys struct {
	SampleRate *uint32 `json:"sampleRate,omitempty"` // one key of so many is counted; default 100
	Top        *uint32 `json:"top,omitempty"`        // keys reported; default 20
}
