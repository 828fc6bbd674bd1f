package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// maxIdentifier is the longest name of a role or a database in bytes, of
// PostgreSQL (63) and MySQL (64, in characters).
const maxIdentifier = 256

// maxAppDatabases bounds the names that apps have for one database.
const maxAppDatabases = 64

// databases checks what belongs to the protocols of databases alone.
func (c *checker) databases(s *AmbassadorSpec) {
	if s.Protocol == "" {
		return
	}
	c.require(s.Postgres == nil || s.Protocol == ProtocolPostgres, "spec.postgres",
		fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it")
	c.require(s.MySQL == nil || s.Protocol == ProtocolMySQL, "spec.mysql",
		fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it")
	if !s.Protocol.IsDatabase() {
		return
	}
	c.require(s.Redis == nil, "spec.redis", fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it")
	c.require(s.TCP == nil, "spec.tcp", fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it")
	c.databaseLimits(s)
	spec, auth := s.database()
	if spec == nil {
		return
	}
	at := "spec." + string(s.Protocol)
	c.positive(spec.ConnectTimeout, at+".connectTimeout")
	const shortest = Duration(1e6)
	c.require(spec.StatementTimeout == nil || *spec.StatementTimeout == 0 || *spec.StatementTimeout >= shortest,
		at+".statementTimeout", "must be 0 or at least 1ms", "0 means no bound")
	c.appAuth(auth, &s.Listen, at+".appAuth")
	c.databaseHealth(spec.HealthCheck, at+".healthCheck")
	if s.MySQL != nil {
		c.appDatabases(s, at+".appDatabases")
	}
	if s.Postgres != nil {
		c.pool(s.Postgres.Pool, at+".pool")
	}
}

// appDatabases checks the names that apps have for the environment's database.
func (c *checker) appDatabases(s *AmbassadorSpec, at string) {
	list := s.MySQL.AppDatabases
	if list == nil {
		return
	}
	c.require(len(list) > 0, at, "must not be empty", "leave it out for apps that name their database when they log in")
	c.require(len(list) <= maxAppDatabases, at, fmt.Sprintf("has %d names", len(list)), fmt.Sprintf("at most %d", maxAppDatabases))
	for i, name := range list {
		here := fmt.Sprintf("%s[%d]", at, i)
		c.require(name != "", here, "must not be empty", "the name that the app has for its database")
		c.require(!slices.Contains(list[:i], name), here, fmt.Sprintf("%q is there twice", clip(name)), "remove one")
		c.identifier(name, here)
	}
	for _, env := range s.Environments {
		if env.Database != nil {
			return
		}
	}
	c.fail(at, "leads nowhere: no environment has a database", "set database in environments where it has another name")
}

func (c *checker) pool(p *PostgresPool, at string) {
	if p == nil {
		return
	}
	c.require(p.Mode != "", at+".mode", "is missing", oneOf(p.Mode.Values()))
	c.atLeastOne(p.Size, at+".size")
	c.atLeastOne(p.MaxStatements, at+".maxStatements")
	const shortest = Duration(1e9)
	c.require(p.IdleTimeout == nil || *p.IdleTimeout == 0 || *p.IdleTimeout >= shortest, at+".idleTimeout",
		"must be 0 or at least 1s", "0 means never")
	c.require(p.MaxAge == nil || *p.MaxAge == 0 || *p.MaxAge >= shortest, at+".maxAge", "must be 0 or at least 1s", "0 means never")
	const longest = 1024
	c.require(p.ResetQuery == nil || len(*p.ResetQuery) <= longest && !strings.ContainsRune(*p.ResetQuery, 0), at+".resetQuery",
		"is not a query", fmt.Sprintf("at most %d bytes", longest))
	c.require(p.ResetQuery == nil || strings.TrimSpace(*p.ResetQuery) != "", at+".resetQuery",
		"must not be empty: a session would find what the one before has left", "leave it out for DISCARD ALL")
}

func (c *checker) databaseLimits(s *AmbassadorSpec) {
	l := s.Limits
	if l == nil {
		return
	}
	why := fmt.Sprintf("does not go with protocol %s", s.Protocol)
	c.require(l.MaxRequestBytes == nil, "spec.limits.maxRequestBytes", why, "remove it")
	c.require(l.SlowClientTimeout == nil, "spec.limits.slowClientTimeout", why, "remove it")
	c.require(l.MaxPipeline == nil, "spec.limits.maxPipeline", why, "remove it")
	c.require(l.MaxConnecting == nil || *l.MaxConnecting > 0, "spec.limits.maxConnecting", "must be at least 1", "leave it out for the default")
}

// onlyDatabases refuses what other protocols than databases have no use for.
func (c *checker) onlyDatabases(l *Limits, p Protocol) {
	if l == nil || p == "" || p.IsDatabase() {
		return
	}
	why := fmt.Sprintf("does not go with protocol %s", p)
	c.require(l.MaxWait == nil, "spec.limits.maxWait", why, "remove it")
	c.require(l.MaxWaiting == nil, "spec.limits.maxWaiting", why, "remove it")
	c.require(l.MaxConnecting == nil, "spec.limits.maxConnecting", why, "remove it")
}

func (c *checker) appAuth(a *AppAuth, listen *Listen, at string) {
	if a == nil {
		return
	}
	passwords := count(a.PasswordFile != "", a.PasswordEnv != "", a.PasswordSecret != nil)
	c.require(passwords <= 1, at, "has several passwords", "keep one of passwordFile, passwordEnv, passwordSecret")
	c.require(passwords > 0 || len(a.PeerUIDs) > 0, at, "checks nothing", "set a password or peerUIDs")
	c.identifier(a.Username, at+".username")
	if k := a.PasswordSecret; k != nil {
		c.secret(k.Name, at+".passwordSecret", "use passwordFile or passwordEnv")
		c.dataKey(k.Key, at+".passwordSecret.key")
	}
	c.require(a.PeerUIDs == nil || len(a.PeerUIDs) > 0, at+".peerUIDs", "must not be empty", "")
	c.require(len(a.PeerUIDs) == 0 || listen.Path != "", at+".peerUIDs",
		"needs a unix socket, of which the kernel tells who connects", "set listen.path")
}

// databaseEnvironment checks one environment of a database.
func (c *checker) databaseEnvironment(env *Environment, s *AmbassadorSpec, at string) {
	if s.Protocol == "" {
		return
	}
	if !s.Protocol.IsDatabase() {
		why := fmt.Sprintf("does not go with protocol %s", s.Protocol)
		c.require(env.Access == "", at+".access", why, "remove it")
		c.require(env.Standbys == nil, at+".standbys", why, "remove it")
		c.require(env.TargetSessionAttrs == "", at+".targetSessionAttrs", why, "remove it")
		c.require(env.RoleLabel == "", at+".roleLabel", why, "remove it")
		c.require(env.RequireAuth == nil, at+".requireAuth", why, "remove it")
		return
	}
	c.requireAuth(env, s.Protocol, at)
	c.standbys(env, at)
	c.require(env.Credentials != nil, at+".credentials", "is missing: the proxy logs in with them",
		`as in credentials: {username: orders, passwordFile: /run/secrets/password}`)
	if k := env.Credentials; k != nil && k.Secret == nil {
		c.require(k.Username+k.UsernameFile+k.UsernameEnv != "", at+".credentials", "needs a user name",
			oneOf([]string{"username", "usernameFile", "usernameEnv"}))
		c.identifier(k.Username, at+".credentials.username")
	}
	if env.Database != nil {
		c.require(*env.Database != "", at+".database", "must not be empty", "leave it out to use the app's")
		c.identifier(string(*env.Database), at+".database")
	}
}

// requireAuth refuses what no login could keep.
func (c *checker) requireAuth(env *Environment, p Protocol, at string) {
	list := env.RequireAuth
	if list == nil {
		return
	}
	at += ".requireAuth"
	c.require(p == ProtocolPostgres, at, fmt.Sprintf("does not go with protocol %s", p), "remove it")
	c.require(len(list) > 0, at, "must not be empty", "leave it out to log in as the server asks for it")
	verified := env.TLS != nil && (env.TLS.Mode == TLSVerifyCA || env.TLS.Mode == TLSVerifyFull || env.TLS.Mode == "")
	onlyPassword := len(list) > 0 && !slices.ContainsFunc(list, func(m PostgresLoginMethod) bool { return m != LoginPassword })
	c.require(!onlyPassword || verified, at, "has password alone, which goes over verified TLS only", "set tls.mode to verify-full, or require scram-sha-256")
}

func (c *checker) identifier(name, at string) {
	c.require(len(name) <= maxIdentifier && !strings.ContainsRune(name, 0), at,
		fmt.Sprintf("%q is not a name", clip(name)), fmt.Sprintf("at most %d bytes", maxIdentifier))
}

// databaseTLS refuses what only one kind of protocol knows.
func (c *checker) databaseTLS(t *UpstreamTLS, p Protocol, at string) {
	if t == nil {
		return
	}
	c.require(t.Mode != TLSPrefer || p.IsDatabase(), at+".mode", fmt.Sprintf("prefer does not go with protocol %s", p),
		"say require or disable: servers of this protocol do not tell whether they speak TLS")
	c.require(!t.Direct || p == ProtocolPostgres, at+".direct", "goes with protocol postgres only", "remove it")
	c.require(!t.Direct || t.Mode != TLSPrefer, at+".direct", "does not go with mode prefer",
		"direct TLS leaves no way to go on in plain text")
}
