package twemproxy

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxPoolName keeps a name usable as a simple key of YAML.
const maxPoolName = 253

// plainScalar is what needs no quotes in YAML for certain.
var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)

// hashes are nutcracker's names, in its order; so are the distributions.
func hashes() []string {
	return []string{
		"one_at_a_time", "md5", "crc16", "crc32", "crc32a", "fnv1_64", "fnv1a_64",
		"fnv1_32", "fnv1a_32", "hsieh", "murmur", "jenkins",
	}
}

func distributions() []string { return []string{"ketama", "modula", "random"} }

// poolParser reads one pool; it collects errors rather than stopping.
type poolParser struct {
	*parser
	pool Pool
	seen map[string]int // key to line
}

func (p *parser) pool(key, value *yaml.Node) (Pool, bool) {
	before := len(p.errs)
	name := key.Value
	if key.Kind != yaml.ScalarNode || name == "" {
		p.fail(key.Line, "", "a pool needs a name")
		return Pool{}, false
	}
	if len(name) > maxPoolName {
		p.fail(key.Line, "", "a pool's name has at most %d bytes", maxPoolName)
		return Pool{}, false
	}
	if value.Kind != yaml.MappingNode {
		p.fail(key.Line, name, "must be a mapping of the pool's keys")
		return Pool{}, false
	}
	q := poolParser{parser: p, seen: map[string]int{}, pool: Pool{
		Name: name, Line: key.Line,
		Hash: DefaultHash, Distribution: DefaultDistribution, Backlog: DefaultBacklog,
		ServerConnections: DefaultServerConnections, ServerRetryTimeout: DefaultServerRetryTimeout,
		ServerFailureLimit: DefaultServerFailureLimit,
	}}
	for i := 0; i+1 < len(value.Content); i += 2 {
		q.entry(value.Content[i], value.Content[i+1])
	}
	q.finish()
	return q.pool, len(p.errs) == before
}

func (q *poolParser) failKey(n *yaml.Node, key, format string, args ...any) {
	q.fail(n.Line, q.pool.Name+"."+key, format, args...)
}

func (q *poolParser) entry(key, value *yaml.Node) {
	name := key.Value
	if line, dup := q.seen[name]; dup {
		q.failKey(key, name, "is a duplicate of line %d", line)
		return
	}
	q.seen[name] = key.Line
	if name == "servers" {
		q.servers(value)
		return
	}
	set, ok := q.setters()[name]
	switch {
	case !ok:
		q.failKey(key, name, "is unknown")
	case value.Kind != yaml.ScalarNode:
		q.failKey(value, name, "must be a single value")
	case value.Value == "":
		q.failKey(value, name, "is empty")
	default:
		if reason := set(value.Value); reason != "" {
			q.failKey(value, name, "%s", reason)
		}
	}
}

// setters maps a key to what takes its value; they return what is wrong.
func (q *poolParser) setters() map[string]func(string) string {
	pool := &q.pool
	return map[string]func(string) string{
		"listen":       pool.Listen.set,
		"hash":         oneOf(&pool.Hash, "hash", hashes()),
		"distribution": oneOf(&pool.Distribution, "distribution", distributions()),
		"hash_tag": func(v string) string {
			if len(v) != 2 {
				return "is not a valid hash tag string with two characters"
			}
			pool.HashTag = v
			return ""
		},
		"timeout":            millis(&pool.Timeout),
		"backlog":            number(&pool.Backlog),
		"client_connections": number(&pool.ClientConnections),
		"redis":              boolean(&pool.Redis),
		"tcpkeepalive":       boolean(&pool.TCPKeepAlive),
		"reuseport":          boolean(&pool.ReusePort),
		"redis_auth": func(v string) string {
			pool.RedisAuth = v
			return ""
		},
		"redis_db":             number(&pool.RedisDB),
		"preconnect":           boolean(&pool.Preconnect),
		"auto_eject_hosts":     boolean(&pool.AutoEjectHosts),
		"server_connections":   number(&pool.ServerConnections),
		"server_retry_timeout": millis(&pool.ServerRetryTimeout),
		"server_failure_limit": number(&pool.ServerFailureLimit),
	}
}

// finish checks what concerns several keys of the pool.
func (q *poolParser) finish() {
	pool := &q.pool
	missing := func(key string) {
		if _, ok := q.seen[key]; !ok {
			q.fail(pool.Line, pool.Name+"."+key, "is missing")
		}
	}
	missing("listen")
	missing("servers")
	if pool.ServerConnections == 0 {
		q.fail(q.seen["server_connections"], pool.Name+".server_connections", "cannot be 0")
	}
	if pool.RedisAuth != "" && !pool.Redis {
		q.fail(q.seen["redis_auth"], pool.Name+".redis_auth", "is only valid for a redis pool")
	}
	names := map[string]int{}
	for _, s := range pool.Servers {
		name := s.HashName()
		if line, dup := names[name]; dup {
			q.fail(s.Line, pool.Name+".servers", "server has the name %q of the one in line %d", name, line)
		}
		names[name] = s.Line
	}
}

func (q *poolParser) servers(list *yaml.Node) {
	if list.Kind != yaml.SequenceNode {
		q.failKey(list, "servers", "must be a list of servers")
		return
	}
	if len(list.Content) == 0 {
		q.failKey(list, "servers", "has no servers")
	}
	for _, n := range list.Content {
		if n.Kind != yaml.ScalarNode || n.Value == "" {
			q.failKey(n, "servers", "must be \"host:port:weight [name]\" or \"/path:weight [name]\"")
			continue
		}
		s, reason := parseServer(n.Value)
		if reason != "" {
			q.failKey(n, "servers", "%q %s", n.Value, reason)
			continue
		}
		s.Line = n.Line
		q.pool.Servers = append(q.pool.Servers, s)
	}
}

func parseServer(v string) (s Server, reason string) {
	addr, name, named := cutLast(v, ' ')
	if named && name == "" {
		return s, "has an empty name"
	}
	s.Name = name
	addr, weight, ok := cutLast(addr, ':')
	if !ok {
		return s, "is not \"host:port:weight [name]\" or \"/path:weight [name]\""
	}
	if s.Weight, ok = atoi(weight); !ok {
		return s, "has an invalid weight"
	}
	if s.Weight == 0 {
		return s, "has a zero weight"
	}
	if strings.HasPrefix(addr, "/") {
		s.Path = addr
		if strings.Contains(addr, ":") {
			return s, "is not \"/path:weight [name]\": the path has a colon"
		}
		return s, ""
	}
	host, port, ok := cutLast(addr, ':')
	if !ok || host == "" {
		return s, "is not \"host:port:weight [name]\""
	}
	s.Host = host
	if s.Port, ok = parsePort(port); !ok {
		return s, "has an invalid port"
	}
	return s, ""
}

func (l *Listen) set(v string) string {
	if strings.HasPrefix(v, "/") {
		path, mode, ok := cutLast(v, ' ')
		l.Path = path
		if !ok {
			return ""
		}
		m, err := strconv.ParseUint(mode, 8, 32)
		if err != nil || m > 0o777 {
			return "has an invalid file permission in \"socket_path permission\""
		}
		l.Mode = uint32(m)
		return ""
	}
	host, port, ok := cutLast(v, ':')
	if !ok || host == "" {
		return "is not \"hostname:port\" or \"/socket_path permission\""
	}
	l.Host = host
	if l.Port, ok = parsePort(port); !ok {
		return "has an invalid port"
	}
	return ""
}

func oneOf(dst *string, what string, names []string) func(string) string {
	return func(v string) string {
		if !slices.Contains(names, v) {
			return "\"" + v + "\" is not a valid " + what + "; one of " + strings.Join(names, ", ")
		}
		*dst = v
		return ""
	}
}

func number(dst *int) func(string) string {
	return func(v string) string {
		n, ok := atoi(v)
		if !ok {
			return "is not a number"
		}
		*dst = n
		return ""
	}
}

func millis(dst *time.Duration) func(string) string {
	return func(v string) string {
		n, ok := atoi(v)
		if !ok {
			return "is not a number of milliseconds"
		}
		*dst = time.Duration(n) * time.Millisecond
		return ""
	}
}

func boolean(dst *bool) func(string) string {
	return func(v string) string {
		if v != "true" && v != "false" {
			return "is not \"true\" or \"false\""
		}
		*dst = v == "true"
		return ""
	}
}

// atoi takes digits only and no more than an int of C holds.
func atoi(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n > math.MaxInt32 {
		return 0, false
	}
	return int(n), true
}

func parsePort(s string) (uint16, bool) {
	n, ok := atoi(s)
	if !ok || n < 1 || n > math.MaxUint16 {
		return 0, false
	}
	return uint16(n), true
}

// cutLast cuts around the last sep; without one all is before.
func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
