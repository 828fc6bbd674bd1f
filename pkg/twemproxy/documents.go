package twemproxy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// Environment is the only one that the objects have.
const Environment = "twemproxy"

// AuthEnv is the environment variable in which the object of the i-th pool
// looks for redis_auth: documents hold no passwords.
func AuthEnv(i int) string { return "DRAGOMAN_TWEMPROXY_REDIS_AUTH_" + strconv.Itoa(i) }

// Documents says in this project's documents what the configuration says, one
// object for each pool. The errors are about pools that have no equal here:
// those that speak memcached.
func Documents(file string, cfg *Config) ([]mesh.Object, problem.List) {
	var errs problem.List
	objs := make([]mesh.Object, 0, len(cfg.Pools))
	names := Names(cfg)
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		if !p.Redis {
			errs.Add(file, p.Line, p.Name, "is a memcached pool (redis: false, the default); only Redis is supported: "+
				"set redis: true if its servers are Redis servers")
			continue
		}
		objs = append(objs, mesh.NewAmbassador(names[i], p.spec(i)))
	}
	return objs, errs
}

// Names are the objects' names: the pools' as far as objects may be called so.
func Names(cfg *Config) []string {
	names := make([]string, len(cfg.Pools))
	taken := map[string]bool{}
	for i := range cfg.Pools {
		base := label(cfg.Pools[i].Name)
		name := base
		for n := 2; taken[name]; n++ {
			name = base + "-" + strconv.Itoa(n)
		}
		taken[name] = true
		names[i] = name
	}
	return names
}

// label makes a DNS label of a pool's name.
func label(name string) string {
	const most = 50 // of 63, to leave room for a number
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, name)
	out = strings.Trim(out[:min(len(out), most)], "-")
	if out == "" {
		return "pool"
	}
	return out
}

func (p *Pool) spec(i int) mesh.AmbassadorSpec {
	spec := mesh.AmbassadorSpec{
		Protocol:           mesh.ProtocolRedis,
		Listen:             p.Listen.document(p.Backlog),
		Redis:              p.redis(i),
		Environments:       map[string]mesh.Environment{Environment: p.environment(i)},
		DefaultEnvironment: Environment,
	}
	if p.ClientConnections > 0 {
		spec.Limits = &mesh.Limits{MaxConnections: count(p.ClientConnections)}
	}
	return spec
}

func (l *Listen) document(backlog int) mesh.Listen {
	out := mesh.Listen{Address: l.Host, Port: uint32(l.Port)}
	if l.Path != "" {
		out = mesh.Listen{Path: l.Path, Mode: mesh.FileMode(l.Mode)}
	}
	if backlog > 0 {
		out.Backlog = count(backlog)
	}
	return out
}

func (p *Pool) redis(i int) *mesh.RedisSpec {
	r := &mesh.RedisSpec{
		Distribution:           mesh.Distribution(p.Distribution),
		HashTag:                p.HashTag,
		OpTimeout:              duration(p.Timeout),
		ConnectionsPerEndpoint: count(p.ServerConnections),
		PreConnect:             p.Preconnect,
	}
	if p.Distribution != "random" {
		r.Hash = mesh.HashFunction(p.Hash)
	}
	if p.Timeout > 0 {
		r.ConnectTimeout = duration(p.Timeout)
	}
	if p.AutoEjectHosts {
		// nutcracker counts a limit of 0 as 1, and retries at once after 0 ms.
		r.AutoEject = &mesh.AutoEject{
			Failures:   count(max(p.ServerFailureLimit, 1)),
			RetryAfter: duration(max(p.ServerRetryTimeout, time.Millisecond)),
		}
	}
	if p.RedisAuth != "" {
		r.Users = []mesh.User{{Name: "default", PasswordEnv: AuthEnv(i)}}
	}
	return r
}

func (p *Pool) environment(i int) mesh.Environment {
	var env mesh.Environment
	for _, s := range p.Servers {
		env.Shards = append(env.Shards, mesh.Shard{
			Name:    s.HashName(),
			Weight:  count(s.Weight),
			Primary: mesh.Server{Address: s.Address()},
		})
	}
	if p.RedisDB > 0 {
		env.Database = database(p.RedisDB)
	}
	if p.RedisAuth != "" {
		env.Credentials = &mesh.Credentials{PasswordEnv: AuthEnv(i)}
	}
	return env
}

// count is n, which atoi has bounded.
func count(n int) *uint32 {
	v := uint32(min(max(n, 0), math.MaxInt32)) // bounded in this line
	return &v
}

func database(n int) *mesh.Database {
	v := mesh.Database(strconv.Itoa(n))
	return &v
}

func duration(d time.Duration) *mesh.Duration {
	v := mesh.Duration(d)
	return &v
}

// ResolveListen replaces the host names that pools listen on, which nutcracker
// resolves when it starts, by what resolve gives: IP addresses.
func (c *Config) ResolveListen(file string, resolve func(host string) (ip string, err error)) problem.List {
	var errs problem.List
	for i := range c.Pools {
		p := &c.Pools[i]
		if p.Listen.Path != "" {
			continue
		}
		ip, err := resolve(p.Listen.Host)
		if err != nil {
			errs.Add(file, p.Line, p.Name+".listen", "%v", err)
			continue
		}
		p.Listen.Host = ip
	}
	return errs
}

// ListenAt replaces where the pool listens; v is as in the file.
func (p *Pool) ListenAt(v string) error {
	var l Listen
	if reason := l.set(v); reason != "" {
		return fmt.Errorf("listen %q: %s", v, reason)
	}
	p.Listen = l
	return nil
}

// ParseServers reads what the well-known container image takes in the variable
// REDIS_SERVERS: addr:port:weight, separated by commas. The result is one pool
// as that image makes it, which listens on port 6380 of all addresses.
func ParseServers(variable, value string) (*Config, problem.List) {
	var errs problem.List
	pool := Pool{
		Name: "redis", Redis: true, Listen: Listen{Host: "0.0.0.0", Port: 6380},
		Hash: DefaultHash, Distribution: DefaultDistribution, Backlog: DefaultBacklog,
		ServerConnections: DefaultServerConnections, ServerRetryTimeout: DefaultServerRetryTimeout,
		ServerFailureLimit: DefaultServerFailureLimit,
	}
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(value, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		s, reason := parseServer(entry)
		switch {
		case reason != "":
			errs.Add(variable, 0, "", "%s", fmt.Sprintf("%q %s", entry, reason))
		case seen[s.HashName()]:
			errs.Add(variable, 0, "", "%q is there twice", s.HashName())
		default:
			seen[s.HashName()] = true
			pool.Servers = append(pool.Servers, s)
		}
	}
	if len(errs) == 0 && len(pool.Servers) == 0 {
		errs.Add(variable, 0, "", "names no server")
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return &Config{Pools: []Pool{pool}}, nil
}
