package translate

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	databasev1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/database/v1"
	mysqlv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/mysql/v1"
	postgresv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/postgres/v1"
	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

func (t *translator) databaseCluster(env *mesh.Environment, c *clusterv3.Cluster) {
	spec, _, _ := t.a.Spec.Database()
	c.ConnectTimeout = duration(spec.ConnectTimeout, defaultConnectTimeout)
	t.databaseHealth(env, c.GetName(), c)
	if !env.ByRole() {
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		t.alike(&env.Upstream, c)
		return
	}
	c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	t.byRole(env, c)
}

// databaseFilter makes our filter of the object's protocol.
func (t *translator) databaseFilter(env *mesh.Environment, common *databasev1.DatabaseProxy) *listenerv3.Filter {
	s := &t.a.Spec
	if s.Protocol == mesh.ProtocolMySQL {
		return filter("dragoman.filters.network.mysql", &mysqlv1.MysqlProxy{Proxy: common, AppDatabases: orEmpty(s.MySQL).AppDatabases})
	}
	p := &postgresv1.PostgresProxy{Proxy: common}
	switch orEmpty(orEmpty(s.Postgres).AppAuth).Method {
	case mesh.PostgresMD5:
		p.AppAuthMethod = postgresv1.PostgresProxy_MD5
	case mesh.PostgresPassword:
		p.AppAuthMethod = postgresv1.PostgresProxy_PASSWORD
	case mesh.PostgresSCRAM, "":
	}
	p.Pool = postgresPool(orEmpty(s.Postgres).Pool)
	p.RequireAuth = requireAuth(env.RequireAuth)
	return filter("dragoman.filters.network.postgres", p)
}

func requireAuth(list []mesh.PostgresLoginMethod) []postgresv1.AuthMethod {
	var out []postgresv1.AuthMethod
	for _, m := range list {
		switch m {
		case mesh.LoginNone:
			out = append(out, postgresv1.AuthMethod_NONE)
		case mesh.LoginPassword:
			out = append(out, postgresv1.AuthMethod_PASSWORD)
		case mesh.LoginMD5:
			out = append(out, postgresv1.AuthMethod_MD5)
		case mesh.LoginSCRAM:
			out = append(out, postgresv1.AuthMethod_SCRAM_SHA_256)
		}
	}
	return out
}

func postgresPool(s *mesh.PostgresPool) *postgresv1.Pool {
	if s == nil {
		return nil
	}
	p := &postgresv1.Pool{
		Size:          optional(s.Size),
		IdleTimeout:   lasting(s.IdleTimeout),
		MaxAge:        lasting(s.MaxAge),
		MaxStatements: optional(s.MaxStatements),
	}
	if s.Mode == mesh.PoolSession {
		p.Mode = postgresv1.Pool_SESSION
	}
	if s.ResetQuery != nil {
		p.ResetQuery = wrapperspb.String(*s.ResetQuery)
	}
	return p
}

// databaseProxy is the configuration of the filter of spec.listen, made once: its
// secrets are there once.
func (t *translator) databaseProxy(env *mesh.Environment, main string) *databasev1.DatabaseProxy {
	if t.proxy != nil {
		return t.proxy
	}
	spec, auth, _ := t.a.Spec.Database()
	l := orEmpty(t.a.Spec.Limits)
	p := &databasev1.DatabaseProxy{
		StatPrefix: t.statPrefix(),
		Cluster:    main,
		Login:      t.databaseLogin(env, main),
		AppAuth:    t.appAuth(auth),
		ReadOnly:   env.Access == mesh.AccessReadOnly,
		Limits: &databasev1.Limits{
			MaxSessions:   optional(l.MaxConnections),
			MaxWait:       lasting(l.MaxWait),
			MaxWaiting:    optional(l.MaxWaiting),
			IdleTimeout:   lasting(l.IdleTimeout),
			MaxConnecting: optional(l.MaxConnecting),
		},
		StatementTimeout:   lasting(spec.StatementTimeout),
		SlowQueryThreshold: lasting(spec.SlowQuery),
		TlsOptional:        env.TLS != nil && env.TLS.Mode == mesh.TLSPrefer,
		TargetSessionAttrs: sessionTarget(env.Target()),
	}
	if spec.Tracing != nil {
		p.Tracing = &databasev1.Tracing{Sampling: uint32(value(spec.Tracing.Sampling, 0))}
	}
	t.proxy = p
	return p
}

func (t *translator) databaseLogin(env *mesh.Environment, main string) *databasev1.Login {
	p := &databasev1.Login{Database: string(value(env.Database, ""))}
	k := env.Credentials // there, as validation has seen
	if k.Secret != nil {
		p.Username, p.Password = t.credentialsSecret(k.Secret)
		if s := t.lookUpSecret(t.own(k.Secret.Name)); s != nil {
			t.required(s, usernameKey)
		}
		return p
	}
	t.genericSecret(main+"/username", source(k.Username, k.UsernameFile, k.UsernameEnv))
	p.Username = &secretsv1.SecretKey{Name: main + "/username"}
	if d := source("", k.PasswordFile, k.PasswordEnv); d != nil {
		t.genericSecret(main+"/password", d)
		p.Password = &secretsv1.SecretKey{Name: main + "/password"}
	}
	return p
}

func (t *translator) appAuth(a *mesh.AppAuth) *databasev1.AppAuth {
	if a == nil {
		return nil
	}
	p := &databasev1.AppAuth{Username: a.Username, PeerUids: a.PeerUIDs}
	switch d := source("", a.PasswordFile, a.PasswordEnv); {
	case a.PasswordSecret != nil:
		p.Password = t.keySecret(a.PasswordSecret)
	case d != nil:
		name := t.a.Key() + "/app-password"
		t.genericSecret(name, d)
		p.Password = &secretsv1.SecretKey{Name: name}
	}
	return p
}

// lasting gives nil for an absent value.
func lasting(d *mesh.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return duration(d, 0)
}
