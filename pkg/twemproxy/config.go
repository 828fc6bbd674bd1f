package twemproxy

import (
	"strconv"
	"strings"
	"time"
)

// Defaults of nutcracker 0.5.0, from its conf/nutcracker.yml documentation.
const (
	DefaultHash               = "fnv1a_64"
	DefaultDistribution       = "ketama"
	DefaultBacklog            = 512
	DefaultServerConnections  = 1
	DefaultServerRetryTimeout = 30 * time.Second
	DefaultServerFailureLimit = 2

	// memcachedPort is left out of the name that ketama hashes.
	memcachedPort = 11211
)

// Config is a nutcracker.yml: one pool or more, in the file's order.
type Config struct {
	Pools []Pool
}

// Pool is one server pool with the defaults filled in.
type Pool struct {
	Name string
	Line int // of the pool's name; 0 when it does not come from a file

	Listen             Listen
	Hash               string
	HashTag            string // two characters, or empty
	Distribution       string
	Timeout            time.Duration // of a connect and of a request; 0: none
	Backlog            int
	ClientConnections  int // 0: no limit
	TCPKeepAlive       bool
	ReusePort          bool
	Redis              bool
	RedisAuth          string // clients and upstream connections alike; empty: none
	RedisDB            int
	Preconnect         bool
	AutoEjectHosts     bool
	ServerConnections  int
	ServerRetryTimeout time.Duration
	ServerFailureLimit int // failures in a row until a server is ejected
	Servers            []Server
}

// Listen is where a pool listens: a TCP address or, when Path is set, a unix
// socket.
type Listen struct {
	Host string
	Port uint16
	Path string
	Mode uint32 // permissions of the socket; 0: as the umask says
}

// String spells the address as nutcracker.yml does.
func (l Listen) String() string {
	switch {
	case l.Path == "":
		return l.Host + ":" + strconv.Itoa(int(l.Port))
	case l.Mode == 0 && !strings.Contains(l.Path, " "): // else what follows a blank is the mode
		return l.Path
	default:
		return l.Path + " " + octal(l.Mode)
	}
}

// Server is one entry of a pool's servers.
type Server struct {
	Host   string
	Port   uint16
	Path   string // a unix socket instead of host and port
	Weight int
	Name   string // as given behind the address; empty: none
	Line   int
}

// Address is what to dial: host:port, brackets around IPv6, or a path.
func (s Server) Address() string {
	if s.Path != "" {
		return s.Path
	}
	host := s.Host
	for i := range len(host) {
		if host[i] == ':' {
			host = "[" + host + "]"
			break
		}
	}
	return host + ":" + strconv.Itoa(int(s.Port))
}

// HashName is the name that ketama hashes and that statistics show: the given
// one, or the address as nutcracker cuts it out of the entry, which leaves the
// port out when it is 11211 and keeps the colon behind a path.
func (s Server) HashName() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.Path != "":
		return s.Path + ":"
	case s.Port == memcachedPort:
		return s.Host
	default:
		return s.Host + ":" + strconv.Itoa(int(s.Port))
	}
}

// String spells the entry as nutcracker.yml does.
func (s Server) String() string {
	addr := s.Path
	if addr == "" {
		addr = s.Host + ":" + strconv.Itoa(int(s.Port))
	}
	addr += ":" + strconv.Itoa(s.Weight)
	if s.Name != "" {
		addr += " " + s.Name
	}
	return addr
}

func octal(mode uint32) string {
	return "0" + strconv.FormatUint(uint64(mode), 8)
}

// Append appends the configuration as a nutcracker.yml that Parse reads back
// to the same Config, line numbers aside.
func (c *Config) Append(b []byte) []byte {
	for i := range c.Pools {
		if i > 0 {
			b = append(b, '\n')
		}
		b = c.Pools[i].appendTo(b)
	}
	return b
}

func (p *Pool) appendTo(b []byte) []byte {
	b = append(append(b, quote(p.Name)...), ":\n"...)
	line := func(key, value string) {
		b = append(b, "  "...)
		b = append(b, key...)
		b = append(b, ": "...)
		b = append(append(b, value...), '\n')
	}
	num := func(key string, n int) { line(key, strconv.Itoa(n)) }
	ms := func(key string, d time.Duration) { num(key, int(d/time.Millisecond)) }
	flag := func(key string, v bool) { line(key, strconv.FormatBool(v)) }

	line("listen", quote(p.Listen.String()))
	line("hash", p.Hash)
	if p.HashTag != "" {
		line("hash_tag", quote(p.HashTag))
	}
	line("distribution", p.Distribution)
	if p.Timeout > 0 {
		ms("timeout", p.Timeout)
	}
	num("backlog", p.Backlog)
	num("client_connections", p.ClientConnections)
	flag("tcpkeepalive", p.TCPKeepAlive)
	flag("reuseport", p.ReusePort)
	flag("redis", p.Redis)
	if p.RedisAuth != "" {
		line("redis_auth", quote(p.RedisAuth))
	}
	num("redis_db", p.RedisDB)
	flag("preconnect", p.Preconnect)
	flag("auto_eject_hosts", p.AutoEjectHosts)
	num("server_connections", p.ServerConnections)
	ms("server_retry_timeout", p.ServerRetryTimeout)
	num("server_failure_limit", p.ServerFailureLimit)
	b = append(b, "  servers:\n"...)
	for _, s := range p.Servers {
		b = append(b, "  - "...)
		b = append(append(b, quote(s.String())...), '\n')
	}
	return b
}
