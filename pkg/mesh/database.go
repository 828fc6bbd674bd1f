package mesh

import (
	"encoding/json"
	"strconv"
)

// DatabaseSpec is what the protocols postgres and mysql have in common.
type DatabaseSpec struct {
	// ConnectTimeout bounds the making of a connection, TLS included; default 3s.
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`
	// StatementTimeout is asked of the server for each session; default: what the
	// server says. An app may set another one in its session.
	StatementTimeout *Duration `json:"statementTimeout,omitempty"`
	// SlowQuery logs queries that take at least so long, their literals and
	// parameters left out; default: none is logged.
	SlowQuery *Duration `json:"slowQuery,omitempty"`
	// Tracing makes OpenTelemetry spans of queries, if the proxy knows a collector;
	// absent: none.
	Tracing *DatabaseTracing `json:"tracing,omitempty"`
	// HealthCheck of the servers; default: where their roles are to be known.
	HealthCheck *DatabaseHealthCheck `json:"healthCheck,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="!has(self.sampling) || type(self.sampling) == string || self.sampling >= 0 && self.sampling <= 100",message="sampling is a percentage from 0 to 100"

// DatabaseTracing says of which queries spans are made. One that ends or begins
// with a comment that names a parent, as sqlcommenter writes it
// (traceparent='00-...'), gets a span if its parent is sampled.
type DatabaseTracing struct {
	// Sampling is the share of the other queries, as in 1 or "0.1%"; default 0.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^(100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?|\.[0-9]+)%?$`
	Sampling *Percent `json:"sampling,omitempty"`
}

// PostgresSpec is how sessions of PostgreSQL are begun.
type PostgresSpec struct {
	DatabaseSpec `json:",inline"`
	// AppAuth checks the app before it may use the credentials of an environment;
	// absent: whoever can connect may.
	AppAuth *PostgresAppAuth `json:"appAuth,omitempty"`
	// Pool has sessions share connections to servers; absent: each session has one
	// of its own.
	Pool *PostgresPool `json:"pool,omitempty"`
}

// PostgresPool is how sessions share connections to servers.
type PostgresPool struct {
	// Mode says for how long a session has a server's connection to itself.
	Mode PoolMode `json:"mode"`
	// Size is how many connections one proxy has to an environment at most;
	// default 10. A session that needs one waits for limits.maxWait at most.
	// +kubebuilder:validation:Minimum=1
	Size *uint32 `json:"size,omitempty"`
	// IdleTimeout closes a connection that no session has used for so long;
	// default 10m, 0 never.
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`
	// MaxAge closes a connection that has become so old when no session has it, up
	// to a tenth earlier, so that not all go at once; default 1h, 0 never.
	MaxAge *Duration `json:"maxAge,omitempty"`
	// ResetQuery makes a connection as new after a session; default DISCARD ALL.
	// +kubebuilder:validation:MaxLength=1024
	ResetQuery *string `json:"resetQuery,omitempty"`
	// MaxStatements are prepared statements that a connection keeps in mode
	// Transaction; default 200.
	// +kubebuilder:validation:Minimum=1
	MaxStatements *uint32 `json:"maxStatements,omitempty"`
}

// +kubebuilder:validation:Enum=Session;Transaction

// PoolMode says for how long a session has a server's connection to itself.
type PoolMode string

// The modes.
const (
	PoolSession     PoolMode = "Session"     // from its first query to its end
	PoolTransaction PoolMode = "Transaction" // for each transaction anew
)

// Values lists the modes.
func (PoolMode) Values() []string { return []string{"Session", "Transaction"} }

// MySQLSpec is how sessions of MySQL and MariaDB are begun.
type MySQLSpec struct {
	DatabaseSpec `json:",inline"`
	// AppAuth checks the app before it may use the credentials of an environment;
	// absent: whoever can connect may.
	AppAuth *AppAuth `json:"appAuth,omitempty"`
	// AppDatabases are names by which apps select the environment's database once
	// they have logged in, as with USE; that of a login need not be here.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	AppDatabases []string `json:"appDatabases,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.passwordFile), has(self.passwordEnv), has(self.passwordSecret)].filter(x, x).size() <= 1",message="at most one of passwordFile, passwordEnv and passwordSecret may be there"
// +kubebuilder:validation:XValidation:rule="has(self.passwordFile) || has(self.passwordEnv) || has(self.passwordSecret) || has(self.peerUIDs)",message="a password or peerUIDs is needed"

// AppAuth is what an app has to show, in all environments alike. The files and
// variables hold the password and nothing else; an ending line break does not
// count.
type AppAuth struct {
	// Username that the app must give; default: any.
	// +kubebuilder:validation:MaxLength=63
	Username string `json:"username,omitempty"`
	// PasswordFile holds the password. There is at most one of it and the next two;
	// none: no password is asked for.
	PasswordFile string `json:"passwordFile,omitempty"`
	// PasswordEnv is the variable that holds the password.
	PasswordEnv string `json:"passwordEnv,omitempty"`
	// PasswordSecret holds the password; needs a control plane.
	PasswordSecret *SecretKeyRef `json:"passwordSecret,omitempty"`
	// PeerUIDs are the users of the system whose processes may connect, which the
	// kernel tells of unix sockets: needs listen.path.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	PeerUIDs []uint32 `json:"peerUIDs,omitempty"`
}

// PostgresAppAuth is AppAuth with PostgreSQL's ways to ask for a password.
type PostgresAppAuth struct {
	AppAuth `json:",inline"`
	// Method by which the password is asked for; default scram-sha-256.
	Method PostgresAuthMethod `json:"method,omitempty"`
}

// +kubebuilder:validation:Enum=scram-sha-256;md5;password

// PostgresAuthMethod is a way to ask for a password, in the words of pg_hba.conf.
type PostgresAuthMethod string

// The methods.
const (
	PostgresSCRAM    PostgresAuthMethod = "scram-sha-256"
	PostgresMD5      PostgresAuthMethod = "md5"      // for drivers that know no SCRAM
	PostgresPassword PostgresAuthMethod = "password" // the app sends the password itself
)

// Values lists the methods.
func (PostgresAuthMethod) Values() []string { return []string{"scram-sha-256", "md5", "password"} }

// +kubebuilder:validation:Enum=scram-sha-256;md5;password;none

// PostgresLoginMethod is a way to log in at a server, in the words of libpq's
// require_auth.
type PostgresLoginMethod string

// The ways to log in.
const (
	LoginSCRAM    PostgresLoginMethod = "scram-sha-256" // with channel binding or without
	LoginMD5      PostgresLoginMethod = "md5"
	LoginPassword PostgresLoginMethod = "password" // goes over verified TLS only, in any case
	LoginNone     PostgresLoginMethod = "none"     // the server asks for nothing: trust, or a certificate
)

// Values lists the ways to log in.
func (PostgresLoginMethod) Values() []string {
	return []string{"scram-sha-256", "md5", "password", "none"}
}

// +kubebuilder:validation:Enum=ReadWrite;ReadOnly

// Access is what an app may do in an environment.
type Access string

// The kinds of access.
const (
	AccessReadWrite Access = "ReadWrite"
	// AccessReadOnly makes transactions read only unless the app says otherwise.
	// That keeps from mistakes; what must not happen is for the rights of the
	// user to prevent, whose credentials are those of the environment.
	AccessReadOnly Access = "ReadOnly"
)

// Values lists the kinds of access.
func (Access) Values() []string { return []string{"ReadWrite", "ReadOnly"} }

// Database is a number for redis, and a name for postgres and mysql.
type Database string

func (d *Database) parse(text string) error {
	*d = Database(text)
	return nil
}

// Number is the database's number; false if it has none.
func (d Database) Number() (uint32, bool) {
	n, err := strconv.ParseUint(string(d), 0, 31) // in the forms that YAML has for numbers
	return uint32(n), err == nil
}

// MarshalJSON gives the form that decoding takes: a number where it is one.
func (d Database) MarshalJSON() ([]byte, error) {
	if n, ok := d.Number(); ok && strconv.FormatUint(uint64(n), 10) == string(d) {
		return []byte(d), nil
	}
	return json.Marshal(string(d))
}

// database gives what the two protocols of databases have in common, and the
// check of the app; nil, nil for other protocols.
func (s *AmbassadorSpec) database() (*DatabaseSpec, *AppAuth) {
	switch {
	case s.Protocol == ProtocolPostgres && s.Postgres != nil:
		if s.Postgres.AppAuth == nil {
			return &s.Postgres.DatabaseSpec, nil
		}
		return &s.Postgres.DatabaseSpec, &s.Postgres.AppAuth.AppAuth
	case s.Protocol == ProtocolMySQL && s.MySQL != nil:
		return &s.MySQL.DatabaseSpec, s.MySQL.AppAuth
	}
	return nil, nil
}

// Database gives what the protocols of databases have in common, with the
// fields that are absent absent; false for other protocols.
func (s *AmbassadorSpec) Database() (DatabaseSpec, *AppAuth, bool) {
	if !s.Protocol.IsDatabase() {
		return DatabaseSpec{}, nil, false
	}
	spec, auth := s.database()
	if spec == nil {
		spec = &DatabaseSpec{}
	}
	return *spec, auth, true
}

// IsDatabase reports whether sessions belong to one client and one server each.
func (p Protocol) IsDatabase() bool { return p == ProtocolPostgres || p == ProtocolMySQL }
