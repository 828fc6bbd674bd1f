package resource

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	databasev1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/database/v1"
	mysqlv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/mysql/v1"
	postgresv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/postgres/v1"
)

// Defaults of a database filter whose resource does not say.
const (
	DefaultMaxWait    = 10 * time.Second
	DefaultMaxWaiting = 1000
	// DefaultMaxConnecting is what a server with a few CPUs can begin at once.
	DefaultMaxConnecting = 16
)

// Defaults of a pool whose resource does not say.
const (
	DefaultPoolSize        = 10
	DefaultPoolIdleTimeout = 10 * time.Minute
	DefaultPoolMaxAge      = time.Hour
	DefaultResetQuery      = "DISCARD ALL"
	DefaultMaxStatements   = 200
)

func (r *reader) postgresProxy(packed *anypb.Any, path string) *PostgresFilter {
	var p postgresv1.PostgresProxy
	f := &PostgresFilter{}
	if !r.unpack(packed, &p, path) {
		return f
	}
	f.DatabaseFilter = r.databaseProxy(p.GetProxy(), join(path, "proxy"))
	f.AppAuthMethod = PostgresAuth(p.GetAppAuthMethod()) // the enumerations have the same order
	if _, known := postgresv1.PostgresProxy_AppAuthMethod_name[int32(p.GetAppAuthMethod())]; !known {
		r.fail(join(path, "app_auth_method"), "has the unknown value %d", p.GetAppAuthMethod())
	}
	f.Pool = r.postgresPool(p.GetPool(), join(path, "pool"))
	f.RequireAuth = r.loginMethods(p.GetRequireAuth(), join(path, "require_auth"))
	return f
}

func (r *reader) loginMethods(list []postgresv1.AuthMethod, path string) LoginMethods {
	var set LoginMethods
	for i, m := range list {
		switch m {
		case postgresv1.AuthMethod_NONE:
			set |= LoginNone
		case postgresv1.AuthMethod_PASSWORD:
			set |= LoginPassword
		case postgresv1.AuthMethod_MD5:
			set |= LoginMD5
		case postgresv1.AuthMethod_SCRAM_SHA_256:
			set |= LoginSCRAM
		case postgresv1.AuthMethod_AUTH_METHOD_UNSPECIFIED:
			r.fail(index(path, i), "is not set")
		default:
			r.fail(index(path, i), "has the unknown value %d", m)
		}
	}
	return set
}

func (r *reader) postgresPool(p *postgresv1.Pool, path string) *PostgresPool {
	if p == nil {
		return nil
	}
	f := &PostgresPool{
		Session:       p.GetMode() == postgresv1.Pool_SESSION,
		Size:          r.atLeast(p.GetSize(), join(path, "size"), DefaultPoolSize, 1),
		IdleTimeout:   r.duration(p.GetIdleTimeout(), join(path, "idle_timeout"), DefaultPoolIdleTimeout),
		MaxAge:        r.duration(p.GetMaxAge(), join(path, "max_age"), DefaultPoolMaxAge),
		ResetQuery:    DefaultResetQuery,
		MaxStatements: r.atLeast(p.GetMaxStatements(), join(path, "max_statements"), DefaultMaxStatements, 1),
	}
	if _, known := postgresv1.Pool_Mode_name[int32(p.GetMode())]; !known {
		r.fail(join(path, "mode"), "has the unknown value %d", p.GetMode())
	}
	if q := p.GetResetQuery(); q != nil {
		if f.ResetQuery = q.GetValue(); strings.TrimSpace(f.ResetQuery) == "" || strings.ContainsRune(f.ResetQuery, 0) {
			r.fail(join(path, "reset_query"), "must be a query")
		}
	}
	return f
}

func (r *reader) mysqlProxy(packed *anypb.Any, path string) *MySQLFilter {
	var p mysqlv1.MysqlProxy
	f := &MySQLFilter{}
	if r.unpack(packed, &p, path) {
		f.DatabaseFilter = r.databaseProxy(p.GetProxy(), join(path, "proxy"))
		f.AppDatabases = p.GetAppDatabases()
	}
	if i := slices.Index(f.AppDatabases, ""); i >= 0 {
		r.fail(index(join(path, "app_databases"), i), "is empty")
	}
	return f
}

func (r *reader) databaseProxy(p *databasev1.DatabaseProxy, path string) DatabaseFilter {
	f := DatabaseFilter{
		StatPrefix:  p.GetStatPrefix(),
		Cluster:     p.GetCluster(),
		Login:       r.databaseLogin(p.GetLogin(), join(path, "login")),
		AppAuth:     r.appAuth(p.GetAppAuth(), join(path, "app_auth")),
		ReadOnly:    p.GetReadOnly(),
		Limits:      r.databaseLimits(p.GetLimits(), join(path, "limits")),
		SlowQuery:   -1,
		TLSOptional: p.GetTlsOptional(),
		Target:      TargetSession(p.GetTargetSessionAttrs()), // the enumerations have the same order
	}
	if _, known := databasev1.TargetSessionAttrs_name[int32(p.GetTargetSessionAttrs())]; !known {
		r.fail(join(path, "target_session_attrs"), "has the unknown value %d", p.GetTargetSessionAttrs())
	}
	if f.Cluster == "" {
		r.fail(join(path, "cluster"), "is missing")
	}
	if d := p.GetStatementTimeout(); d != nil {
		v := r.duration(d, join(path, "statement_timeout"), 0)
		if v > 0 && v < time.Millisecond || v > 1<<31*time.Millisecond {
			r.fail(join(path, "statement_timeout"), "must be 0 or from 1ms to 2^31 ms")
		}
		f.StatementTimeout = &v
	}
	if d := p.GetSlowQueryThreshold(); d != nil {
		f.SlowQuery = r.duration(d, join(path, "slow_query_threshold"), -1)
	}
	if t := p.GetTracing(); t != nil {
		const whole = 1_000_000
		if t.GetSampling() > whole {
			r.fail(join(path, "tracing.sampling"), "must be at most %d", whole)
		}
		f.Tracing = &DatabaseTracing{Sampling: float64(t.GetSampling()) / whole}
	}
	return f
}

func (r *reader) databaseLogin(p *databasev1.Login, path string) DatabaseLogin {
	l := DatabaseLogin{Database: p.GetDatabase()}
	if p.GetUsername() == nil {
		r.fail(join(path, "username"), "is missing")
	} else {
		l.Username = r.secretKey(p.GetUsername(), join(path, "username"))
	}
	if k := p.GetPassword(); k != nil {
		l.Password = r.secretKey(k, join(path, "password"))
	}
	return l
}

func (r *reader) appAuth(p *databasev1.AppAuth, path string) *AppAuth {
	if p == nil {
		return nil
	}
	a := &AppAuth{Username: p.GetUsername(), PeerUIDs: p.GetPeerUids()}
	if k := p.GetPassword(); k != nil {
		a.Password = r.secretKey(k, join(path, "password"))
	}
	if !a.Password.Set() && len(a.PeerUIDs) == 0 {
		r.fail(path, "needs a password or peer_uids")
	}
	return a
}

func (r *reader) databaseLimits(p *databasev1.Limits, path string) DatabaseLimits {
	return DatabaseLimits{
		MaxSessions: r.atLeast(p.GetMaxSessions(), join(path, "max_sessions"), 0, 1),
		MaxWait:     r.duration(p.GetMaxWait(), join(path, "max_wait"), DefaultMaxWait),
		MaxWaiting:  r.atLeast(p.GetMaxWaiting(), join(path, "max_waiting"), DefaultMaxWaiting, 1),
		IdleTimeout: r.duration(p.GetIdleTimeout(), join(path, "idle_timeout"), 0),

		MaxConnecting: r.atLeast(p.GetMaxConnecting(), join(path, "max_connecting"), DefaultMaxConnecting, 1),
	}
}
