package resource

import "time"

// RedisFilter makes one logical Redis of the clusters it routes to.
type RedisFilter struct {
	StatPrefix string
	// Routes are tried from the longest prefix to the shortest; the slice has
	// that order. CatchAll takes what matches none; nil refuses those keys.
	// At least one of the two is there.
	Routes          []RedisRoute
	CatchAll        *RedisRoute
	CaseInsensitive bool // prefixes match without regard to ASCII case

	ReadPolicy ReadPolicy
	HashTag    HashTag
	// OpTimeout bounds a command from its forwarding to its whole reply; 0
	// means no bound.
	OpTimeout time.Duration
	// Redirection follows MOVED and ASK of a Redis Cluster.
	Redirection bool
	// CommandStats keeps latency histograms per command.
	CommandStats bool
	// CustomCommands are forwarded by their first argument although the
	// command table does not know them; lower case, sorted.
	CustomCommands  []string
	UnknownCommands UnknownCommands

	// Users of the listener, sorted by name. Empty: no client has to log in.
	Users []User

	Limits  RedisLimits
	SlowLog SlowLog
	HotKeys HotKeys
	// Database is the one a client is told to be in before its first SELECT.
	// Until then its commands go to the Database of each cluster.
	Database uint32
}

// RedisRoute sends the keys with a prefix to a cluster.
type RedisRoute struct {
	Prefix       string // "" only in a catch-all
	RemovePrefix bool
	Cluster      string
	ReadCluster  string // takes the read-only commands; "": Cluster does
	Mirrors      []Mirror
}

// MirrorScale is the fraction that means every command.
const MirrorScale = 1_000_000

// Mirror copies commands to another cluster and drops its replies.
type Mirror struct {
	Cluster      string
	Fraction     uint32 // of MirrorScale
	ExcludeReads bool
}

// ReadPolicy says which role answers read-only commands.
type ReadPolicy uint8

// The read policies, in the order of Envoy's enumeration.
const (
	ReadPrimary                ReadPolicy = iota
	ReadPreferPrimary                     // a replica only while no primary is healthy
	ReadReplica                           // an error while no replica is healthy
	ReadPreferReplica                     // the primary while no replica is healthy
	ReadAny                               // primary and replicas alike
	ReadZoneAffinity                      // replicas of the proxy's zone, then other replicas, then the primary
	ReadZoneAffinityAndPrimary            // replicas of the zone, then the primary if in the zone, then the rest
)

// String gives the name used in documents.
func (p ReadPolicy) String() string {
	names := [...]string{
		"Primary", "PreferPrimary", "Replica", "PreferReplica", "Any",
		"ZoneAffinity", "ZoneAffinityAndPrimary",
	}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// HashTag is the pair of characters between which the hashed part of a key
// lies. The zero value means that the whole key is hashed.
type HashTag struct {
	Open, Close byte
}

// Set reports whether tags are looked for.
func (t HashTag) Set() bool { return t != HashTag{} }

// UnknownCommands says what happens to a command the table does not know.
type UnknownCommands uint8

// What may happen to an unknown command.
const (
	UnknownRefuse        UnknownCommands = iota // -ERR unknown command, the connection lives on
	UnknownFirstArgument                        // routed by its first argument; without one, to any endpoint
)

// String gives the name used in documents.
func (u UnknownCommands) String() string {
	if u == UnknownFirstArgument {
		return "FirstArgument"
	}
	return "Refuse"
}

// User may log in with one of the passwords.
type User struct {
	Name string // "default" is the user of AUTH with a password alone
	// Passwords name generic secrets, any of which is right. Empty: the user
	// needs no password (nopass).
	Passwords []SecretKey
	ReadOnly  bool // write commands are refused
	// Allow and Deny hold rules "@category", "command" and "command|subcommand",
	// lower case, sorted. An empty Allow allows everything; Deny wins.
	Allow []string
	Deny  []string
}

// RedisLimits bound what one client may cost. 0 means no bound unless said
// otherwise.
type RedisLimits struct {
	MaxRequestBytes uint64 // a whole command; never 0
	MaxPipeline     uint32 // commands of one client in flight; reading pauses there; never 0
	// IdleTimeout closes a client that neither sends nor waits for anything.
	IdleTimeout time.Duration
	// SlowClientTimeout closes a client whose replies could not be written for
	// so long.
	SlowClientTimeout time.Duration
}

// SlowLog keeps the latest slow commands: name, client and duration, never a key
// or a value.
type SlowLog struct {
	Threshold time.Duration // 0: every command; negative: off
	MaxLen    uint32        // entries kept per listener
}

// Enabled reports whether anything is kept.
func (s SlowLog) Enabled() bool { return s.Threshold >= 0 && s.MaxLen > 0 }

// HotKeys finds the keys asked for most often by sampling.
type HotKeys struct {
	SampleRate uint32 // one key of so many is counted; 0: off
	Top        uint32 // keys reported
}

// Enabled reports whether keys are sampled.
func (h HotKeys) Enabled() bool { return h.SampleRate > 0 && h.Top > 0 }

// ClusterNames implements FilterConfig.
func (f *RedisFilter) ClusterNames() []string {
	var names []string
	add := func(r *RedisRoute) {
		names = append(names, r.Cluster, r.ReadCluster)
		for _, m := range r.Mirrors {
			names = append(names, m.Cluster)
		}
	}
	for i := range f.Routes {
		add(&f.Routes[i])
	}
	if f.CatchAll != nil {
		add(f.CatchAll)
	}
	return sortedNames(names)
}

// SecretNames implements FilterConfig.
func (f *RedisFilter) SecretNames() []string {
	var names []string
	for _, u := range f.Users {
		for _, p := range u.Passwords {
			names = append(names, p.Name)
		}
	}
	return sortedNames(names)
}
