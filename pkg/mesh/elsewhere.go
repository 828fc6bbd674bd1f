package mesh

import (
	"slices"
	"strings"
)

// traveller is an enumerated type whose values have other names elsewhere, which
// people bring along.
type traveller interface {
	enumerated
	// elsewhere gives values by such names, in small letters and nothing but letters
	// and digits. Names that are spelled like the value need not be there.
	elsewhere() map[string]string
}

// ourWord gives the value that a word stands for elsewhere, or "".
func ourWord(e enumerated, word string) string {
	t, ok := e.(traveller)
	if !ok || len(word) > 64 {
		return ""
	}
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -_./", r) {
			return -1
		}
		return r
	}, strings.ToLower(word))
	return t.elsewhere()[plain]
}

// hintOfValue is what to say of a word that is none of the values.
func hintOfValue(e enumerated, word string) string {
	if v := ourWord(e, word); slices.Contains(e.Values(), v) {
		return meant(v)
	}
	return hintOf(word, e.Values())
}

// elsewhere has the words of MySQL's clients, their drivers in Go, Istio and Envoy.
func (TLSMode) elsewhere() map[string]string {
	return map[string]string{
		"none": "disable", "off": "disable", "false": "disable", "no": "disable", "plaintext": "disable", "disabled": "disable",
		"allow": "prefer", "preferred": "prefer", "optional": "prefer", "opportunistic": "prefer",
		"required": "require", "skipverify": "require", "insecure": "require", "acceptuntrusted": "require",
		"verifytrustchain": "verify-ca", "verifyidentity": "verify-full", "verifyhostname": "verify-full", "verify": "verify-full",
		"simple": "verify-full", "mutual": "verify-full", "strict": "verify-full", "on": "verify-full", "true": "verify-full", "yes": "verify-full",
	}
}

// elsewhere has the names of servers that speak a protocol, and of its dialects.
func (Protocol) elsewhere() map[string]string {
	return map[string]string{
		"pg": "postgres", "psql": "postgres", "pgsql": "postgres", "postgresql": "postgres", "cockroachdb": "postgres",
		"mariadb": "mysql", "percona": "mysql", "valkey": "redis", "keydb": "redis", "dragonfly": "redis",
		"https": "http", "http1": "http", "http2": "http", "h2": "http", "h2c": "http", "grpc": "http", "websocket": "http",
	}
}

// elsewhere has the words of JDBC's drivers, and of servers.
func (TargetSessionAttrs) elsewhere() map[string]string {
	return map[string]string{
		"rw": "read-write", "ro": "read-only", "master": "primary", "leader": "primary", "writer": "read-write", "reader": "read-only",
		"slave": "standby", "secondary": "standby", "replica": "standby", "follower": "standby",
		"preferslave": "prefer-standby", "prefersecondary": "prefer-standby", "preferreplica": "prefer-standby",
	}
}

// elsewhere has the words of Envoy and of Redis' clients.
func (ReadPolicy) elsewhere() map[string]string {
	return map[string]string{
		"master": "Primary", "upstream": "Primary", "leader": "Primary", "prefermaster": "PreferPrimary", "masterpreferred": "PreferPrimary",
		"primarypreferred": "PreferPrimary", "slave": "Replica", "secondary": "Replica", "preferslave": "PreferReplica",
		"slavepreferred": "PreferReplica", "replicapreferred": "PreferReplica", "nearest": "ZoneAffinity", "azaffinity": "ZoneAffinity",
		"localzoneaffinity": "ZoneAffinity", "localzoneaffinityreplicasandprimary": "ZoneAffinityAndPrimary",
		"azaffinityreplicasandprimary": "ZoneAffinityAndPrimary",
	}
}

func (Access) elsewhere() map[string]string {
	return map[string]string{"ro": "ReadOnly", "read": "ReadOnly", "rw": "ReadWrite", "write": "ReadWrite", "full": "ReadWrite"}
}

func (ChangeMode) elsewhere() map[string]string {
	return map[string]string{"graceful": "Drain", "wait": "Drain", "close": "Cut", "kill": "Cut", "immediate": "Cut", "terminate": "Cut"}
}

// elsewhere has the words of pg_hba.conf and of pgbouncer.
func (PostgresAuthMethod) elsewhere() map[string]string {
	return map[string]string{"scram": "scram-sha-256", "scramsha256plus": "scram-sha-256", "plain": "password", "cleartext": "password"}
}

// elsewhere has the words of pg_hba.conf, too.
func (PostgresLoginMethod) elsewhere() map[string]string {
	return map[string]string{
		"scram": "scram-sha-256", "scramsha256plus": "scram-sha-256", "plain": "password", "cleartext": "password", "trust": "none", "cert": "none",
	}
}

// elsewhere has the words of load balancers.
func (TCPLoadBalancing) elsewhere() map[string]string {
	return map[string]string{"leastconn": "LeastRequest", "leastconnections": "LeastRequest", "rr": "RoundRobin"}
}

func (HTTPVersion) elsewhere() map[string]string {
	return map[string]string{"h1": "HTTP1", "http11": "HTTP1", "h2": "HTTP2", "h2c": "HTTP2", "grpc": "HTTP2", "http20": "HTTP2", "alpn": "Auto"}
}
