package resource

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// DatabaseFilter is what the filters of databases have in common: a session of
// an app becomes one at an endpoint of the cluster, with another login.
type DatabaseFilter struct {
	StatPrefix string
	Cluster    string
	Login      DatabaseLogin
	AppAuth    *AppAuth // nil: whoever can connect may use the login
	// ReadOnly asks the server for read-only transactions. An app can ask for
	// others.
	ReadOnly bool
	Limits   DatabaseLimits
	// StatementTimeout is asked of the server: nil for what the server says, 0 for
	// no bound.
	StatementTimeout *time.Duration
	SlowQuery        time.Duration // queries that take at least so long are logged; negative: none
	// TLSOptional goes on in plain text with a server that does not offer TLS, or lets
	// nobody in over it.
	TLSOptional bool
	Target      TargetSession
	Tracing     *DatabaseTracing // nil: no spans
	// AppDatabases are names by which apps select Login.Database in a session, which
	// only MySQL knows; never "".
	AppDatabases []string
}

// TargetSession says which endpoints a session may go to, in the words of
// libpq's target_session_attrs.
type TargetSession uint8

// The targets, in the order of the enumeration in api/.
const (
	TargetAny           TargetSession = iota
	TargetReadWrite                   // a primary whose transactions may write
	TargetReadOnly                    // a standby, or a primary that is read only
	TargetPrimary                     // whether or not it may write
	TargetStandby                     // never the primary
	TargetPreferStandby               // the primary only while no standby is healthy
)

// String gives libpq's word.
func (t TargetSession) String() string {
	names := [...]string{"any", "read-write", "read-only", "primary", "standby", "prefer-standby"}
	if int(t) < len(names) {
		return names[t]
	}
	return "unknown"
}

// DatabaseLogin is who the proxy is at the server.
type DatabaseLogin struct {
	Username SecretKey
	Password SecretKey // unset: the server must not ask for one
	Database string    // "": the one that the app asks for
}

// AppAuth is what an app has to show.
type AppAuth struct {
	Username string    // "": any
	Password SecretKey // unset: none is asked for
	PeerUIDs []uint32  // of processes that may connect over a unix socket; empty: all may
}

// DatabaseLimits bound what the apps of a listener cost.
type DatabaseLimits struct {
	MaxSessions uint32        // at once; 0: no bound
	MaxWait     time.Duration // for a turn, for an endpoint and for credentials
	MaxWaiting  uint32        // clients that wait for a turn; never 0
	IdleTimeout time.Duration // 0: never
	// MaxConnecting connects and logins are under way at once at one endpoint;
	// never 0.
	MaxConnecting uint32
}

// DatabaseTracing says of which queries spans are made.
type DatabaseTracing struct {
	Sampling float64 // share of the queries that name no parent, 0 to 1
}

// LoginMethods is a set of ways to log in at a server.
type LoginMethods uint8

// The ways to log in.
const (
	LoginNone LoginMethods = 1 << iota
	LoginPassword
	LoginMD5
	LoginSCRAM
)

// Methods are those of the protocol that a login may use; of the empty set, all.
func (m LoginMethods) Methods() pgproto.Methods {
	if m == 0 {
		return ^pgproto.Methods(0)
	}
	var allowed pgproto.Methods
	for way, is := range map[LoginMethods]pgproto.Methods{
		LoginNone: pgproto.MethodNone, LoginPassword: pgproto.MethodCleartext, LoginMD5: pgproto.MethodMD5,
		LoginSCRAM: pgproto.MethodSCRAM | pgproto.MethodSCRAMPlus,
	} {
		if m&way != 0 {
			allowed |= is
		}
	}
	return allowed
}

// PostgresAuth is how an app is asked for its password.
type PostgresAuth uint8

// The ways to ask, in the order of the enumeration in api/.
const (
	PostgresSCRAM PostgresAuth = iota
	PostgresMD5
	PostgresPassword
)

// PostgresFilter is the configuration of the filter for PostgreSQL.
type PostgresFilter struct {
	DatabaseFilter
	AppAuthMethod PostgresAuth
	Pool          *PostgresPool // nil: each session has a connection of its own
	RequireAuth   LoginMethods  // 0: any
}

// PostgresPool has sessions share connections to servers.
type PostgresPool struct {
	Session       bool          // a session keeps its connection to its end, not for a transaction only
	Size          uint32        // connections to the cluster's servers; never 0
	IdleTimeout   time.Duration // 0: never
	MaxAge        time.Duration // 0: never
	ResetQuery    string        // never empty
	MaxStatements uint32        // prepared statements kept at a connection; never 0
}

// MySQLFilter is the configuration of the filter for MySQL and MariaDB.
type MySQLFilter struct {
	DatabaseFilter
}

// ClusterNames implements FilterConfig.
func (f *DatabaseFilter) ClusterNames() []string { return []string{f.Cluster} }

// SecretNames implements FilterConfig.
func (f *DatabaseFilter) SecretNames() []string {
	var names []string
	for _, k := range f.SecretKeys() {
		names = append(names, k.Name)
	}
	return sortedNames(names)
}

// LateSecrets lists those of SecretNames that the filter can be without for a
// while: its clients are held until it can log in at the database.
func (f *DatabaseFilter) LateSecrets() []string {
	names := sortedNames([]string{f.Login.Username.Name, f.Login.Password.Name})
	if f.AppAuth == nil {
		return names
	}
	return lessNames(names, []string{f.AppAuth.Password.Name})
}

// SecretKeys lists the values of secrets that the filter needs.
func (f *DatabaseFilter) SecretKeys() []SecretKey {
	keys := []SecretKey{f.Login.Username}
	if f.Login.Password.Set() {
		keys = append(keys, f.Login.Password)
	}
	if a := f.AppAuth; a != nil && a.Password.Set() {
		keys = append(keys, a.Password)
	}
	return keys
}
