package resource

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	redisv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/redis/v1"
	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
)

// Defaults of a Redis filter whose resource does not say.
const (
	// DefaultMaxRequestBytes is the longest bulk that Redis takes, and a little.
	DefaultMaxRequestBytes   = 512<<20 + 64<<10
	DefaultMaxPipeline       = 1024
	DefaultSlowClientTimeout = time.Minute
	DefaultSlowLogLen        = 128
	DefaultHotKeysTop        = 20
	MaxHotKeysTop            = 1000 // a sampled key looks at some counters for each
)

// maxDatabase is the most that Redis can be configured for.
const maxDatabase = 1<<31 - 1

func (r *reader) redisProxy(packed *anypb.Any, path string) *RedisFilter {
	f := &RedisFilter{
		Limits: RedisLimits{
			MaxRequestBytes:   DefaultMaxRequestBytes,
			MaxPipeline:       DefaultMaxPipeline,
			SlowClientTimeout: DefaultSlowClientTimeout,
		},
		SlowLog: SlowLog{Threshold: -1},
	}
	var p redisv3.RedisProxy
	if !r.unpack(packed, &p, path) {
		return f
	}
	r.only(&p, path, "stat_prefix", "settings", "latency_in_micros", "prefix_routes",
		"downstream_auth_password", "downstream_auth_passwords", "downstream_auth_username", "custom_commands")
	f.StatPrefix = p.GetStatPrefix()
	r.redisSettings(p.GetSettings(), join(path, "settings"), f)
	r.redisRoutes(p.GetPrefixRoutes(), join(path, "prefix_routes"), f)
	r.redisAuth(&p, path, f)
	for _, name := range p.GetCustomCommands() {
		f.CustomCommands = append(f.CustomCommands, strings.ToLower(name))
	}
	slices.Sort(f.CustomCommands)
	f.CustomCommands = slices.Compact(f.CustomCommands)
	return f
}

func (r *reader) redisSettings(s *redisv3.RedisProxy_ConnPoolSettings, path string, f *RedisFilter) {
	if s == nil {
		r.fail(path, "is missing")
		return
	}
	// The two buffer fields tell Envoy when to flush, which happens here once
	// per turn of the loop; max_upstream_unknown_connections bounds what follows
	// redirections, which happens here only to nodes of the topology.
	r.only(s, path, "op_timeout", "enable_hashtagging", "enable_redirection", "enable_command_stats", "read_policy",
		"max_buffer_size_before_flush", "buffer_flush_timeout", "max_upstream_unknown_connections")
	f.OpTimeout = r.duration(s.GetOpTimeout(), join(path, "op_timeout"), 0)
	f.Redirection = s.GetEnableRedirection()
	f.CommandStats = s.GetEnableCommandStats()
	if s.GetEnableHashtagging() {
		f.HashTag = HashTag{'{', '}'}
	}
	f.ReadPolicy = ReadPolicy(s.GetReadPolicy()) // the enumerations have the same order
	if s.GetReadPolicy() < 0 || s.GetReadPolicy() > redisv3.RedisProxy_ConnPoolSettings_LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY {
		r.fail(join(path, "read_policy"), "has the unknown value %d", s.GetReadPolicy())
		f.ReadPolicy = ReadPrimary
	}
}

func (r *reader) redisRoutes(p *redisv3.RedisProxy_PrefixRoutes, path string, f *RedisFilter) {
	if p.GetCatchAllRoute() == nil && len(p.GetRoutes()) == 0 {
		r.fail(path, "has neither routes nor a catch_all_route")
		return
	}
	f.CaseInsensitive = p.GetCaseInsensitive()
	seen := make(map[string]bool, len(p.GetRoutes()))
	for i, route := range p.GetRoutes() {
		at := index(join(path, "routes"), i)
		key := route.GetPrefix()
		if f.CaseInsensitive {
			key = strings.ToLower(key)
		}
		if seen[key] {
			r.fail(join(at, "prefix"), "%q is there twice", route.GetPrefix())
		}
		seen[key] = true
		f.Routes = append(f.Routes, r.redisRoute(route, at))
	}
	slices.SortStableFunc(f.Routes, func(a, b RedisRoute) int {
		return cmp.Or(cmp.Compare(len(b.Prefix), len(a.Prefix)), cmp.Compare(a.Prefix, b.Prefix))
	})
	if all := p.GetCatchAllRoute(); all != nil {
		at := join(path, "catch_all_route")
		route := r.redisRoute(all, at)
		if route.Prefix != "" {
			r.fail(join(at, "prefix"), "does not belong in a catch-all")
		}
		f.CatchAll = &route
	}
}

func (r *reader) redisRoute(p *redisv3.RedisProxy_PrefixRoutes_Route, path string) RedisRoute {
	r.only(p, path, "prefix", "remove_prefix", "cluster", "request_mirror_policy", "read_command_policy")
	route := RedisRoute{
		Prefix:       p.GetPrefix(),
		RemovePrefix: p.GetRemovePrefix(),
		Cluster:      p.GetCluster(),
		ReadCluster:  p.GetReadCommandPolicy().GetCluster(),
	}
	if route.Cluster == "" {
		r.fail(join(path, "cluster"), "is missing")
	}
	if p.GetReadCommandPolicy() != nil && route.ReadCluster == "" {
		r.fail(join(path, "read_command_policy.cluster"), "is missing")
	}
	for i, m := range p.GetRequestMirrorPolicy() {
		at := index(join(path, "request_mirror_policy"), i)
		if m.GetCluster() == "" {
			r.fail(join(at, "cluster"), "is missing")
		}
		route.Mirrors = append(route.Mirrors, Mirror{
			Cluster:      m.GetCluster(),
			Fraction:     r.fraction(m.GetRuntimeFraction(), join(at, "runtime_fraction")),
			ExcludeReads: m.GetExcludeReadCommands(),
		})
	}
	return route
}

// fraction gives a share of MirrorScale; absent means all.
func (r *reader) fraction(p *corev3.RuntimeFractionalPercent, path string) uint32 {
	if p == nil {
		return MirrorScale
	}
	r.only(p, path, "default_value")
	v := uint64(p.GetDefaultValue().GetNumerator())
	switch p.GetDefaultValue().GetDenominator() {
	case typev3.FractionalPercent_HUNDRED:
		v *= MirrorScale / 100
	case typev3.FractionalPercent_TEN_THOUSAND:
		v *= MirrorScale / 10_000
	case typev3.FractionalPercent_MILLION:
	default:
		r.fail(join(path, "default_value.denominator"), "has the unknown value %d", p.GetDefaultValue().GetDenominator())
	}
	return uint32(min(v, MirrorScale))
}

// redisAuth makes one user of Envoy's way to demand a password.
func (r *reader) redisAuth(p *redisv3.RedisProxy, path string, f *RedisFilter) {
	u := User{Name: "default"}
	if name := p.GetDownstreamAuthUsername(); name != nil {
		at := join(path, "downstream_auth_username")
		if d := r.dataSource(name, at); len(d.Inline) > 0 {
			u.Name = string(d.Inline)
		} else {
			r.fail(at, "must be inline: a user name is no secret here")
		}
	}
	add := func(d *corev3.DataSource, at string) {
		if key := r.liftGeneric(d, at); key.Set() {
			u.Passwords = append(u.Passwords, key)
		}
	}
	//nolint:staticcheck // deprecated, but other control planes still send it
	add(p.GetDownstreamAuthPassword(), join(path, "downstream_auth_password"))
	for i, d := range p.GetDownstreamAuthPasswords() {
		add(d, index(join(path, "downstream_auth_passwords"), i))
	}
	if len(u.Passwords) > 0 {
		f.Users = []User{u}
	} else if p.GetDownstreamAuthUsername() != nil {
		r.fail(join(path, "downstream_auth_username"), "needs a password")
	}
}

// redisOptions reads what Envoy's filter has no field for.
func (r *reader) redisOptions(m *corev3.Metadata, path string, f *RedisFilter) {
	packed, ok := m.GetTypedFilterMetadata()[RedisMetadata]
	if !ok {
		return
	}
	path = join(path, "typed_filter_metadata["+strconv.Quote(RedisMetadata)+"]")
	var o optionsv1.RedisOptions
	if !r.unpack(packed, &o, path) {
		return
	}
	switch o.GetUnknownCommands() {
	case optionsv1.RedisOptions_REFUSE:
	case optionsv1.RedisOptions_FIRST_ARGUMENT:
		f.UnknownCommands = UnknownFirstArgument
	default:
		r.fail(join(path, "unknown_commands"), "has the unknown value %d", o.GetUnknownCommands())
	}
	switch tag := o.GetHashTag(); len(tag) {
	case 0:
	case 2:
		f.HashTag = HashTag{tag[0], tag[1]}
	default:
		r.fail(join(path, "hash_tag"), "must be two characters")
	}
	if o.GetDatabase() > maxDatabase {
		r.fail(join(path, "database"), "is not a database number")
	}
	f.Database = o.GetDatabase()
	r.redisUsers(o.GetUsers(), join(path, "users"), f)
	r.redisLimits(o.GetLimits(), join(path, "limits"), f)
	r.observation(&o, path, f)
}

func (r *reader) redisUsers(users []*optionsv1.User, path string, f *RedisFilter) {
	if len(users) > 0 && len(f.Users) > 0 {
		r.fail(path, "does not go with downstream_auth_passwords")
		return
	}
	seen := make(map[string]bool, len(users))
	for i, p := range users {
		at := index(path, i)
		if p.GetName() == "" || seen[p.GetName()] {
			r.fail(join(at, "name"), "%q is empty or there twice", p.GetName())
		}
		seen[p.GetName()] = true
		u := User{
			Name:     p.GetName(),
			ReadOnly: p.GetReadOnly(),
			Allow:    commandRules(p.GetAllow()),
			Deny:     commandRules(p.GetDeny()),
		}
		for j, key := range p.GetPasswords() {
			u.Passwords = append(u.Passwords, r.secretKey(key, index(join(at, "passwords"), j)))
		}
		f.Users = append(f.Users, u)
	}
	slices.SortFunc(f.Users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
}

func commandRules(rules []string) []string {
	if len(rules) == 0 {
		return nil
	}
	out := make([]string, len(rules))
	for i, rule := range rules {
		out[i] = strings.ToLower(rule)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *reader) secretKey(k *secretsv1.SecretKey, path string) SecretKey {
	if k.GetName() == "" {
		r.fail(join(path, "name"), "is missing")
	}
	return SecretKey{Name: k.GetName(), Key: k.GetKey()}
}

func (r *reader) redisLimits(l *optionsv1.RedisLimits, path string, f *RedisFilter) {
	if v := l.GetMaxRequestBytes(); v != nil {
		f.Limits.MaxRequestBytes = v.GetValue()
		if v.GetValue() < 1024 {
			r.fail(join(path, "max_request_bytes"), "must be at least 1024")
		}
	}
	f.Limits.MaxPipeline = r.atLeast(l.GetMaxPipeline(), join(path, "max_pipeline"), DefaultMaxPipeline, 1)
	f.Limits.IdleTimeout = r.duration(l.GetIdleTimeout(), join(path, "idle_timeout"), 0)
	f.Limits.SlowClientTimeout = r.duration(l.GetSlowClientTimeout(), join(path, "slow_client_timeout"), DefaultSlowClientTimeout)
}

// observation reads what is only for people who look.
func (r *reader) observation(o *optionsv1.RedisOptions, path string, f *RedisFilter) {
	if s := o.GetSlowLog(); s != nil && s.GetThreshold() != nil {
		f.SlowLog.Threshold = r.duration(s.GetThreshold(), join(path, "slow_log.threshold"), -1)
		f.SlowLog.MaxLen = r.atLeast(s.GetMaxLen(), join(path, "slow_log.max_len"), DefaultSlowLogLen, 0)
	}
	if h := o.GetHotKeys(); h != nil {
		if h.GetTop() > MaxHotKeysTop {
			r.fail(join(path, "hot_keys.top"), "must be at most %d", MaxHotKeysTop)
		}
		f.HotKeys = HotKeys{SampleRate: h.GetSampleRate(), Top: cmp.Or(h.GetTop(), DefaultHotKeysTop)}
	}
}
