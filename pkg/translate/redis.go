package translate

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	redisv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/redis/v1"
	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Defaults that the documents promise.
const (
	defaultOpTimeout     = 5 * time.Second
	defaultSlowThreshold = 10 * time.Millisecond
	defaultSlowLen       = 128
	defaultSampleRate    = 100
	defaultTop           = 20
)

// redisProxy makes Envoy's filter. The keys that no prefix route takes go to
// the cluster main, the pools are clusters below it.
func redisProxy(s *mesh.AmbassadorSpec, env *mesh.Environment, main, statPrefix string) *redisv3.RedisProxy {
	r := orEmpty(s.Redis)
	routes := &redisv3.RedisProxy_PrefixRoutes{
		CaseInsensitive: r.CaseInsensitivePrefixes,
		CatchAllRoute: &redisv3.RedisProxy_PrefixRoutes_Route{
			Cluster:             main,
			RequestMirrorPolicy: mirrors(r.Mirrors, main),
		},
	}
	for i := range r.PrefixRoutes {
		route := &r.PrefixRoutes[i]
		p := &redisv3.RedisProxy_PrefixRoutes_Route{
			Prefix:              route.Prefix,
			RemovePrefix:        route.RemovePrefix,
			Cluster:             poolCluster(main, route.Pool),
			RequestMirrorPolicy: mirrors(route.Mirrors, main),
		}
		if route.ReadPool != "" {
			p.ReadCommandPolicy = &redisv3.RedisProxy_PrefixRoutes_Route_ReadCommandPolicy{
				Cluster: poolCluster(main, route.ReadPool),
			}
		}
		routes.Routes = append(routes.Routes, p)
	}
	return &redisv3.RedisProxy{
		StatPrefix: statPrefix,
		Settings: &redisv3.RedisProxy_ConnPoolSettings{
			OpTimeout:          duration(r.OpTimeout, defaultOpTimeout),
			EnableHashtagging:  r.HashTag == "{}",
			EnableRedirection:  redirects(env),
			EnableCommandStats: value(r.CommandStats, true),
			ReadPolicy:         readPolicy(r.ReadPolicy),
		},
		PrefixRoutes:   routes,
		CustomCommands: r.CustomCommands,
	}
}

func poolCluster(main, pool string) string {
	if pool == "" {
		return main
	}
	return main + "/" + pool
}

// redirects reports whether any cluster of the environment is a Redis Cluster.
func redirects(env *mesh.Environment) bool {
	for _, pool := range env.Pools {
		if pool.Cluster != nil {
			return true
		}
	}
	return env.Cluster != nil
}

func mirrors(ms []mesh.Mirror, main string) []*redisv3.RedisProxy_PrefixRoutes_Route_RequestMirrorPolicy {
	var out []*redisv3.RedisProxy_PrefixRoutes_Route_RequestMirrorPolicy
	for i := range ms {
		p := &redisv3.RedisProxy_PrefixRoutes_Route_RequestMirrorPolicy{
			Cluster:             poolCluster(main, ms[i].Pool),
			ExcludeReadCommands: ms[i].ExcludeReads,
		}
		if share := ms[i].Percentage; share != nil {
			p.RuntimeFraction = &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
				Numerator:   uint32(*share),
				Denominator: typev3.FractionalPercent_MILLION,
			}}
		}
		out = append(out, p)
	}
	return out
}

func readPolicy(p mesh.ReadPolicy) redisv3.RedisProxy_ConnPoolSettings_ReadPolicy {
	switch p {
	case mesh.ReadPreferPrimary:
		return redisv3.RedisProxy_ConnPoolSettings_PREFER_MASTER
	case mesh.ReadReplica:
		return redisv3.RedisProxy_ConnPoolSettings_REPLICA
	case mesh.ReadPreferReplica:
		return redisv3.RedisProxy_ConnPoolSettings_PREFER_REPLICA
	case mesh.ReadAny:
		return redisv3.RedisProxy_ConnPoolSettings_ANY
	case mesh.ReadZoneAffinity:
		return redisv3.RedisProxy_ConnPoolSettings_LOCAL_ZONE_AFFINITY
	case mesh.ReadZoneAffinityAndPrimary:
		return redisv3.RedisProxy_ConnPoolSettings_LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY
	case mesh.ReadPrimary, "":
	}
	return redisv3.RedisProxy_ConnPoolSettings_MASTER
}

// redisOptions makes what Envoy's filter has no field for.
func (t *translator) redisOptions(env *mesh.Environment) *optionsv1.RedisOptions {
	r, l := orEmpty(t.a.Spec.Redis), orEmpty(t.a.Spec.Limits)
	o := &optionsv1.RedisOptions{
		Limits: &optionsv1.RedisLimits{MaxPipeline: optional(l.MaxPipeline)},
		SlowLog: &optionsv1.SlowLog{
			Threshold: duration(orEmpty(r.SlowLog).Threshold, defaultSlowThreshold),
			MaxLen:    number(orEmpty(r.SlowLog).MaxLen, defaultSlowLen),
		},
		Database: database(&t.a.Spec, &env.Upstream),
	}
	if l.MaxRequestBytes != nil {
		o.Limits.MaxRequestBytes = wrapperspb.UInt64(uint64(*l.MaxRequestBytes))
	}
	if l.IdleTimeout != nil {
		o.Limits.IdleTimeout = duration(l.IdleTimeout, 0)
	}
	if l.SlowClientTimeout != nil {
		o.Limits.SlowClientTimeout = duration(l.SlowClientTimeout, 0)
	}
	if r.HashTag != "{}" {
		o.HashTag = r.HashTag
	}
	if r.UnknownCommands == mesh.UnknownFirstArgument {
		o.UnknownCommands = optionsv1.RedisOptions_FIRST_ARGUMENT
	}
	if h := r.HotKeys; h != nil {
		o.HotKeys = &optionsv1.HotKeys{SampleRate: value(h.SampleRate, defaultSampleRate), Top: value(h.Top, defaultTop)}
	}
	for i := range r.Users {
		o.Users = append(o.Users, t.user(&r.Users[i]))
	}
	return o
}

func database(s *mesh.AmbassadorSpec, u *mesh.Upstream) uint32 {
	if u.Database != nil {
		n, _ := u.Database.Number() // validation has seen that it is one
		return n
	}
	return value(orEmpty(s.Redis).Database, 0)
}

func (t *translator) user(u *mesh.User) *optionsv1.User {
	rules := orEmpty(u.Commands)
	p := &optionsv1.User{Name: u.Name, ReadOnly: u.ReadOnly, Allow: rules.Allow, Deny: rules.Deny}
	switch {
	case u.PasswordSecret != nil:
		p.Passwords = []*secretsv1.SecretKey{t.keySecret(u.PasswordSecret)}
	case !u.NoPassword:
		name := t.a.Key() + "/users/" + u.Name
		t.genericSecret(name, source("", u.PasswordFile, u.PasswordEnv))
		p.Passwords = []*secretsv1.SecretKey{{Name: name}}
	}
	return p
}
